//! The instruction sets, behind one small trait; kernels are written once over it.
//!
//! A [`Simd`] value is proof that the processor has the instructions: only [`Isa::new`] makes one,
//! after asking the processor. A [`Kernel`] is inlined whole into a function that has the
//! instructions enabled, so its plain loops are compiled for them, too.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod by_column;
pub(super) mod cache;
mod columns;
pub(super) mod dot;
mod elements;
#[cfg(target_arch = "aarch64")]
mod neon;
pub(super) mod outer;
pub(super) mod pack;
#[cfg(target_arch = "x86_64")]
mod pairs;
mod portable;
mod products;
pub(super) mod tiles;
mod weight;
pub(super) mod weights;

pub(super) use elements::Element;
use portable::Portable;
use std::fmt;
use std::sync::OnceLock;
pub(super) use weight::{Form, Inputs, Weight};

/// An instruction set that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Path {
    /// 16 lanes, and products of bf16 by pairs, of i8 by fours: AVX-512 F, BW, VL, DQ, BF16, VNNI, VBMI.
    Avx512Bf16,
    /// 16 lanes: AVX-512 F, BW, VL, DQ.
    Avx512,
    /// 8 lanes: AVX2, FMA, F16C.
    Avx2,
    /// 4 lanes: Advanced SIMD.
    Neon,
    /// Plain Rust, 8 lanes at a time.
    Portable,
}

impl Path {
    /// All of them, best first.
    pub const ALL: [Self; 5] =
        [Self::Avx512Bf16, Self::Avx512, Self::Avx2, Self::Neon, Self::Portable];

    /// Those that this processor and build have, best first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|path| Isa::new(*path).is_some())
    }

    /// What the processor must have, in words.
    pub const fn needs(self) -> &'static str {
        match self {
            Self::Avx512Bf16 => {
                "x86-64 with AVX-512 F, BW, VL, DQ, BF16, VNNI, VBMI, and FMA, F16C"
            }
            Self::Avx512 => "x86-64 with AVX-512 F, BW, VL, DQ, and FMA, F16C",
            Self::Avx2 => "x86-64 with AVX2, FMA, F16C",
            Self::Neon => "aarch64",
            Self::Portable => "nothing",
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Avx512Bf16 => "AVX-512 with BF16",
            Self::Avx512 => "AVX-512",
            Self::Avx2 => "AVX2",
            Self::Neon => "NEON",
            Self::Portable => "portable",
        })
    }
}

/// An instruction set that the processor is known to have.
#[derive(Clone, Copy, Debug)]
pub(super) enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16(avx512::Avx512, pairs::Pairs),
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Avx512),
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
    #[cfg(target_arch = "aarch64")]
    Neon(neon::Neon),
    Portable(Portable),
}

impl Isa {
    /// The set, if the processor and this build have it.
    pub(super) fn new(path: Path) -> Option<Self> {
        match path {
            #[cfg(target_arch = "x86_64")]
            Path::Avx512Bf16 => {
                Some(Self::Avx512Bf16(avx512::Avx512::detect()?, pairs::Pairs::detect()?))
            }
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => avx512::Avx512::detect().map(Self::Avx512),
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => avx2::Avx2::detect().map(Self::Avx2),
            #[cfg(target_arch = "aarch64")]
            Path::Neon => neon::Neon::detect().map(Self::Neon),
            Path::Portable => Some(Self::Portable(Portable)),
            #[allow(unreachable_patterns)] // the sets of other architectures
            _ => None,
        }
    }

    /// The widest, asked for once.
    pub(super) fn best() -> Self {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| {
            let mut all = Path::ALL.into_iter().filter_map(Self::new);
            all.next().unwrap_or(Self::Portable(Portable))
        })
    }

    pub(super) fn path(self) -> Path {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16(..) => Path::Avx512Bf16,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => Path::Avx512,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => Path::Avx2,
            #[cfg(target_arch = "aarch64")]
            Self::Neon(_) => Path::Neon,
            Self::Portable(_) => Path::Portable,
        }
    }

    /// Whether it multiplies bf16 by pairs, and i8 by fours.
    fn has_pairs(self) -> bool {
        self.path() == Path::Avx512Bf16
    }

    /// Whether it has an instruction that picks inputs.
    fn picks(self) -> bool {
        self.path() != Path::Portable
    }

    /// Inputs in a vector from which a permutation picks, and how often.
    fn unit(self) -> [usize; 2] {
        let Shape { lanes, groups, .. } = self.run(Ask);
        [4 * groups, lanes / (4 * groups)]
    }

    /// Tokens of the widest panel: as many sums fill half the vector registers.
    pub(super) fn panel(self) -> usize {
        self.run(Ask).registers / 2
    }

    /// Runs a kernel compiled for this set.
    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16(s, _) => s.run(kernel),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(s) => s.run(kernel),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(s) => s.run(kernel),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(s) => s.run(kernel),
            Self::Portable(s) => kernel.run(s),
        }
    }
}

/// Work that is compiled once for each instruction set. `run` must be `#[inline(always)]`, and so
/// must all that it calls, or it is compiled for none of them.
pub(super) trait Kernel {
    type Output;
    fn run<S: Simd>(self, s: S) -> Self::Output;
}

/// Constants of a set.
struct Shape {
    lanes: usize,
    groups: usize,
    registers: usize,
}

struct Ask;

impl Kernel for Ask {
    type Output = Shape;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> Shape {
        Shape { lanes: S::LANES, groups: S::GROUPS, registers: S::REGISTERS }
    }
}

/// The widest vector of all sets, f32s.
const MOST_LANES: usize = 16;

/// Vectors of f32 and what the kernels do with them.
pub(super) trait Simd: Copy {
    /// A vector of f32.
    type F: Copy;
    /// The places of kept inputs.
    type I: Copy;
    /// f32s in a vector, at most [`MOST_LANES`], a power of two.
    const LANES: usize;
    /// Groups of four inputs in a vector from which a permutation picks; as often as there is room.
    const GROUPS: usize;
    /// Vector registers.
    const REGISTERS: usize;

    fn splat(self, x: f32) -> Self::F;

    /// a·b + c; fused where the set can.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;

    /// The sum of all lanes.
    fn sum(self, x: Self::F) -> f32;

    /// Where, in a vector of inputs that has the `group`-th group of four, those lie that `LANES` rows from `row` of a
    /// strip on keep of it: their first or, with `which` = 1, their second.
    ///
    /// # Safety
    ///
    /// `codes` points to the group's two words; `row + LANES <= 16`, a multiple of `LANES`.
    unsafe fn places(self, codes: *const u32, row: usize, which: usize, group: usize) -> Self::I;

    /// Each row's input.
    fn pick(self, inputs: Self::F, at: Self::I) -> Self::F;

    /// # Safety
    ///
    /// `from` points to `LANES` f32s.
    unsafe fn load(self, from: *const f32) -> Self::F;

    /// # Safety
    ///
    /// `to` points to room for `LANES` f32s.
    unsafe fn store(self, to: *mut f32, x: Self::F);

    /// Widens binary16.
    ///
    /// # Safety
    ///
    /// `from` points to `LANES` u16s.
    unsafe fn load_f16(self, from: *const u16) -> Self::F;

    /// Rounds to binary16, to nearest even.
    ///
    /// # Safety
    ///
    /// `to` points to room for `LANES` u16s.
    unsafe fn store_f16(self, to: *mut u16, x: Self::F);

    /// Widens bfloat16.
    ///
    /// # Safety
    ///
    /// `from` points to `LANES` u16s.
    unsafe fn load_bf16(self, from: *const u16) -> Self::F;

    /// Widens the lower (0) or the upper (1) bfloat16 of words.
    ///
    /// # Safety
    ///
    /// `from` points to `LANES` words.
    unsafe fn load_half(self, from: *const u32, which: usize) -> Self::F;

    /// Widens the `which`-th signed byte of words, the lowest being 0.
    ///
    /// # Safety
    ///
    /// `from` points to `LANES` words.
    unsafe fn load_byte(self, from: *const u32, which: usize) -> Self::F;

    /// Rounds to bfloat16, to nearest even.
    ///
    /// # Safety
    ///
    /// `to` points to room for `LANES` u16s.
    unsafe fn store_bf16(self, to: *mut u16, x: Self::F);

    /// Transposes [`SQUARE`] rows, `stride` apart, of as many f32s.
    ///
    /// # Safety
    ///
    /// They are there at `from`, and room for them at `to`, with that one's stride.
    #[inline(always)]
    unsafe fn transpose(self, from: *const f32, stride: usize, to: *mut f32, to_stride: usize) {
        for i in 0..SQUARE {
            for j in 0..SQUARE {
                // SAFETY: the caller's promise
                unsafe { *to.add(i * to_stride + j) = *from.add(j * stride + i) };
            }
        }
    }

    /// Asks for a cache line ahead of its use; any address will do.
    fn prefetch<T>(self, _address: *const T) {}
}

/// Rows and columns that [`Simd::transpose`] takes.
pub(super) const SQUARE: usize = 16;

/// Rounds an f32 to bfloat16, to nearest even; NaN stays NaN.
#[inline(always)]
fn bf16_bits(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    if x.is_nan() { (bits >> 16 | 0x40) as u16 } else { rounded as u16 }
}

/// What follows from the trait's methods, for every set.
pub(super) trait SimdExt: Simd {
    /// Widens a slice to f32; both are as long.
    #[inline(always)]
    fn widen<T: Element>(self, from: &[T], to: &mut [f32]) {
        let to = &mut to[..from.len()];
        let whole = from.len() - from.len() % Self::LANES;
        for i in (0..whole).step_by(Self::LANES) {
            // SAFETY: i + LANES <= whole <= the length of both
            unsafe { self.store(to.as_mut_ptr().add(i), T::load(self, from.as_ptr().add(i))) };
        }
        for (to, from) in to[whole..].iter_mut().zip(&from[whole..]) {
            *to = from.widen();
        }
    }

    /// Rounds a slice of f32; both are as long.
    #[inline(always)]
    fn narrow<T: Element>(self, from: &[f32], to: &mut [T]) {
        let to = &mut to[..from.len()];
        let whole = from.len() - from.len() % Self::LANES;
        for i in (0..whole).step_by(Self::LANES) {
            // SAFETY: i + LANES <= whole <= the length of both
            unsafe { T::store(self, to.as_mut_ptr().add(i), self.load(from.as_ptr().add(i))) };
        }
        for (to, from) in to[whole..].iter_mut().zip(&from[whole..]) {
            *to = T::narrow(*from);
        }
    }

    /// Transposes [`SQUARE`] rows of as many values, `strides` apart in the slices.
    #[inline(always)]
    fn transpose_square(self, from: &[f32], to: &mut [f32], [stride, to_stride]: [usize; 2]) {
        let reach = |stride| (SQUARE - 1) * stride + SQUARE;
        assert!(from.len() >= reach(stride) && to.len() >= reach(to_stride), "rows of a square");
        // SAFETY: the assert
        unsafe { self.transpose(from.as_ptr(), stride, to.as_mut_ptr(), to_stride) }
    }

    /// Σ a·b, b widened; both are as long.
    #[inline(always)]
    fn dot<T: Element>(self, a: &[f32], b: &[T]) -> f32 {
        let b = &b[..a.len()];
        let whole = a.len() - a.len() % Self::LANES;
        let mut acc = self.splat(0.0);
        for i in (0..whole).step_by(Self::LANES) {
            // SAFETY: i + LANES <= whole <= the length of both
            let (x, y) =
                unsafe { (self.load(a.as_ptr().add(i)), T::load(self, b.as_ptr().add(i))) };
            acc = self.fma(x, y, acc);
        }
        let rest: f32 = a[whole..].iter().zip(&b[whole..]).map(|(a, b)| a * b.widen()).sum();
        self.sum(acc) + rest
    }
}

impl<S: Simd> SimdExt for S {}

/// Widens a slice to f32; both are as long.
pub(super) struct Widen<'a, T> {
    pub from: &'a [T],
    pub to: &'a mut [f32],
}

impl<T: Element> Kernel for Widen<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        s.widen(self.from, self.to);
    }
}
