//! A warp's products `mma` and `mma.sp`, and its accumulators, whatever the element type.
//!
//! In bytes all types are alike: A of a product is four registers, 16 rows of 32 bytes (of kept values if
//! sparse), and B 32 bytes of eight tokens, or 64. So m16n8k16 and m16n8k32.sp of 16 bits have the
//! geometry of m16n8k32 and m16n8k64.sp of 8 bits. Two things differ: s8 is summed in s32, and where
//! metadata lie: a word of 16-bit types serves two products, by its selector; 8-bit types have a word for
//! each (PTX ISA 9.7.14.5, 9.7.14.6.3).

use quickpick_kernels::DType;
use quickpick_ptx::{
    Arg, B32, F32, Half, Imm, Inst, Int, Kernel, MmaShape, Ordered, Reg, Satfinite, Type, Vector,
};

/// Bytes of X that a dense product multiplies of each token; a sparse one takes twice as many.
pub(super) const DEPTH: u32 = 32;

/// What a product's types are.
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

    fn ty(self) -> Type {
        match self.dtype {
            DType::BF16 => Type::Bf16,
            DType::I8 => Type::S8,
            DType::E4M3 => Type::E4m3,
            DType::F16 | DType::F32 => Type::F16,
        }
    }
}

/// The accumulators: four for each 16×8 tile.
pub(super) struct Accumulators {
    element: Element,
    sums: Sums,
}

enum Sums {
    F32(Vec<Reg<F32>>),
    S32(Vec<Reg<B32>>),
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

    pub fn clear(&self, k: &mut Kernel) {
        match &self.sums {
            Sums::F32(all) => all.iter().for_each(|&acc| _ = k.mov_f32(acc, 0.0)),
            Sums::S32(all) => all.iter().for_each(|&acc| _ = k.mov_b32(acc, 0)),
        }
    }

    /// `acc[tile] += A · B`
    pub fn multiply(&self, k: &mut Kernel, tile: u32, a: Vector<B32, 4>, b: [Reg<B32>; 2]) {
        let (ty, shape) = (self.element.ty(), self.shape(DEPTH));
        let (dty, d) = self.tile(tile);
        let (a, b, c, sat) = (a.into(), Vector(b).into(), d.clone(), Satfinite::No);
        k.inst(Inst::Mma { shape, sat, dty, aty: ty, bty: ty, cty: dty, d, a, b, c });
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
        let (ty, shape, ordered) = (self.element.ty(), self.shape(2 * DEPTH), Ordered::Yes);
        let (dty, d) = self.tile(tile);
        let (a, b, c, sat) = (a.into(), b.into(), d.clone(), Satfinite::No);
        let (meta, selector) = (meta.into(), Imm(selector));
        k.inst(Inst::MmaSp {
            ordered,
            shape,
            sat,
            dty,
            aty: ty,
            bty: ty,
            cty: dty,
            d,
            a,
            b,
            c,
            meta,
            selector,
        });
    }

    /// All of them in f32; integers are converted, each in its own register.
    pub fn floats(&self, k: &mut Kernel) -> Vec<Reg<F32>> {
        match &self.sums {
            Sums::F32(all) => all.clone(),
            Sums::S32(all) => {
                let convert = |&sum: &Reg<B32>| {
                    k.cvt_f32_int(Int::S32, sum.as_f32(), sum);
                    sum.as_f32()
                };
                all.iter().map(convert).collect()
            }
        }
    }

    fn tile(&self, tile: u32) -> (Type, Arg) {
        let four = 4 * tile as usize..4 * tile as usize + 4;
        match &self.sums {
            Sums::F32(all) => {
                (Type::F32, Arg::Vector(all[four].iter().map(|&r| r.into()).collect()))
            }
            Sums::S32(all) => {
                (Type::S32, Arg::Vector(all[four].iter().map(|&r| r.into()).collect()))
            }
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
