//! Cases of packing and unpacking: bytes in, bytes out, and those of `format` wherever it has an opinion.

use crate::case::{Case, Expected, Operand};
use crate::shapes::Make;
use half::{bf16, f16};
use quickpick_format::{Element, Matrix24, Packed};
use quickpick_kernels::reference::{Packed24, pack24, unpack24};
use quickpick_kernels::{DType, KernelSpec, NO_GROUP, OpKind, Order, Packing, Problem};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// What elements and codes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bits {
    /// Every finite number of the type is as likely: subnormals and both zeros are among them.
    Even,
    /// Zeros of both signs and few numbers: most groups have equals, many fewer than two that are not zero.
    Ties,
    /// As even, and here and there NaNs and infinities, or codes that name no pair, in padding too.
    Bad,
}

/// Every kind.
const KINDS: [Bits; 3] = [Bits::Even, Bits::Ties, Bits::Bad];

fn elements(rng: &mut StdRng, dtype: DType, bits: Bits, count: usize) -> Vec<u16> {
    let infinity: u16 = if dtype == DType::BF16 { 0x7f80 } else { 0x7c00 };
    let one = |_| match bits {
        Bits::Ties => [0, 0x8000, 0x3f80, 0xbf80, 0x3f81][rng.random_range(0..5)],
        Bits::Bad if rng.random_ratio(1, 50) => {
            infinity + rng.random_range(0..3) + (rng.random::<u16>() & 0x8000)
        }
        _ => rng.random_range(0..infinity) | (rng.random::<u16>() & 0x8000),
    };
    (0..count).map(one).collect()
}

fn bytes(words: &[impl bytemuck::NoUninit]) -> Vec<u8> {
    bytemuck::cast_slice(words).to_vec()
}

/// These bytes, exactly.
fn exactly(bytes: Vec<u8>) -> Operand {
    let byte = |byte| Expected::Near(f64::from(byte as i8), 0.0);
    Operand::Output(DType::I8, bytes.into_iter().map(byte).collect())
}

fn shape(p: &Packing) -> (usize, usize) {
    (p.m as usize, p.k as usize)
}

/// What `format` packs, if it does not refuse.
fn by_format<T: Element>(p: &Packing, dense: &[u16]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (m, k) = shape(p);
    let matrix = Matrix24::magnitude(bytemuck::cast_slice::<_, T>(dense), m, k).ok()?;
    let packed = matrix.pack(p.order).expect("every order serves 16 bits");
    Some((packed.value_bytes().to_vec(), packed.metadata_bytes().to_vec()))
}

/// What `format` unpacks, if it does not refuse.
fn back_by_format<T: Element>(p: &Packing, values: &[u16], metadata: &[u32]) -> Option<Vec<u8>> {
    let (m, k) = shape(p);
    let values = bytemuck::cast_slice::<_, T>(values).to_vec();
    let packed = Packed { order: p.order, values, metadata: metadata.to_vec() };
    Some(bytes(&packed.unpack(m, k).ok()?.expand()))
}

impl Case {
    /// A dense matrix to be packed. Whatever `format` does not refuse comes from it.
    pub fn pack24(p: Packing, bits: Bits, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let (m, k) = shape(&p);
        let dense = elements(&mut rng, p.dtype, bits, m * k);
        let Packed24 { values, metadata, status } = pack24(&p, &dense);
        let (values, metadata) = (bytes(&values), bytes(&metadata));
        let format = match p.dtype {
            DType::BF16 => by_format::<bf16>(&p, &dense),
            _ => by_format::<f16>(&p, &dense),
        };
        assert_eq!(format.is_none(), status != NO_GROUP, "{p}: refused or reported");
        if let Some(format) = format {
            assert!(format == (values.clone(), metadata.clone()), "{p}: format packs otherwise");
        }
        let operands = vec![
            ("dense", Operand::Input(bytes(&dense))),
            ("values", exactly(values)),
            ("metadata", exactly(metadata)),
            ("status", exactly(bytes(&[status]))),
        ];
        Self { problem: Problem::Pack24(p), operands }
    }

    /// A packed matrix to be unpacked. Values are any bits, in padding too, but with ties, where they are what
    /// `format` packs.
    pub fn unpack24(p: Packing, bits: Bits, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let (m, k) = shape(&p);
        let dense = elements(&mut rng, p.dtype, Bits::Ties, m * k);
        let Packed24 { mut values, mut metadata, .. } = pack24(&p, &dense);
        if bits != Bits::Ties {
            values.iter_mut().for_each(|value| *value = rng.random());
        }
        if bits == Bits::Bad {
            // one of eight words, and 6 of 16 codes name a pair
            let words = metadata.iter_mut();
            words.for_each(|word| {
                if rng.random_ratio(1, 8) {
                    *word = rng.random()
                }
            });
        }
        let (dense, status) = unpack24(&p, &values, &metadata);
        let dense = bytes(&dense);
        if bits == Bits::Ties {
            let format = match p.dtype {
                DType::BF16 => back_by_format::<bf16>(&p, &values, &metadata),
                _ => back_by_format::<f16>(&p, &values, &metadata),
            };
            assert!(format.as_ref() == Some(&dense), "{p}: format unpacks otherwise");
        }
        let operands = vec![
            ("values", Operand::Input(bytes(&values))),
            ("metadata", Operand::Input(bytes(&metadata))),
            ("dense", exactly(dense)),
            ("status", exactly(bytes(&[status]))),
        ];
        Self { problem: Problem::Unpack24(p), operands }
    }
}

/// A case of a problem of the row's operation.
pub fn make(spec: &KernelSpec, p: Packing, bits: Bits, seed: u64) -> Make {
    match spec.op {
        OpKind::Unpack24 => Box::new(move || Case::unpack24(p, bits, seed)),
        _ => Box::new(move || Case::pack24(p, bits, seed)),
    }
}

/// Rows around blocks of 16, 32 and 64, columns around those of 32, 64 and 128, rows of whole 16 bytes and of half;
/// every order of each, and every kind of bits.
pub fn cases(spec: &KernelSpec) -> Vec<(String, Vec<Make>)> {
    let shapes = [
        (1, 4),
        (1, 8),
        (2, 20),
        (8, 32),
        (9, 36),
        (16, 64),
        (17, 72),
        (31, 100),
        (33, 128),
        (64, 132),
        (65, 264),
        (1, 8196),
        (130, 1028),
    ];
    let list = shapes.into_iter().map(|(m, k)| {
        let mut makes = Vec::new();
        for order in Order::ALL {
            let p = Packing { m, k, dtype: spec.dtype, order };
            makes.extend(KINDS.map(|bits| make(spec, p, bits, u64::from(m + k))));
        }
        (format!("m{m}_k{k}"), makes)
    });
    list.collect()
}
