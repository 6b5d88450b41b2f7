//! Kernels in CUDA C++, below `tests/cuda`, with a host side each: arguments, geometry, and what must
//! come out, computed naively. Whoever runs PTX can be held to them; nothing here knows the emulator.

mod floats;
mod tensor;
mod words;

use std::path::{Path, PathBuf};

/// A launch of a kernel.
pub struct Foreign {
    /// The kernel's name, and its source's.
    pub name: &'static str,
    /// The virtual architecture that it is compiled for.
    pub arch: &'static str,
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: [u32; 3],
    /// In the order of its parameters.
    pub args: Vec<Arg>,
}

/// What a kernel is given.
pub enum Arg {
    /// A pointer to bytes that it only reads.
    In(Vec<u8>),
    /// A pointer to bytes that it writes.
    Out {
        /// What they hold at first; without it, nobody has written them, and the kernel must write
        /// all before anyone reads.
        before: Option<Vec<u8>>,
        /// What they must hold then.
        expected: Expected,
    },
    /// A number.
    U32(u32),
    /// A number.
    F32(f32),
}

/// What a buffer must hold after the launch.
pub enum Expected {
    /// These bytes.
    Bytes(Vec<u8>),
    /// f32, each within its tolerance.
    Near(Vec<Near>),
}

/// A number, and how far from it another may be.
#[derive(Clone, Copy, Debug)]
pub struct Near {
    /// The exact value.
    pub value: f64,
    /// Derived from the kernel's arithmetic.
    pub tolerance: f64,
}

/// Every launch.
pub fn launches() -> Vec<Foreign> {
    vec![
        words::transpose(50, 70),
        words::histogram(5000),
        words::integers(200),
        words::votes(),
        floats::block_sum(1000),
        floats::matmul(20, 33, 37),
        floats::matmul(16, 32, 48),
        floats::split_sum(3, 4, 100),
        floats::halves(150),
        floats::bulk_scale(5),
        tensor::mma_gemm(64, 128, 96),
        tensor::mma_gemm(128, 64, 32),
        tensor::mma_sparse(32, 16, 128),
    ]
}

impl Foreign {
    /// Where its source is.
    pub fn source(&self) -> PathBuf {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cuda");
        folder.join(self.name).with_extension("cu")
    }
}

impl Expected {
    /// How many bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Near(numbers) => 4 * numbers.len(),
        }
    }

    /// Whether nothing is expected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Holds bytes against it; the error names the first that is wrong.
    pub fn judge(&self, got: &[u8]) -> Result<(), String> {
        if got.len() != self.len() {
            return Err(format!("{} bytes, not {}", got.len(), self.len()));
        }
        match self {
            Self::Bytes(want) => match got.iter().zip(want).position(|(g, w)| g != w) {
                None => Ok(()),
                Some(i) => Err(format!("byte {i} is {:#04x}, not {:#04x}", got[i], want[i])),
            },
            Self::Near(want) => {
                let numbers = got.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
                for (i, (got, want)) in numbers.zip(want).enumerate() {
                    let away = (got as f64 - want.value).abs();
                    if away.is_nan() || away > want.tolerance {
                        let Near { value, tolerance } = want;
                        return Err(format!("[{i}] is {got}, not {value} ± {tolerance:e}"));
                    }
                }
                Ok(())
            }
        }
    }
}

impl Near {
    /// The sum of `terms` in f32, in whatever order: `adds` operations, each with relative error up
    /// to `unit`, are off by at most γ·Σ|term|, γ = adds·unit / (1 − adds·unit) (Higham, Accuracy
    /// and Stability of Numerical Algorithms, §3.1 and §4.2).
    fn sum(terms: impl Iterator<Item = f64>, adds: usize, unit: f64) -> Self {
        let (mut value, mut size) = (0.0, 0.0);
        for term in terms {
            value += term;
            size += term.abs();
        }
        let error = adds as f64 * unit;
        Self { value, tolerance: error / (1.0 - error) * size }
    }
}

/// Half a unit in the last place of f32: rounding to nearest.
const NEAREST: f64 = 1.0 / (1u64 << 24) as f64;
/// A whole one: how tensor units may round, for the manual leaves it open.
const OPEN: f64 = 2.0 * NEAREST;

/// A buffer that the kernel fills.
fn filled(expected: Expected) -> Arg {
    Arg::Out { before: None, expected }
}

/// The little-endian bytes of numbers.
trait Bytes {
    fn bytes(&self) -> Vec<u8>;
}

macro_rules! bytes {
    ($($ty:ty),*) => { $( impl Bytes for [$ty] {
        fn bytes(&self) -> Vec<u8> {
            self.iter().flat_map(|x| x.to_le_bytes()).collect()
        }
    } )* };
}
bytes!(u16, u32, u64, f32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judging_names_the_first_wrong_element() {
        let bytes = Expected::Bytes(vec![1, 2, 3]);
        assert_eq!(bytes.judge(&[1, 2, 3]), Ok(()));
        assert_eq!(bytes.judge(&[1, 9, 8]).unwrap_err(), "byte 1 is 0x09, not 0x02");
        assert_eq!(bytes.judge(&[1]).unwrap_err(), "1 bytes, not 3");
        let near = Expected::Near(vec![Near { value: 1.0, tolerance: 0.25 }; 2]);
        assert_eq!(near.judge(&[1.25f32, 0.75].bytes()), Ok(()));
        let wrong = near.judge(&[1.0f32, 2.0].bytes()).unwrap_err();
        assert_eq!(wrong, "[1] is 2, not 1 ± 2.5e-1");
        assert!(near.judge(&[1.0, f32::NAN].bytes()).is_err());
    }

    /// A wrong answer is far outside the tolerance: it would not hide there.
    #[test]
    fn tolerances_are_small() {
        for f in launches() {
            for arg in &f.args {
                if let Arg::Out { expected: Expected::Near(numbers), .. } = arg {
                    let largest = numbers.iter().fold(0.0, |l: f64, n| l.max(n.value.abs()));
                    assert!(largest > 1.0, "{}: {largest}", f.name);
                    assert!(numbers.iter().all(|n| n.tolerance < 1e-3 * largest), "{}", f.name);
                }
            }
        }
    }
}
