//! A warp's products `mma` and `mma.sp`, and its accumulators, whatever the element type.
//!
//! In bytes all types are alike: A of a product is four registers, 16 rows of 32 bytes (of kept values if
//! sparse), and B 32 bytes of eight tokens, or 64. So m16n8k16 and m16n8k32.sp of 16 bits have the
//! geometry of m16n8k32 and m16n8k64.sp of 8 bits. Two things differ: s8 is summed in s32, and where
//! metadata lie: a word of 16-bit types serves two products, by its selector; 8-bit types have a word for
//! each (PTX ISA 9.7.14.5, 9.7.14.6.3).

use quickpick_kernels::DType;
use quickpick_ptx::{
    Addr, Arg, B32, B64, Cache, F32, Half, Imm, Inst, Int, Kernel, MmaShape, Ordered, Reg,
    Satfinite, Type, Vector,
};

/// Bytes of X that a dense product multiplies of each token; a sparse one takes twice as many.
pub(super) const DEPTH: u32 = 32;

/// The type of W and X.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element {
    pub dtype: DType,
}

impl Element {
    /// Bytes of an element.
    pub fn bytes(self) -> u32 {
        self.dtype.bytes() as u32
    }

    /// Y's 16-bit type.
    pub fn half(self) -> Half {
        if self.dtype == DType::F16 { Half::F16 } else { Half::BF16 }
    }

    /// Products that a word of metadata serves, by the selector.
    pub fn selectors(self) -> u32 {
        if self.bytes() == 1 { 1 } else { 2 }
    }

    /// The type's name in products.
    pub fn ty(self) -> Type {
        match self.dtype {
            DType::BF16 => Type::Bf16,
            DType::I8 => Type::S8,
            DType::E4M3 => Type::E4m3,
            DType::E5M2 => Type::E5m2,
            DType::F16 | DType::F32 => Type::F16,
        }
    }

    /// Declares so many sums.
    pub fn sums(self, k: &mut Kernel, role: &str, count: u32) -> Vec<Sum> {
        let count = count as usize;
        match self.dtype {
            DType::I8 => k.reg_list(role, count).into_iter().map(Sum::S32).collect(),
            _ => k.reg_list(role, count).into_iter().map(Sum::F32).collect(),
        }
    }
}

/// A sum, of integers if integers are multiplied: so it is exact whatever the order.
#[derive(Clone, Copy)]
pub(super) enum Sum {
    F32(Reg<F32>),
    S32(Reg<B32>),
}

impl Sum {
    pub fn clear(self, k: &mut Kernel) {
        match self {
            Self::F32(d) => k.mov_f32(d, 0.0),
            Self::S32(d) => k.mov_b32(d, 0),
        };
    }

    pub fn add(self, k: &mut Kernel, other: Self) {
        match (self, other) {
            (Self::F32(d), Self::F32(a)) => k.add_f32(d, d, a),
            (Self::S32(d), Self::S32(a)) => k.add_u32(d, d, a),
            _ => k,
        };
    }

    pub fn load_shared(self, k: &mut Kernel, from: Addr<B32>) {
        match self {
            Self::F32(d) => k.ld_shared_f32(d, from),
            Self::S32(d) => k.ld_shared_b32(d, from),
        };
    }

    pub fn store_shared(self, k: &mut Kernel, to: Addr<B32>) {
        match self {
            Self::F32(a) => k.st_shared_f32(to, a),
            Self::S32(a) => k.st_shared_b32(to, a),
        };
    }

    pub fn load_global(self, k: &mut Kernel, from: Addr<B64>) {
        match self {
            Self::F32(d) => k.ld_global_f32(Cache::Default, d, from),
            Self::S32(d) => k.ld_global_b32(Cache::Default, d, from),
        };
    }

    pub fn store_global(self, k: &mut Kernel, to: Addr<B64>) {
        match self {
            Self::F32(a) => k.st_global_f32(to, a),
            Self::S32(a) => k.st_global_b32(to, a),
        };
    }

    /// In f32; an integer is converted, in its own register.
    pub fn float(self, k: &mut Kernel) -> Reg<F32> {
        match self {
            Self::F32(sum) => sum,
            Self::S32(sum) => {
                k.cvt_f32_int(Int::S32, sum.as_f32(), sum);
                sum.as_f32()
            }
        }
    }
}

/// The accumulators: four for each 16×8 tile. A lane's lie in rows g and g, then g + 8 and g + 8, columns
/// 2t and 2t + 1.
pub(super) struct Accumulators {
    element: Element,
    sums: Sums,
}

enum Sums {
    F32(Vec<Reg<F32>>),
    S32(Vec<Reg<B32>>),
}

/// Four sums, 16 bytes in memory.
#[derive(Clone, Copy)]
pub(super) enum Four {
    F32(Vector<F32, 4>),
    S32(Vector<B32, 4>),
}

impl Four {
    pub fn store(self, k: &mut Kernel, to: Addr<B64>) {
        match self {
            Self::F32(v) => k.st_global_v4_f32(to, v),
            Self::S32(v) => k.st_global_v4_b32(to, v),
        };
    }

    pub fn load(self, k: &mut Kernel, from: Addr<B64>) {
        match self {
            Self::F32(v) => k.ld_global_v4_f32(Cache::Default, v, from),
            Self::S32(v) => k.ld_global_v4_b32(Cache::Default, v, from),
        };
    }

    /// Registers for others like these, for use in passing.
    pub fn scratch(self, k: &mut Kernel, role: &str) -> Self {
        match self {
            Self::F32(_) => Self::F32(k.scratches(role)),
            Self::S32(_) => Self::S32(k.scratches(role)),
        }
    }

    pub fn add(self, k: &mut Kernel, other: Self) {
        for e in 0..4 {
            match (self, other) {
                (Self::F32(d), Self::F32(a)) => k.add_f32(d[e], d[e], a[e]),
                (Self::S32(d), Self::S32(a)) => k.add_u32(d[e], d[e], a[e]),
                _ => k,
            };
        }
    }
}

impl Accumulators {
    /// Declares those of so many tiles.
    pub fn new(k: &mut Kernel, element: Element, tiles: u32) -> Self {
        let count = 4 * tiles as usize;
        let sums = match element.dtype {
            DType::I8 => Sums::S32(k.reg_list("acc", count)),
            _ => Sums::F32(k.reg_list("acc", count)),
        };
        Self { element, sums }
    }

    /// One by one.
    pub fn all(&self) -> Vec<Sum> {
        match &self.sums {
            Sums::F32(all) => all.iter().map(|&r| Sum::F32(r)).collect(),
            Sums::S32(all) => all.iter().map(|&r| Sum::S32(r)).collect(),
        }
    }

    pub fn clear(&self, k: &mut Kernel) {
        self.all().iter().for_each(|acc| acc.clear(k));
    }

    /// `acc[tile] += A · B`
    pub fn multiply(&self, k: &mut Kernel, tile: u32, a: Vector<B32, 4>, b: [Reg<B32>; 2]) {
        let (aty, shape, sat) = (self.element.ty(), self.shape(DEPTH), Satfinite::No);
        let (dty, d) = self.tile(tile);
        let (a, b, c) = (a.into(), Vector(b).into(), d.clone());
        k.inst(Inst::Mma { shape, sat, dty, aty, bty: aty, cty: dty, d, a, b, c });
    }

    /// `acc[tile] += A · B`, A 2:4.
    pub fn multiply_sparse(
        &self,
        k: &mut Kernel,
        tile: u32,
        a: Vector<B32, 4>,
        b: Vector<B32, 4>,
        (meta, selector): (Reg<B32>, u32),
    ) {
        let (aty, shape, sat) = (self.element.ty(), self.shape(2 * DEPTH), Satfinite::No);
        let (dty, d) = self.tile(tile);
        let (a, b, c, ordered) = (a.into(), b.into(), d.clone(), Ordered::Yes);
        let (meta, selector) = (meta.into(), Imm(selector));
        k.inst(Inst::MmaSp {
            ordered,
            shape,
            sat,
            dty,
            aty,
            bty: aty,
            cty: dty,
            d,
            a,
            b,
            c,
            meta,
            selector,
        });
    }

    /// All of them in f32.
    pub fn floats(&self, k: &mut Kernel) -> Vec<Reg<F32>> {
        self.all().iter().map(|acc| acc.float(k)).collect()
    }

    /// Those of each tile.
    pub fn fours(&self) -> Vec<Four> {
        (0..self.all().len() / 4).map(|i| self.four(i)).collect()
    }

    fn four(&self, i: usize) -> Four {
        match &self.sums {
            Sums::F32(all) => Four::F32(Vector(std::array::from_fn(|e| all[4 * i + e]))),
            Sums::S32(all) => Four::S32(Vector(std::array::from_fn(|e| all[4 * i + e]))),
        }
    }

    fn tile(&self, tile: u32) -> (Type, Arg) {
        match self.four(tile as usize) {
            Four::F32(v) => (Type::F32, v.into()),
            Four::S32(v) => (Type::S32, v.into()),
        }
    }

    /// That of so many bytes of X.
    fn shape(&self, bytes: u32) -> MmaShape {
        match bytes / self.element.bytes() {
            16 => MmaShape::M16N8K16,
            32 => MmaShape::M16N8K32,
            _ => MmaShape::M16N8K64,
        }
    }
}
