//! Every form of a matrix multiply whose lane maps are recorded: one form, one row.

use super::element::Element::{self, Bf16, E4m3, E5m2, F16, S8, Tf32};
use Engine::{Mma, MmaSp, MmaSpOrdered, Wgmma, WgmmaSp};
use Place::{Registers, Shared};
use Target::{Exactly, From};

/// An instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// `mma.sync` (PTX ISA 9.7.14.5).
    Mma,
    /// `mma.sp.sync` (9.7.14.6).
    MmaSp,
    /// `mma.sp::ordered_metadata.sync` (9.7.14.6).
    MmaSpOrdered,
    /// `wgmma.mma_async` (9.7.15.5).
    Wgmma,
    /// `wgmma.mma_async.sp` (9.7.15.6).
    WgmmaSp,
}

/// Where an operand comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Registers, each lane its fragment.
    Registers,
    /// Shared memory, through a descriptor.
    Shared(Swizzle),
}

/// How a K-major image lies in shared memory (9.7.15.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swizzle {
    /// Core matrices of 8 rows × 16 bytes, each contiguous: those of one core column one after the
    /// other, then the next core column.
    None,
    /// Rows of 128 bytes, of which the operand is the first part; bits 6:4 of a byte's address are
    /// xored with bits 9:7.
    B128,
}

/// Devices that run a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// This compute capability × 10 and all later ones.
    From(u32),
    /// This one only: `sm_90a`.
    Exactly(u32),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            From(sm) => write!(f, "sm_{sm}"),
            Exactly(sm) => write!(f, "sm_{sm}a"),
        }
    }
}

/// A form of a matrix multiply, D[m×n] = A[m×k] · B[k×n] + C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Of its file, too.
    pub name: &'static str,
    /// The instruction.
    pub engine: Engine,
    /// Rows of A and D.
    pub m: usize,
    /// Columns of B and D.
    pub n: usize,
    /// Columns of A before compression, rows of B.
    pub k: usize,
    /// The type of A and B.
    pub element: Element,
    /// Where A comes from.
    pub a: Place,
    /// Where B comes from.
    pub b: Place,
    /// How many sparsity selectors there are; 0 for a dense form.
    pub selectors: u32,
    /// Least PTX ISA version × 10.
    pub isa: u32,
    /// Devices that run it.
    pub target: Target,
}

const PLAIN: Place = Shared(Swizzle::None);
const SW128: Place = Shared(Swizzle::B128);

#[rustfmt::skip] // one form, one line
/// The forms. Versions and targets: PTX ISA, "Target ISA Notes" of each instruction.
///
/// For sm_90 ptxas 13.5 makes the warp's e4m3 and e5m2 forms of conversions and two f16 multiplies (its
/// SASS has no QMMA there), so what Hopper records of these is the assembler's doing, not the unit's.
pub const FORMS: &[Form] = &[
    //  name                              engine         m   n   k  type  A          B          selectors isa  target
    row("mma_m16n8k16_f16",               Mma,          16,  8, 16, F16,  Registers, Registers, 0,        70,  From(80)),
    row("mma_m16n8k16_bf16",              Mma,          16,  8, 16, Bf16, Registers, Registers, 0,        70,  From(80)),
    row("mma_m16n8k8_tf32",               Mma,          16,  8,  8, Tf32, Registers, Registers, 0,        70,  From(80)),
    row("mma_m16n8k32_s8",                Mma,          16,  8, 32, S8,   Registers, Registers, 0,        70,  From(80)),
    row("mma_m16n8k32_e4m3",              Mma,          16,  8, 32, E4m3, Registers, Registers, 0,        84,  From(89)),

    row("mma_sp_m16n8k16_f16",            MmaSpOrdered, 16,  8, 16, F16,  Registers, Registers, 4,        85,  From(80)),
    row("mma_sp_m16n8k16_bf16",           MmaSpOrdered, 16,  8, 16, Bf16, Registers, Registers, 4,        85,  From(80)),
    row("mma_sp_m16n8k32_f16",            MmaSpOrdered, 16,  8, 32, F16,  Registers, Registers, 2,        85,  From(80)),
    row("mma_sp_m16n8k32_bf16",           MmaSpOrdered, 16,  8, 32, Bf16, Registers, Registers, 2,        85,  From(80)),
    row("mma_sp_m16n8k8_tf32",            MmaSpOrdered, 16,  8,  8, Tf32, Registers, Registers, 4,        85,  From(80)),
    row("mma_sp_m16n8k16_tf32",           MmaSpOrdered, 16,  8, 16, Tf32, Registers, Registers, 2,        85,  From(80)),
    row("mma_sp_m16n8k32_s8",             MmaSpOrdered, 16,  8, 32, S8,   Registers, Registers, 2,        85,  From(80)),
    row("mma_sp_m16n8k64_s8",             MmaSpOrdered, 16,  8, 64, S8,   Registers, Registers, 1,        85,  From(80)),
    row("mma_sp_m16n8k64_e4m3",           MmaSpOrdered, 16,  8, 64, E4m3, Registers, Registers, 1,        85,  From(89)),
    row("mma_sp_m16n8k64_e5m2",           MmaSpOrdered, 16,  8, 64, E5m2, Registers, Registers, 1,        85,  From(89)),
    row("mma_sp_plain_m16n8k32_f16",      MmaSp,        16,  8, 32, F16,  Registers, Registers, 2,        71,  From(80)),
    row("mma_sp_plain_m16n8k64_s8",       MmaSp,        16,  8, 64, S8,   Registers, Registers, 1,        71,  From(80)),

    row("wgmma_m64n8k16_f16_rs",          Wgmma,        64,  8, 16, F16,  Registers, PLAIN,     0,        80,  Exactly(90)),
    row("wgmma_m64n8k16_f16_ss",          Wgmma,        64,  8, 16, F16,  PLAIN,     PLAIN,     0,        80,  Exactly(90)),
    row("wgmma_m64n16k16_f16_rs",         Wgmma,        64, 16, 16, F16,  Registers, PLAIN,     0,        80,  Exactly(90)),
    row("wgmma_m64n16k16_f16_ss",         Wgmma,        64, 16, 16, F16,  PLAIN,     PLAIN,     0,        80,  Exactly(90)),

    row("wgmma_sp_m64n8k32_f16_rs",       WgmmaSp,      64,  8, 32, F16,  Registers, PLAIN,     2,        82,  Exactly(90)),
    row("wgmma_sp_m64n8k32_f16_rs_sw128", WgmmaSp,      64,  8, 32, F16,  Registers, SW128,     2,        82,  Exactly(90)),
    row("wgmma_sp_m64n8k32_f16_ss",       WgmmaSp,      64,  8, 32, F16,  PLAIN,     PLAIN,     2,        82,  Exactly(90)),
    row("wgmma_sp_m64n8k32_f16_ss_sw128", WgmmaSp,      64,  8, 32, F16,  SW128,     SW128,     2,        82,  Exactly(90)),
    row("wgmma_sp_m64n8k32_bf16_rs",      WgmmaSp,      64,  8, 32, Bf16, Registers, PLAIN,     2,        82,  Exactly(90)),
    row("wgmma_sp_m64n8k16_tf32_rs",      WgmmaSp,      64,  8, 16, Tf32, Registers, PLAIN,     2,        82,  Exactly(90)),
    row("wgmma_sp_m64n8k64_s8_rs",        WgmmaSp,      64,  8, 64, S8,   Registers, PLAIN,     1,        82,  Exactly(90)),
    row("wgmma_sp_m64n8k64_e4m3_rs",      WgmmaSp,      64,  8, 64, E4m3, Registers, PLAIN,     1,        82,  Exactly(90)),
    row("wgmma_sp_m64n64k32_f16_rs",      WgmmaSp,      64, 64, 32, F16,  Registers, PLAIN,     2,        82,  Exactly(90)),
];

const fn row(
    name: &'static str,
    engine: Engine,
    m: usize,
    n: usize,
    k: usize,
    element: Element,
    a: Place,
    b: Place,
    selectors: u32,
    isa: u32,
    target: Target,
) -> Form {
    Form { name, engine, m, n, k, element, a, b, selectors, isa, target }
}

/// The names of all forms, in the order of the table.
pub fn forms() -> impl Iterator<Item = &'static str> {
    FORMS.iter().map(|form| form.name)
}

/// The form of this name; the error lists those that there are.
pub fn form(name: &str) -> Result<&'static Form, String> {
    FORMS.iter().find(|form| form.name == name).ok_or_else(|| {
        format!("no form is called {name}; there are {}", forms().collect::<Vec<_>>().join(", "))
    })
}

/// An image in shared memory of `rows` rows of `row_bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// How it is swizzled.
    pub swizzle: Swizzle,
    /// Bytes from one core column to the next (unswizzled; ignored and 16 where swizzled).
    pub leading: usize,
    /// Bytes from eight rows to the next eight.
    pub stride: usize,
    /// Bytes, rounded up so that 128 threads copy whole words.
    pub bytes: usize,
}

impl Image {
    const fn new(swizzle: Swizzle, rows: usize, row_bytes: usize) -> Self {
        let (leading, stride, bytes) = match swizzle {
            Swizzle::None => (16 * rows, 128, rows * row_bytes),
            Swizzle::B128 => (16, 1024, 128 * rows),
        };
        Self { swizzle, leading, stride, bytes: bytes.next_multiple_of(512) }
    }
}

impl Form {
    /// Whether A is compressed, and metadata says from what.
    pub const fn is_sparse(&self) -> bool {
        self.selectors > 0
    }

    /// Threads that execute it together: a warp, or a warpgroup.
    pub const fn lanes(&self) -> usize {
        match self.engine {
            Mma | MmaSp | MmaSpOrdered => 32,
            Wgmma | WgmmaSp => 128,
        }
    }

    /// Columns of A as stored.
    pub const fn a_columns(&self) -> usize {
        if self.is_sparse() { self.k / 2 } else { self.k }
    }

    /// A's image, if it lies in shared memory.
    pub const fn a_image(&self) -> Option<Image> {
        match self.a {
            Shared(swizzle) => Some(Image::new(
                swizzle,
                self.m,
                self.a_columns() * self.element.bits() as usize / 8,
            )),
            Registers => None,
        }
    }

    /// B's image, if it lies in shared memory: its rows are the columns of B.
    pub const fn b_image(&self) -> Option<Image> {
        match self.b {
            Shared(swizzle) => {
                Some(Image::new(swizzle, self.n, self.k * self.element.bits() as usize / 8))
            }
            Registers => None,
        }
    }

    /// 32-bit words of A in one trial: registers × lanes, or the image.
    pub const fn a_words(&self) -> usize {
        match self.a_image() {
            Some(image) => image.bytes / 4,
            None => self.m * self.a_columns() / self.element.per_word(),
        }
    }

    /// 32-bit words of B in one trial.
    pub const fn b_words(&self) -> usize {
        match self.b_image() {
            Some(image) => image.bytes / 4,
            None => self.n * self.k / self.element.per_word(),
        }
    }

    /// Words of C, and of D: registers × lanes.
    pub const fn d_words(&self) -> usize {
        self.m * self.n
    }

    /// Registers of A in each lane, if it comes from there.
    pub const fn a_registers(&self) -> usize {
        self.a_words() / self.lanes()
    }

    /// Registers of B in each lane, if it comes from there.
    pub const fn b_registers(&self) -> usize {
        self.b_words() / self.lanes()
    }

    /// Registers of D in each lane.
    pub const fn d_registers(&self) -> usize {
        self.d_words() / self.lanes()
    }

    /// Metadata codes that the manual allows for a group (9.7.14.6.1): ordered pairs of positions in
    /// four columns, or for tf32 one of two columns.
    pub const fn codes(&self) -> &'static [u32] {
        match self.element {
            Tf32 => &[0x4, 0xE],
            _ => &[0x4, 0x8, 0x9, 0xC, 0xD, 0xE],
        }
    }

    /// Its opcode with all qualifiers.
    pub fn mnemonic(&self) -> String {
        let (ty, acc) = (self.element.name(), self.element.accumulator());
        let shape = format!("m{}n{}k{}", self.m, self.n, self.k);
        let warp =
            |opcode: &str| format!("{opcode}.sync.aligned.{shape}.row.col.{acc}.{ty}.{ty}.{acc}");
        let group = |opcode: &str| format!("{opcode}.sync.aligned.{shape}.{acc}.{ty}.{ty}");
        match self.engine {
            Mma => warp("mma"),
            MmaSp => warp("mma.sp"),
            MmaSpOrdered => warp("mma.sp::ordered_metadata"),
            Wgmma => group("wgmma.mma_async"),
            WgmmaSp => group("wgmma.mma_async.sp"),
        }
    }

    /// Whether it is recorded for the map of its many columns. One-hot B tells that map whole; of A a
    /// sample will do, for its map is the narrow form's.
    pub const fn is_wide(&self) -> bool {
        self.n > 16
    }

    /// Whether metadata is varied nibble by nibble. In forms that differ from another one in the place
    /// of an operand or in N only, random metadata confirms that the map is the same.
    pub const fn explores_metadata(&self) -> bool {
        let first = matches!((self.a, self.b), (Registers, Registers | PLAIN));
        self.is_sparse() && first && !self.is_wide()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_say_the_shape() {
        for (i, form) in FORMS.iter().enumerate() {
            assert!(forms().skip(i + 1).all(|name| name != form.name), "{}", form.name);
            let shape = format!("m{}n{}k{}_{}", form.m, form.n, form.k, form.element.name());
            assert!(form.name.contains(&shape), "{}", form.name);
            let sparse = matches!(form.engine, MmaSp | MmaSpOrdered | WgmmaSp);
            assert_eq!(form.is_sparse(), sparse, "{}", form.name);
        }
        assert!(form("none").unwrap_err().contains("mma_m16n8k16_f16, "));
    }

    /// Registers as the manual lists them (9.7.14.5, .6; 9.7.15.5, .6).
    #[test]
    fn registers_follow_from_the_shape() {
        let registers = |name: &str| {
            let f = form(name).unwrap();
            (f.a_registers(), f.b_registers(), f.d_registers())
        };
        assert_eq!(registers("mma_m16n8k16_f16"), (4, 2, 4));
        assert_eq!(registers("mma_m16n8k8_tf32"), (4, 2, 4));
        assert_eq!(registers("mma_sp_m16n8k16_f16"), (2, 2, 4));
        assert_eq!(registers("mma_sp_m16n8k32_bf16"), (4, 4, 4));
        assert_eq!(registers("mma_sp_m16n8k8_tf32"), (2, 2, 4));
        assert_eq!(registers("mma_sp_m16n8k32_s8"), (2, 2, 4));
        assert_eq!(registers("mma_sp_m16n8k64_e5m2"), (4, 4, 4));
        let rs = form("wgmma_sp_m64n64k32_f16_rs").unwrap();
        assert_eq!((rs.a_registers(), rs.d_registers()), (4, 32));
        let ss = form("wgmma_sp_m64n8k32_f16_ss_sw128").unwrap();
        assert_eq!(ss.a_image().map(|i| (i.bytes, i.stride)), Some((8192, 1024)));
        assert_eq!(ss.b_image().map(|i| i.bytes), Some(1024));
    }
}
