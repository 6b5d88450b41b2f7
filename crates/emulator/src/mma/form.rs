//! Which multiplies exist, and how many registers each takes.

use super::element::{Acc, Element};

/// Whether A is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sparsity {
    /// A is stored whole.
    Dense,
    /// A row keeps two of four columns, or one of two of tf32.
    Sparse {
        /// `::ordered_metadata`.
        ordered: bool,
    },
}

/// A multiply, D[m×n] = A[m×k] · B[k×n] + C: m16n8kK of a warp, or m64nNkK of a warpgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    /// Rows of A and D.
    pub m: u32,
    /// Columns of B and D.
    pub n: u32,
    /// Columns of A before compression, rows of B.
    pub k: u32,
    /// The type of A.
    pub a: Element,
    /// The type of B.
    pub b: Element,
    /// The type of C and D.
    pub acc: Acc,
    /// Whether A is compressed.
    pub sparsity: Sparsity,
    /// `.satfinite`: integer sums are clamped instead of wrapped.
    pub saturate: bool,
}

/// Columns of one register of each lane of a quad: 4e. All K of the manual's tables are small
/// multiples of it.
const fn quad(element: Element) -> u32 {
    4 * element.per_register() as u32
}

impl Form {
    /// `mma` or `mma.sp`, m16n8kK; the error says what is wrong with it.
    ///
    /// The tables of shapes (9.7.14.1) and of syntax (9.7.14.5.14, 9.7.14.6.3) in one rule: dense K
    /// is 4e or 8e, sparse K twice that; only of fp8 the smaller sparse K is missing. m8n8 and f64 are
    /// not modelled. f16 accumulators of fp8 are of PTX 8.7, with A sparse of the ordered kind only.
    pub fn warp(
        k: u32,
        a: Element,
        b: Element,
        acc: Acc,
        sparsity: Sparsity,
        saturate: bool,
    ) -> Result<Self, String> {
        let form = Self { m: 16, n: 8, k, a, b, acc, sparsity, saturate };
        form.check_types()?;
        let ks: &[u32] = match sparsity {
            Sparsity::Dense => &[quad(a), 2 * quad(a)],
            Sparsity::Sparse { .. } if a.is_fp8() => &[4 * quad(a)],
            Sparsity::Sparse { .. } => &[2 * quad(a), 4 * quad(a)],
        };
        form.check_k(ks)?;
        if a.is_fp8() && acc == Acc::F16 && sparsity == (Sparsity::Sparse { ordered: false }) {
            return Err(format!("{form} has f16 accumulators only with ordered metadata"));
        }
        Ok(form)
    }

    /// `wgmma` or `wgmma.sp`, m64nNkK; the error says what is wrong with it.
    ///
    /// Shapes (9.7.15.2): K is 8e, sparse 16e; N is a multiple of 8 up to 256, of integers above 32 a
    /// multiple of 16.
    pub fn group(
        n: u32,
        k: u32,
        a: Element,
        b: Element,
        acc: Acc,
        sparsity: Sparsity,
        saturate: bool,
    ) -> Result<Self, String> {
        let form = Self { m: 64, n, k, a, b, acc, sparsity, saturate };
        form.check_types()?;
        let k = match sparsity {
            Sparsity::Dense => 2 * quad(a),
            Sparsity::Sparse { ordered: false } => 4 * quad(a),
            Sparsity::Sparse { ordered: true } => {
                return Err(format!("{form} has no ordered metadata; only mma.sp has"));
            }
        };
        form.check_k(&[k])?;
        let (step, ns) = if a.is_integer() && n > 32 {
            (16, "8, 16, 24, 32 or a multiple of 16 up to 256")
        } else {
            (8, "a multiple of 8 up to 256")
        };
        if n == 0 || n > 256 || !n.is_multiple_of(step) {
            return Err(format!("{form}: n is not {ns}"));
        }
        Ok(form)
    }

    /// Types that go together (9.7.14.5.14, 9.7.14.6.3, 9.7.15.5.2): s8 mixes with u8, e4m3 with e5m2;
    /// integers sum in s32, bf16 and tf32 in f32, f16 and fp8 in f16 too.
    fn check_types(&self) -> Result<(), String> {
        let (a, b, acc) = (self.a, self.b, self.acc);
        let mixes = (a.is_integer() && b.is_integer()) || (a.is_fp8() && b.is_fp8());
        if a != b && !mixes {
            return Err(format!("{self}: {} and {} do not go together", a.name(), b.name()));
        }
        let sums = match a {
            Element::S8 | Element::U8 => acc == Acc::S32,
            Element::Bf16 | Element::Tf32 => acc == Acc::F32,
            Element::F16 | Element::E4m3 | Element::E5m2 => acc != Acc::S32,
        };
        if !sums {
            return Err(format!("{self}: {} is not summed in {}", a.name(), acc.name()));
        }
        if self.saturate && !a.is_integer() {
            return Err(format!("{self}: .satfinite is for integers"));
        }
        Ok(())
    }

    fn check_k(&self, ks: &[u32]) -> Result<(), String> {
        if ks.contains(&self.k) {
            return Ok(());
        }
        let ks: Vec<String> = ks.iter().map(u32::to_string).collect();
        Err(format!("{self}: k is not {}", ks.join(" or ")))
    }

    /// Whether A is compressed.
    pub const fn is_sparse(&self) -> bool {
        matches!(self.sparsity, Sparsity::Sparse { .. })
    }

    /// Whether it is a warpgroup's.
    pub const fn is_group(&self) -> bool {
        self.m == 64
    }

    /// Columns of A as stored.
    pub const fn stored_columns(&self) -> usize {
        (if self.is_sparse() { self.k / 2 } else { self.k }) as usize
    }

    /// Registers of A in each lane, if it comes from there: a warp has 16 rows.
    pub const fn a_registers(&self) -> usize {
        self.stored_columns() / (2 * self.a.per_register())
    }

    /// Registers of B in each lane; a warpgroup reads B from shared memory.
    pub const fn b_registers(&self) -> usize {
        if self.is_group() { 0 } else { self.k as usize / (4 * self.b.per_register()) }
    }

    /// Registers of D in each lane, and of C: a warp has 16 rows.
    pub const fn d_registers(&self) -> usize {
        match self.acc {
            Acc::F16 => self.n as usize / 4,
            Acc::F32 | Acc::S32 => self.n as usize / 2,
        }
    }

    /// Whether all four lanes of a quad are needed to hold the larger K's metadata: 8-bit types.
    /// Then the smaller K takes two of them; else the larger takes two, and the smaller one.
    pub const fn is_narrow(&self) -> bool {
        self.a.bits() == 8
    }

    /// Whether K is the larger of the sparse ones, 16e.
    pub const fn is_wide(&self) -> bool {
        self.k == 4 * quad(self.a)
    }

    /// How many sparsity selectors there are (9.7.14.6.1, 9.7.15.6.1); none if dense. Each names lanes
    /// of a quad that hold the metadata of the whole form.
    pub const fn selectors(&self) -> u32 {
        match (self.sparsity, self.is_wide(), self.is_narrow()) {
            (Sparsity::Dense, ..) => 0,
            (_, true, true) => 1,
            (_, true, false) | (_, false, true) => 2,
            (_, false, false) => 4,
        }
    }
}

impl std::fmt::Display for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { m, n, k, .. } = self;
        let name = match (self.is_group(), self.sparsity) {
            (false, Sparsity::Dense) => "mma",
            (false, Sparsity::Sparse { ordered: false }) => "mma.sp",
            (false, Sparsity::Sparse { ordered: true }) => "mma.sp::ordered_metadata",
            (true, Sparsity::Dense) => "wgmma",
            (true, Sparsity::Sparse { .. }) => "wgmma.sp",
        };
        let (a, b, acc) = (self.a.name(), self.b.name(), self.acc.name());
        write!(f, "{name}.m{m}n{n}k{k}.{acc}.{a}.{b}")
    }
}
