//! The instruction table. One row gives the variant of [`Inst`], the builder's method, the printer,
//! the parser (the template read backwards), and the least PTX version and target.
//!
//! A row holds only what it means: arithmetic that is the same for both signs has the unsigned
//! spelling, and floats carry their rounding, so that ptxas contracts nothing and the emulator
//! computes the same bits. Section numbers are those of the PTX ISA manual, chapter 9.7.

use crate::cursor::{Cursor, Fault};
use crate::kernel::Kernel;
use crate::operand::*;
use crate::reg::{B16, B32, B64, F32, Pred, Reg, Vector};

/// PTX ISA version × 10 that every row knows: `mma` of 16-bit types and `cp.async`.
pub const BASE_ISA: u16 = 70;
/// The target that every row knows.
pub const BASE_SM: u16 = 80;

/// What the tools say of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The variant of [`Inst`].
    pub name: &'static str,
    /// Its text, with operands in braces.
    pub template: &'static str,
    /// Least PTX ISA version × 10, before its operands are asked.
    pub isa: u16,
    /// Least target.
    pub sm: u16,
}

type Parse = fn(&mut Cursor<'_>) -> Result<Inst, Fault>;

macro_rules! isa {
    ($(
        $(#[$doc:meta])*
        $Name:ident $method:ident { $($field:ident : $ty:ty),* }
        $(isa $isa:literal)? $(sm $sm:literal)? => $template:literal;
    )*) => {
        /// An instruction: one variant per row of the table.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum Inst { $(
            $(#[$doc])*
            #[doc = concat!("\n\n`", $template, "`")]
            $Name { $(
                #[doc = concat!("`", stringify!($field), "` of the template.")]
                $field: $ty
            ),* }
        ),* }

        /// Every row, in the order of [`Inst`].
        pub const TABLE: &[Row] = &[ $( Row {
            name: stringify!($Name),
            template: $template,
            isa: pick(&[$($isa,)? BASE_ISA]),
            sm: pick(&[$($sm,)? BASE_SM]),
        } ),* ];

        const PARSERS: &[Parse] = &[ $( |c| {
            $( let mut $field: Option<$ty> = None; )*
            c.template($template, |c, name| match name {
                $( stringify!($field) => fill(c, &mut $field), )*
                _ => Err(c.fault("a template without such an operand")),
            })?;
            Ok(Inst::$Name { $( $field: filled(c, $field)? ),* })
        } ),* ];

        impl Inst {
            /// Its place in [`TABLE`].
            fn index(&self) -> usize {
                #[allow(clippy::enum_variant_names)] // they are the rows' names
                #[repr(usize)]
                enum Index { $( $Name ),* }
                match self { $( Self::$Name { .. } => Index::$Name as usize ),* }
            }

            #[allow(unused_variables)] // in rows without operands
            fn operand(&self, name: &str, out: &mut dyn std::fmt::Write) -> std::fmt::Result {
                match self { $( Self::$Name { $($field),* } => {
                    $( if name == stringify!($field) { return write!(out, "{}", $field); } )*
                } )* }
                Ok(())
            }

            /// The least PTX ISA version × 10 that it and its operands ask for.
            pub fn isa(&self) -> u16 {
                let mut isa = self.row().isa;
                match self { $( Self::$Name { $($field),* } => {
                    $( isa = isa.max($field.isa()); )*
                } )* }
                isa
            }
        }

        impl Kernel { $(
            $(#[$doc])*
            #[doc = concat!("\n\n`", $template, "`")]
            pub fn $method(&mut self, $($field: impl Into<$ty>),*) -> &mut Self {
                self.inst(Inst::$Name { $( $field: $field.into() ),* })
            }
        )* }

        /// At least one instruction of each row, together with every form of its operands.
        #[cfg(test)]
        pub(crate) fn samples() -> Vec<Inst> {
            let mut all = Vec::new();
            $( {
                let count = [1, $( <$ty>::samples().len() ),*].into_iter().max().unwrap_or(1);
                for _i in 0..count {
                    all.push(Inst::$Name { $( $field: {
                        let s = <$ty>::samples();
                        s[_i % s.len()].clone()
                    } ),* });
                }
            } )*
            all
        }
    };
}

const fn pick(list: &[u16]) -> u16 {
    list[0]
}

/// Reads an operand; one that the template names twice must be the same both times.
fn fill<T: Operand>(c: &mut Cursor<'_>, slot: &mut Option<T>) -> Result<(), Fault> {
    let value = T::parse(c)?;
    match slot {
        Some(first) if *first != value => Err(c.fault("this operand must repeat the former")),
        _ => {
            *slot = Some(value);
            Ok(())
        }
    }
}

fn filled<T>(c: &mut Cursor<'_>, slot: Option<T>) -> Result<T, Fault> {
    slot.ok_or_else(|| c.fault("the row's template lacks an operand"))
}

impl Inst {
    /// Its row.
    pub fn row(&self) -> &'static Row {
        &TABLE[self.index()]
    }

    /// Its text, `mnemonic operands;`, on one line.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for (i, piece) in self.row().template.split('{').enumerate() {
            match piece.split_once('}') {
                Some((name, literal)) if i > 0 => {
                    // writing to a String cannot fail
                    let _ = self.operand(name, &mut out);
                    out.push_str(literal);
                }
                _ => out.push_str(piece),
            }
        }
        out
    }

    /// The row that the text fits, from the cursor to after the semicolon. Where none does, the
    /// fault of the row that fitted furthest.
    pub(crate) fn parse(c: &mut Cursor<'_>) -> Result<Self, Fault> {
        let start = c.position();
        let mut furthest: Option<Fault> = None;
        for (row, parser) in TABLE.iter().zip(PARSERS) {
            let prefix = row.template.split([' ', '{']).next().unwrap_or("");
            if !c.starts_with(prefix) {
                continue;
            }
            let mut attempt = c.fork();
            match parser(&mut attempt) {
                Ok(inst) => {
                    *c = attempt;
                    return Ok(inst);
                }
                Err(fault) if furthest.as_ref().is_none_or(|f| f.position < fault.position) => {
                    furthest = Some(fault);
                }
                Err(_) => {}
            }
        }
        Err(furthest.unwrap_or_else(|| c.fault_at(start, "no such instruction in the table")))
    }
}

type Global = Addr<B64>;
type Shared = Addr<B32>;
type V<C, const N: usize> = Vector<C, N>;

isa! {
    // ---- moves (9.7.9)
    /// Copies 32 bits.
    MovB32 mov_b32 { d: Reg<B32>, a: Src<B32> } => "mov.b32 {d}, {a};";
    /// Copies 64 bits.
    MovB64 mov_b64 { d: Reg<B64>, a: Src<B64> } => "mov.b64 {d}, {a};";
    /// Copies a float.
    MovF32 mov_f32 { d: Reg<F32>, a: Src<F32> } => "mov.f32 {d}, {a};";
    /// The bits of a float.
    F32ToBits f32_to_bits { d: Reg<B32>, a: Reg<F32> } => "mov.b32 {d}, {a};";
    /// The float of these bits.
    F32FromBits f32_from_bits { d: Reg<F32>, a: Reg<B32> } => "mov.b32 {d}, {a};";
    /// Reads a special register.
    MovSpecial mov_special { d: Reg<B32>, a: Special } => "mov.u32 {d}, {a};";
    /// The address of the array in shared memory, within shared memory.
    MovSymbol mov_symbol { d: Reg<B32>, a: Symbol } => "mov.u32 {d}, {a};";
    /// Two halves to a word; the first is the low one.
    PackB16 pack_b16 { d: Reg<B32>, a: V<B16, 2> } => "mov.b32 {d}, {a};";
    /// A word to two halves; the first is the low one.
    UnpackB16 unpack_b16 { d: V<B16, 2>, a: Reg<B32> } => "mov.b32 {d}, {a};";
    /// Two words to one of 64 bits; the first is the low one.
    PackB32 pack_b32 { d: Reg<B64>, a: V<B32, 2> } => "mov.b64 {d}, {a};";
    /// 64 bits to two words; the first is the low one.
    UnpackB32 unpack_b32 { d: V<B32, 2>, a: Reg<B64> } => "mov.b64 {d}, {a};";
    /// Any four bytes of {b, a}: nibble i of `c` names byte i of the result.
    Prmt prmt { d: Reg<B32>, a: Reg<B32>, b: Src<B32>, c: Src<B32> } => "prmt.b32 {d}, {a}, {b}, {c};";
    /// Reads a lane's register: `c` = clamp | segment mask << 8; `mask` names the lanes that take part.
    ShflB32 shfl_b32 { mode: Shuffle, d: Reg<B32>, a: Reg<B32>, b: Src<B32>, c: Src<B32>, mask: Src<B32> }
        => "shfl.sync.{mode}.b32 {d}, {a}, {b}, {c}, {mask};";
    /// The same for a float.
    ShflF32 shfl_f32 { mode: Shuffle, d: Reg<F32>, a: Reg<F32>, b: Src<B32>, c: Src<B32>, mask: Src<B32> }
        => "shfl.sync.{mode}.b32 {d}, {a}, {b}, {c}, {mask};";
    /// Chooses by a predicate.
    SelpB32 selp_b32 { d: Reg<B32>, a: Src<B32>, b: Src<B32>, p: Reg<Pred> } => "selp.b32 {d}, {a}, {b}, {p};";
    /// Chooses by a predicate.
    SelpB64 selp_b64 { d: Reg<B64>, a: Src<B64>, b: Src<B64>, p: Reg<Pred> } => "selp.b64 {d}, {a}, {b}, {p};";
    /// Chooses by a predicate.
    SelpF32 selp_f32 { d: Reg<F32>, a: Src<F32>, b: Src<F32>, p: Reg<Pred> } => "selp.f32 {d}, {a}, {b}, {p};";

    // ---- parameters and addresses
    /// Loads a parameter.
    LdParamU32 ld_param_u32 { d: Reg<B32>, a: ParamName } => "ld.param.u32 {d}, [{a}];";
    /// Loads a parameter.
    LdParamU64 ld_param_u64 { d: Reg<B64>, a: ParamName } => "ld.param.u64 {d}, [{a}];";
    /// Loads a parameter.
    LdParamF32 ld_param_f32 { d: Reg<F32>, a: ParamName } => "ld.param.f32 {d}, [{a}];";
    /// A generic address to one in global memory.
    CvtaToGlobal cvta_to_global { d: Reg<B64>, a: Reg<B64> } => "cvta.to.global.u64 {d}, {a};";

    // ---- global memory
    /// Loads 2 bytes.
    LdGlobalB16 ld_global_b16 { cache: Cache, d: Reg<B16>, a: Global } => "ld.global{cache}.b16 {d}, {a};";
    /// Loads 4 bytes.
    LdGlobalB32 ld_global_b32 { cache: Cache, d: Reg<B32>, a: Global } => "ld.global{cache}.b32 {d}, {a};";
    /// Loads 8 bytes.
    LdGlobalB64 ld_global_b64 { cache: Cache, d: Reg<B64>, a: Global } => "ld.global{cache}.b64 {d}, {a};";
    /// Loads a float.
    LdGlobalF32 ld_global_f32 { cache: Cache, d: Reg<F32>, a: Global } => "ld.global{cache}.f32 {d}, {a};";
    /// Loads 8 bytes, aligned.
    LdGlobalV2B32 ld_global_v2_b32 { cache: Cache, d: V<B32, 2>, a: Global } => "ld.global{cache}.v2.b32 {d}, {a};";
    /// Loads 16 bytes, aligned.
    LdGlobalV4B32 ld_global_v4_b32 { cache: Cache, d: V<B32, 4>, a: Global } => "ld.global{cache}.v4.b32 {d}, {a};";
    /// Loads two floats, aligned.
    LdGlobalV2F32 ld_global_v2_f32 { cache: Cache, d: V<F32, 2>, a: Global } => "ld.global{cache}.v2.f32 {d}, {a};";
    /// Loads four floats, aligned.
    LdGlobalV4F32 ld_global_v4_f32 { cache: Cache, d: V<F32, 4>, a: Global } => "ld.global{cache}.v4.f32 {d}, {a};";
    /// Stores 2 bytes.
    StGlobalB16 st_global_b16 { a: Global, b: Reg<B16> } => "st.global.b16 {a}, {b};";
    /// Stores 4 bytes.
    StGlobalB32 st_global_b32 { a: Global, b: Reg<B32> } => "st.global.b32 {a}, {b};";
    /// Stores 8 bytes.
    StGlobalB64 st_global_b64 { a: Global, b: Reg<B64> } => "st.global.b64 {a}, {b};";
    /// Stores a float.
    StGlobalF32 st_global_f32 { a: Global, b: Reg<F32> } => "st.global.f32 {a}, {b};";
    /// Stores 8 bytes, aligned.
    StGlobalV2B32 st_global_v2_b32 { a: Global, b: V<B32, 2> } => "st.global.v2.b32 {a}, {b};";
    /// Stores 16 bytes, aligned.
    StGlobalV4B32 st_global_v4_b32 { a: Global, b: V<B32, 4> } => "st.global.v4.b32 {a}, {b};";
    /// Stores two floats, aligned.
    StGlobalV2F32 st_global_v2_f32 { a: Global, b: V<F32, 2> } => "st.global.v2.f32 {a}, {b};";
    /// Stores four floats, aligned.
    StGlobalV4F32 st_global_v4_f32 { a: Global, b: V<F32, 4> } => "st.global.v4.f32 {a}, {b};";

    // ---- shared memory
    /// Loads 2 bytes.
    LdSharedB16 ld_shared_b16 { d: Reg<B16>, a: Shared } => "ld.shared.b16 {d}, {a};";
    /// Loads 4 bytes.
    LdSharedB32 ld_shared_b32 { d: Reg<B32>, a: Shared } => "ld.shared.b32 {d}, {a};";
    /// Loads a float.
    LdSharedF32 ld_shared_f32 { d: Reg<F32>, a: Shared } => "ld.shared.f32 {d}, {a};";
    /// Loads 8 bytes, aligned.
    LdSharedV2B32 ld_shared_v2_b32 { d: V<B32, 2>, a: Shared } => "ld.shared.v2.b32 {d}, {a};";
    /// Loads 16 bytes, aligned.
    LdSharedV4B32 ld_shared_v4_b32 { d: V<B32, 4>, a: Shared } => "ld.shared.v4.b32 {d}, {a};";
    /// Loads two floats, aligned.
    LdSharedV2F32 ld_shared_v2_f32 { d: V<F32, 2>, a: Shared } => "ld.shared.v2.f32 {d}, {a};";
    /// Loads four floats, aligned.
    LdSharedV4F32 ld_shared_v4_f32 { d: V<F32, 4>, a: Shared } => "ld.shared.v4.f32 {d}, {a};";
    /// Stores 2 bytes.
    StSharedB16 st_shared_b16 { a: Shared, b: Reg<B16> } => "st.shared.b16 {a}, {b};";
    /// Stores 4 bytes.
    StSharedB32 st_shared_b32 { a: Shared, b: Reg<B32> } => "st.shared.b32 {a}, {b};";
    /// Stores a float.
    StSharedF32 st_shared_f32 { a: Shared, b: Reg<F32> } => "st.shared.f32 {a}, {b};";
    /// Stores 8 bytes, aligned.
    StSharedV2B32 st_shared_v2_b32 { a: Shared, b: V<B32, 2> } => "st.shared.v2.b32 {a}, {b};";
    /// Stores 16 bytes, aligned.
    StSharedV4B32 st_shared_v4_b32 { a: Shared, b: V<B32, 4> } => "st.shared.v4.b32 {a}, {b};";
    /// Stores two floats, aligned.
    StSharedV2F32 st_shared_v2_f32 { a: Shared, b: V<F32, 2> } => "st.shared.v2.f32 {a}, {b};";
    /// Stores four floats, aligned.
    StSharedV4F32 st_shared_v4_f32 { a: Shared, b: V<F32, 4> } => "st.shared.v4.f32 {a}, {b};";
    /// One 8×8 matrix of 16-bit elements; lanes 0–7 address its rows.
    LdmatrixX1 ldmatrix_x1 { trans: Trans, d: V<B32, 1>, a: Shared }
        => "ldmatrix.sync.aligned.m8n8.x1{trans}.shared.b16 {d}, {a};";
    /// Two matrices; lanes 0–15 address their rows.
    LdmatrixX2 ldmatrix_x2 { trans: Trans, d: V<B32, 2>, a: Shared }
        => "ldmatrix.sync.aligned.m8n8.x2{trans}.shared.b16 {d}, {a};";
    /// Four matrices; lanes 0–31 address their rows.
    LdmatrixX4 ldmatrix_x4 { trans: Trans, d: V<B32, 4>, a: Shared }
        => "ldmatrix.sync.aligned.m8n8.x4{trans}.shared.b16 {d}, {a};";
    /// Transposes an 8×8 matrix of 16-bit elements within the warp.
    Movmatrix movmatrix { d: Reg<B32>, a: Reg<B32> } isa 78
        => "movmatrix.sync.aligned.m8n8.trans.b16 {d}, {a};";

    // ---- asynchronous copies (9.7.9.25)
    /// 16 bytes, past L1.
    CpAsyncCg cp_async_cg { prefetch: Prefetch, d: Shared, a: Global }
        => "cp.async.cg.shared.global{prefetch} {d}, {a}, 16;";
    /// 16 bytes, of which `bytes` are read and the rest are zero.
    CpAsyncCgFill cp_async_cg_fill { prefetch: Prefetch, d: Shared, a: Global, bytes: Src<B32> }
        => "cp.async.cg.shared.global{prefetch} {d}, {a}, 16, {bytes};";
    /// 16 bytes; zeros, and nothing read, where the predicate holds.
    CpAsyncCgIgnore cp_async_cg_ignore { prefetch: Prefetch, d: Shared, a: Global, p: Reg<Pred> } isa 83
        => "cp.async.cg.shared.global{prefetch} {d}, {a}, 16, {p};";
    /// 4, 8 or 16 bytes, through L1.
    CpAsyncCa cp_async_ca { prefetch: Prefetch, d: Shared, a: Global, size: Imm }
        => "cp.async.ca.shared.global{prefetch} {d}, {a}, {size};";
    /// 4, 8 or 16 bytes, of which `bytes` are read and the rest are zero.
    CpAsyncCaFill cp_async_ca_fill { prefetch: Prefetch, d: Shared, a: Global, size: Imm, bytes: Src<B32> }
        => "cp.async.ca.shared.global{prefetch} {d}, {a}, {size}, {bytes};";
    /// Closes the group of the copies that this thread has begun.
    CpAsyncCommit cp_async_commit {} => "cp.async.commit_group;";
    /// Waits until at most `pending` of this thread's groups are under way.
    CpAsyncWait cp_async_wait { pending: Imm } => "cp.async.wait_group {pending};";
    /// Waits for all of this thread's copies.
    CpAsyncWaitAll cp_async_wait_all {} => "cp.async.wait_all;";

    // ---- order
    /// All threads of the block arrive; their accesses are ordered.
    BarSync bar_sync { id: Imm } => "bar.sync {id};";
    /// All lanes that `mask` names arrive; their accesses are ordered.
    BarWarpSync bar_warp_sync { mask: Src<B32> } => "bar.warp.sync {mask};";
    /// Orders this thread's accesses for the whole device.
    FenceAcqRelGpu fence_acq_rel_gpu {} => "fence.acq_rel.gpu;";
    /// Adds, and gives the former value; acquires and releases for the whole device.
    AtomAddAcqRel atom_add_acq_rel { d: Reg<B32>, a: Global, b: Src<B32> }
        => "atom.acq_rel.gpu.global.add.u32 {d}, {a}, {b};";
    /// Adds.
    RedAdd red_add { a: Global, b: Src<B32> } => "red.relaxed.gpu.global.add.u32 {a}, {b};";

    // ---- tensor units (9.7.14.5 and .6)
    /// D[16×8] = A[16×16] · B[16×8] + C, f32 accumulators.
    Mma16816 mma_16816 { ty: Half, d: V<F32, 4>, a: V<B32, 4>, b: V<B32, 2>, c: V<F32, 4> }
        => "mma.sync.aligned.m16n8k16.row.col.f32.{ty}.{ty}.f32 {d}, {a}, {b}, {c};";
    /// D[16×8] = A[16×32, 2:4] · B[32×8] + C, f32 accumulators; selector 0 or 1 names the pair of
    /// lanes in each four whose metadata counts.
    MmaSp16832 mma_sp_16832 { ty: Half, d: V<F32, 4>, a: V<B32, 4>, b: V<B32, 4>, c: V<F32, 4>, meta: Reg<B32>, selector: Imm } isa 85
        => "mma.sp::ordered_metadata.sync.aligned.m16n8k32.row.col.f32.{ty}.{ty}.f32 {d}, {a}, {b}, {c}, {meta}, {selector};";

    // ---- integers (9.7.1)
    /// a + b mod 2³²
    AddU32 add_u32 { d: Reg<B32>, a: Src<B32>, b: Src<B32> } => "add.u32 {d}, {a}, {b};";
    /// a − b mod 2³²
    SubU32 sub_u32 { d: Reg<B32>, a: Src<B32>, b: Src<B32> } => "sub.u32 {d}, {a}, {b};";
    /// a · b mod 2³²
    MulLoU32 mul_lo_u32 { d: Reg<B32>, a: Src<B32>, b: Src<B32> } => "mul.lo.u32 {d}, {a}, {b};";
    /// ⌊a · b / 2³²⌋
    MulHiU32 mul_hi_u32 { d: Reg<B32>, a: Src<B32>, b: Src<B32> } => "mul.hi.u32 {d}, {a}, {b};";
    /// a · b + c mod 2³²
    MadLoU32 mad_lo_u32 { d: Reg<B32>, a: Src<B32>, b: Src<B32>, c: Src<B32> } => "mad.lo.u32 {d}, {a}, {b}, {c};";
    /// ⌊a / b⌋
    DivU32 div_u32 { d: Reg<B32>, a: Src<B32>, b: Src<B32> } => "div.u32 {d}, {a}, {b};";
    /// a mod b
    RemU32 rem_u32 { d: Reg<B32>, a: Src<B32>, b: Src<B32> } => "rem.u32 {d}, {a}, {b};";
    /// The lesser.
    Min min { ty: Int, d: Reg<B32>, a: Src<B32>, b: Src<B32> } => "min.{ty} {d}, {a}, {b};";
    /// The greater.
    Max max { ty: Int, d: Reg<B32>, a: Src<B32>, b: Src<B32> } => "max.{ty} {d}, {a}, {b};";
    /// The 64 bits of a · b.
    MulWide mul_wide { ty: Int, d: Reg<B64>, a: Reg<B32>, b: Src<B32> } => "mul.wide.{ty} {d}, {a}, {b};";
    /// a · b + c in 64 bits.
    MadWide mad_wide { ty: Int, d: Reg<B64>, a: Reg<B32>, b: Src<B32>, c: Src<B64> } => "mad.wide.{ty} {d}, {a}, {b}, {c};";
    /// a + b mod 2⁶⁴
    AddU64 add_u64 { d: Reg<B64>, a: Src<B64>, b: Src<B64> } => "add.u64 {d}, {a}, {b};";
    /// a − b mod 2⁶⁴
    SubU64 sub_u64 { d: Reg<B64>, a: Src<B64>, b: Src<B64> } => "sub.u64 {d}, {a}, {b};";
    /// a · b mod 2⁶⁴
    MulLoU64 mul_lo_u64 { d: Reg<B64>, a: Src<B64>, b: Src<B64> } => "mul.lo.u64 {d}, {a}, {b};";
    /// a · b + c mod 2⁶⁴
    MadLoU64 mad_lo_u64 { d: Reg<B64>, a: Src<B64>, b: Src<B64>, c: Src<B64> } => "mad.lo.u64 {d}, {a}, {b}, {c};";
    /// −a
    NegS32 neg_s32 { d: Reg<B32>, a: Reg<B32> } => "neg.s32 {d}, {a};";

    // ---- bits (9.7.8)
    /// a · 2ᵇ; 0 for b > 31
    ShlB32 shl_b32 { d: Reg<B32>, a: Src<B32>, b: Src<B32> } => "shl.b32 {d}, {a}, {b};";
    /// ⌊a / 2ᵇ⌋, by the type's sign
    Shr shr { ty: Int, d: Reg<B32>, a: Src<B32>, b: Src<B32> } => "shr.{ty} {d}, {a}, {b};";
    /// a · 2ᵇ; 0 for b > 63
    ShlB64 shl_b64 { d: Reg<B64>, a: Src<B64>, b: Src<B32> } => "shl.b64 {d}, {a}, {b};";
    /// ⌊a / 2ᵇ⌋
    ShrU64 shr_u64 { d: Reg<B64>, a: Src<B64>, b: Src<B32> } => "shr.u64 {d}, {a}, {b};";
    /// a ∧ b
    AndB32 and_b32 { d: Reg<B32>, a: Src<B32>, b: Src<B32> } => "and.b32 {d}, {a}, {b};";
    /// a ∨ b
    OrB32 or_b32 { d: Reg<B32>, a: Src<B32>, b: Src<B32> } => "or.b32 {d}, {a}, {b};";
    /// a ⊕ b
    XorB32 xor_b32 { d: Reg<B32>, a: Src<B32>, b: Src<B32> } => "xor.b32 {d}, {a}, {b};";
    /// ¬a
    NotB32 not_b32 { d: Reg<B32>, a: Reg<B32> } => "not.b32 {d}, {a};";
    /// Any function of three bits: bit 4a + 2b + c of `lut`.
    Lop3 lop3 { d: Reg<B32>, a: Src<B32>, b: Src<B32>, c: Src<B32>, lut: Imm } => "lop3.b32 {d}, {a}, {b}, {c}, {lut};";
    /// The field of c bits from bit b on.
    BfeU32 bfe_u32 { d: Reg<B32>, a: Reg<B32>, b: Src<B32>, c: Src<B32> } => "bfe.u32 {d}, {a}, {b}, {c};";

    // ---- predicates
    /// Compares integers.
    Setp setp { cmp: Cmp, ty: Int, d: Reg<Pred>, a: Reg<B32>, b: Src<B32> } => "setp.{cmp}.{ty} {d}, {a}, {b};";
    /// Compares integers of 64 bits.
    SetpU64 setp_u64 { cmp: Cmp, d: Reg<Pred>, a: Reg<B64>, b: Src<B64> } => "setp.{cmp}.u64 {d}, {a}, {b};";
    /// Compares floats, ordered.
    SetpF32 setp_f32 { cmp: Cmp, d: Reg<Pred>, a: Reg<F32>, b: Src<F32> } => "setp.{cmp}.f32 {d}, {a}, {b};";
    /// a ∧ b
    AndPred and_pred { d: Reg<Pred>, a: Reg<Pred>, b: Reg<Pred> } => "and.pred {d}, {a}, {b};";
    /// a ∨ b
    OrPred or_pred { d: Reg<Pred>, a: Reg<Pred>, b: Reg<Pred> } => "or.pred {d}, {a}, {b};";
    /// ¬a
    NotPred not_pred { d: Reg<Pred>, a: Reg<Pred> } => "not.pred {d}, {a};";

    // ---- floats (9.7.3)
    /// a + b
    AddF32 add_f32 { d: Reg<F32>, a: Src<F32>, b: Src<F32> } => "add.rn.f32 {d}, {a}, {b};";
    /// a − b
    SubF32 sub_f32 { d: Reg<F32>, a: Src<F32>, b: Src<F32> } => "sub.rn.f32 {d}, {a}, {b};";
    /// a · b
    MulF32 mul_f32 { d: Reg<F32>, a: Src<F32>, b: Src<F32> } => "mul.rn.f32 {d}, {a}, {b};";
    /// a · b + c, rounded once
    FmaF32 fma_f32 { d: Reg<F32>, a: Src<F32>, b: Src<F32>, c: Src<F32> } => "fma.rn.f32 {d}, {a}, {b}, {c};";
    /// a / b
    DivF32 div_f32 { d: Reg<F32>, a: Src<F32>, b: Src<F32> } => "div.rn.f32 {d}, {a}, {b};";
    /// The greater; the other where one is NaN.
    MaxF32 max_f32 { d: Reg<F32>, a: Src<F32>, b: Src<F32> } => "max.f32 {d}, {a}, {b};";
    /// The lesser; the other where one is NaN.
    MinF32 min_f32 { d: Reg<F32>, a: Src<F32>, b: Src<F32> } => "min.f32 {d}, {a}, {b};";
    /// −a
    NegF32 neg_f32 { d: Reg<F32>, a: Reg<F32> } => "neg.f32 {d}, {a};";
    /// |a|
    AbsF32 abs_f32 { d: Reg<F32>, a: Reg<F32> } => "abs.f32 {d}, {a};";
    /// √a
    SqrtF32 sqrt_f32 { d: Reg<F32>, a: Reg<F32> } => "sqrt.rn.f32 {d}, {a};";
    /// 2ᵃ, relative error ≤ 2⁻²²; subnormals are zero
    Ex2 ex2 { d: Reg<F32>, a: Reg<F32> } => "ex2.approx.ftz.f32 {d}, {a};";
    /// 1/a, error ≤ 1 ulp; subnormals are zero
    Rcp rcp { d: Reg<F32>, a: Reg<F32> } => "rcp.approx.ftz.f32 {d}, {a};";
    /// 1/√a, relative error ≤ 2⁻²²·⁹; subnormals are zero
    Rsqrt rsqrt { d: Reg<F32>, a: Reg<F32> } => "rsqrt.approx.ftz.f32 {d}, {a};";
    /// tanh a, relative error ≤ 2⁻¹¹
    Tanh tanh { d: Reg<F32>, a: Reg<F32> } => "tanh.approx.f32 {d}, {a};";

    // ---- conversions (9.7.9.22)
    /// Zero-extends.
    CvtU64U32 cvt_u64_u32 { d: Reg<B64>, a: Reg<B32> } => "cvt.u64.u32 {d}, {a};";
    /// Sign-extends.
    CvtS64S32 cvt_s64_s32 { d: Reg<B64>, a: Reg<B32> } => "cvt.s64.s32 {d}, {a};";
    /// The low half.
    CvtU32U64 cvt_u32_u64 { d: Reg<B32>, a: Reg<B64> } => "cvt.u32.u64 {d}, {a};";
    /// Zero-extends.
    CvtU32U16 cvt_u32_u16 { d: Reg<B32>, a: Reg<B16> } => "cvt.u32.u16 {d}, {a};";
    /// The low half.
    CvtU16U32 cvt_u16_u32 { d: Reg<B16>, a: Reg<B32> } => "cvt.u16.u32 {d}, {a};";
    /// An integer to the nearest float.
    CvtF32Int cvt_f32_int { ty: Int, d: Reg<F32>, a: Reg<B32> } => "cvt.rn.f32.{ty} {d}, {a};";
    /// A float to an integer, towards zero, saturating.
    CvtIntF32 cvt_int_f32 { ty: Int, d: Reg<B32>, a: Reg<F32> } => "cvt.rzi.{ty}.f32 {d}, {a};";
    /// f16 to f32, exact. (bf16 to f32 is a shift by 16: `cvt.f32.bf16` needs sm_90.)
    CvtF32F16 cvt_f32_f16 { d: Reg<F32>, a: Reg<B16> } => "cvt.f32.f16 {d}, {a};";
    /// f32 to the nearest 16-bit float.
    CvtHalfF32 cvt_half_f32 { ty: Half, d: Reg<B16>, a: Reg<F32> } => "cvt.rn.{ty}.f32 {d}, {a};";
    /// Two f32 to the nearest 16-bit floats; `a` goes to the high half.
    CvtHalf2F32 cvt_half2_f32 { ty: Half, d: Reg<B32>, a: Reg<F32>, b: Reg<F32> } => "cvt.rn.{ty}x2.f32 {d}, {a}, {b};";

    // ---- control (9.7.12)
    /// Goes to the label.
    Bra bra { to: Label } => "bra {to};";
    /// Goes to the label; all lanes of the warp agree.
    BraUni bra_uni { to: Label } => "bra.uni {to};";
    /// Ends the thread.
    Ret ret {} => "ret;";
}
