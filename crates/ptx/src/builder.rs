//! The generator's methods on [`Kernel`]: each is one form of a row, with classes as types.
//!
//! Arithmetic that is the same for both signs has the unsigned spelling, and floats carry their
//! rounding, so that ptxas contracts nothing and the emulator computes the same bits.

use crate::kernel::Kernel;
use crate::modifier::*;
use crate::operand::{Arg, Imm};
use crate::reg::{B16, B32, B64, F32, Pred, Reg, Vector};
use crate::table::Inst;
use crate::typed::{Addr, Label, ParamName, Src, Symbol};

type Global = Addr<B64>;
type Shared = Addr<B32>;
type V<C, const N: usize> = Vector<C, N>;

macro_rules! builder {
    ($(
        $(#[$doc:meta])*
        $method:ident($($arg:ident : $T:ty),*) => $Row:ident { $($field:ident $(= $value:expr)?),* };
    )*) => {
        impl Kernel { $(
            $(#[$doc])*
            pub fn $method(&mut self, $($arg: impl Into<$T>),*) -> &mut Self {
                $( let $arg: $T = $arg.into(); )*
                self.inst(Inst::$Row { $( $field: builder!(@ $field $($value)?) ),* })
            }
        )* }
    };
    (@ $field:ident) => { $field.into() };
    (@ $field:ident $value:expr) => { $value };
}

builder! {
    /// Copies 32 bits.
    mov_b32(d: Reg<B32>, a: Src<B32>) => Mov { ty = Type::B32, d, a };
    /// Copies 64 bits.
    mov_b64(d: Reg<B64>, a: Src<B64>) => Mov { ty = Type::B64, d, a };
    /// Copies a float.
    mov_f32(d: Reg<F32>, a: Src<F32>) => Mov { ty = Type::F32, d, a };
    /// The bits of a float.
    f32_to_bits(d: Reg<B32>, a: Reg<F32>) => Mov { ty = Type::B32, d, a };
    /// The float of these bits.
    f32_from_bits(d: Reg<F32>, a: Reg<B32>) => Mov { ty = Type::B32, d, a };
    /// Reads a special register.
    mov_special(d: Reg<B32>, a: Special) => Mov { ty = Type::U32, d, a };
    /// The address of the array in shared memory, within shared memory.
    mov_symbol(d: Reg<B32>, a: Symbol) => Mov { ty = Type::U32, d, a };
    /// Two halves to a word; the first is the low one.
    pack_b16(d: Reg<B32>, a: V<B16, 2>) => Mov { ty = Type::B32, d, a };
    /// A word to two halves; the first is the low one.
    unpack_b16(d: V<B16, 2>, a: Reg<B32>) => Mov { ty = Type::B32, d, a };
    /// Two words to one of 64 bits; the first is the low one.
    pack_b32(d: Reg<B64>, a: V<B32, 2>) => Mov { ty = Type::B64, d, a };
    /// 64 bits to two words; the first is the low one.
    unpack_b32(d: V<B32, 2>, a: Reg<B64>) => Mov { ty = Type::B64, d, a };
    /// Any four bytes of {b, a}: nibble i of `c` names byte i of the result.
    prmt(d: Reg<B32>, a: Reg<B32>, b: Src<B32>, c: Src<B32>) => Prmt { mode = PrmtMode::Plain, d, a, b, c };
    /// Reads a lane's register: `c` = clamp | segment mask << 8; `mask` names the lanes that take part.
    shfl_b32(mode: Shuffle, d: Reg<B32>, a: Reg<B32>, b: Src<B32>, c: Src<B32>, mask: Src<B32>)
        => Shfl { mode, d, p = Arg::Sink, a, b, c, mask };
    /// The same for a float.
    shfl_f32(mode: Shuffle, d: Reg<F32>, a: Reg<F32>, b: Src<B32>, c: Src<B32>, mask: Src<B32>)
        => Shfl { mode, d, p = Arg::Sink, a, b, c, mask };
    /// Chooses by a predicate.
    selp_b32(d: Reg<B32>, a: Src<B32>, b: Src<B32>, p: Reg<Pred>) => Selp { ty = Type::B32, d, a, b, p };
    /// Chooses by a predicate.
    selp_b64(d: Reg<B64>, a: Src<B64>, b: Src<B64>, p: Reg<Pred>) => Selp { ty = Type::B64, d, a, b, p };
    /// Chooses by a predicate.
    selp_f32(d: Reg<F32>, a: Src<F32>, b: Src<F32>, p: Reg<Pred>) => Selp { ty = Type::F32, d, a, b, p };
    /// A generic address to one in global memory.
    cvta_to_global(d: Reg<B64>, a: Reg<B64>) => CvtaTo { space = Space::Global, d, a };
}

macro_rules! accesses {
    ($(
        $(#[$doc:meta])* param $load:ident($D:ty) .$pty:ident;
    )* -- $(
        $(#[$gdoc:meta])* global $gload:ident $gstore:ident($G:ty) $gvec:ident .$gty:ident;
    )* -- $(
        $(#[$sdoc:meta])* shared $sload:ident $sstore:ident($S:ty) $svec:ident .$sty:ident;
    )*) => {
        builder! { $(
            $(#[$doc])*
            $load(d: $D, a: ParamName) => Ld { order = LoadOrder::Plain, space = Space::Param, cache = Cache::Default, vec = Width::V1, ty = Type::$pty, d, a };
        )* $(
            $(#[$gdoc])* #[doc = "Loads from global memory."]
            $gload(cache: Cache, d: $G, a: Global) => Ld { order = LoadOrder::Plain, space = Space::Global, cache, vec = Width::$gvec, ty = Type::$gty, d, a };
            $(#[$gdoc])* #[doc = "Stores to global memory."]
            $gstore(a: Global, b: $G) => St { order = StoreOrder::Plain, space = Space::Global, cache = StoreCache::Default, vec = Width::$gvec, ty = Type::$gty, a, b };
        )* $(
            $(#[$sdoc])* #[doc = "Loads from shared memory."]
            $sload(d: $S, a: Shared) => Ld { order = LoadOrder::Plain, space = Space::Shared, cache = Cache::Default, vec = Width::$svec, ty = Type::$sty, d, a };
            $(#[$sdoc])* #[doc = "Stores to shared memory."]
            $sstore(a: Shared, b: $S) => St { order = StoreOrder::Plain, space = Space::Shared, cache = StoreCache::Default, vec = Width::$svec, ty = Type::$sty, a, b };
        )* }
    };
}

accesses! {
    /// Loads a parameter.
    param ld_param_u32(Reg<B32>) .U32;
    /// Loads a parameter.
    param ld_param_u64(Reg<B64>) .U64;
    /// Loads a parameter.
    param ld_param_f32(Reg<F32>) .F32;
    --
    /// 2 bytes.
    global ld_global_b16 st_global_b16(Reg<B16>) V1 .B16;
    /// 4 bytes.
    global ld_global_b32 st_global_b32(Reg<B32>) V1 .B32;
    /// 8 bytes.
    global ld_global_b64 st_global_b64(Reg<B64>) V1 .B64;
    /// A float.
    global ld_global_f32 st_global_f32(Reg<F32>) V1 .F32;
    /// 8 bytes, aligned.
    global ld_global_v2_b32 st_global_v2_b32(V<B32, 2>) V2 .B32;
    /// 16 bytes, aligned.
    global ld_global_v4_b32 st_global_v4_b32(V<B32, 4>) V4 .B32;
    /// Two floats, aligned.
    global ld_global_v2_f32 st_global_v2_f32(V<F32, 2>) V2 .F32;
    /// Four floats, aligned.
    global ld_global_v4_f32 st_global_v4_f32(V<F32, 4>) V4 .F32;
    --
    /// 2 bytes.
    shared ld_shared_b16 st_shared_b16(Reg<B16>) V1 .B16;
    /// 4 bytes.
    shared ld_shared_b32 st_shared_b32(Reg<B32>) V1 .B32;
    /// A float.
    shared ld_shared_f32 st_shared_f32(Reg<F32>) V1 .F32;
    /// 8 bytes, aligned.
    shared ld_shared_v2_b32 st_shared_v2_b32(V<B32, 2>) V2 .B32;
    /// 16 bytes, aligned.
    shared ld_shared_v4_b32 st_shared_v4_b32(V<B32, 4>) V4 .B32;
    /// Two floats, aligned.
    shared ld_shared_v2_f32 st_shared_v2_f32(V<F32, 2>) V2 .F32;
    /// Four floats, aligned.
    shared ld_shared_v4_f32 st_shared_v4_f32(V<F32, 4>) V4 .F32;
}

builder! {
    /// One 8×8 matrix of 16-bit elements; lanes 0–7 address its rows.
    ldmatrix_x1(trans: Trans, d: V<B32, 1>, a: Shared) => Ldmatrix { num = Num::X1, trans, space = Space::Shared, d, a };
    /// Two matrices; lanes 0–15 address their rows.
    ldmatrix_x2(trans: Trans, d: V<B32, 2>, a: Shared) => Ldmatrix { num = Num::X2, trans, space = Space::Shared, d, a };
    /// Four matrices; lanes 0–31 address their rows.
    ldmatrix_x4(trans: Trans, d: V<B32, 4>, a: Shared) => Ldmatrix { num = Num::X4, trans, space = Space::Shared, d, a };
    /// Stores four matrices; lanes 0–31 address their rows.
    stmatrix_x4(trans: Trans, a: Shared, b: V<B32, 4>) => Stmatrix { num = Num::X4, trans, space = Space::Shared, a, b };
    /// Transposes an 8×8 matrix of 16-bit elements within the warp.
    movmatrix(d: Reg<B32>, a: Reg<B32>) => Movmatrix { d, a };

    /// 16 bytes, past L1.
    cp_async_cg(prefetch: Prefetch, d: Shared, a: Global)
        => CpAsync { cache = CopyCache::Cg, space = Space::Shared, prefetch, d, a, size = Imm(16) };
    /// 16 bytes, of which `bytes` are read and the rest are zero.
    cp_async_cg_fill(prefetch: Prefetch, d: Shared, a: Global, bytes: Src<B32>)
        => CpAsyncFill { cache = CopyCache::Cg, space = Space::Shared, prefetch, d, a, size = Imm(16), bytes };
    /// 16 bytes; zeros, and nothing read, where the predicate holds.
    cp_async_cg_ignore(prefetch: Prefetch, d: Shared, a: Global, p: Reg<Pred>)
        => CpAsyncIgnore { cache = CopyCache::Cg, space = Space::Shared, prefetch, d, a, size = Imm(16), p };
    /// 4, 8 or 16 bytes, through L1.
    cp_async_ca(prefetch: Prefetch, d: Shared, a: Global, size: Imm)
        => CpAsync { cache = CopyCache::Ca, space = Space::Shared, prefetch, d, a, size };
    /// 4, 8 or 16 bytes, of which `bytes` are read and the rest are zero.
    cp_async_ca_fill(prefetch: Prefetch, d: Shared, a: Global, size: Imm, bytes: Src<B32>)
        => CpAsyncFill { cache = CopyCache::Ca, space = Space::Shared, prefetch, d, a, size, bytes };
    /// Closes the group of the copies that this thread has begun.
    cp_async_commit() => CpAsyncCommit {};
    /// Waits until at most `pending` of this thread's groups are under way.
    cp_async_wait(pending: Imm) => CpAsyncWait { pending };
    /// Waits for all of this thread's copies.
    cp_async_wait_all() => CpAsyncWaitAll {};

    /// All threads of the block arrive; their accesses are ordered.
    bar_sync(id: Imm) => BarSync { kind = BarKind::Bar, aligned = Aligned::No, id = Arg::Int(id.0 as i64) };
    /// All lanes that `mask` names arrive; their accesses are ordered.
    bar_warp_sync(mask: Src<B32>) => BarWarpSync { mask };
    /// Orders this thread's accesses for the whole device.
    fence_acq_rel_gpu() => Fence { sem = FenceSem::AcqRel, scope = FenceScope::Gpu };
    /// Adds, and gives the former value; acquires and releases for the whole device.
    atom_add_acq_rel(d: Reg<B32>, a: Global, b: Src<B32>)
        => Atom { order = AtomOrder::AcqRel, scope = AtomScope::Gpu, space = Space::Global, op = AtomOp::Add, ty = Type::U32, d, a, b };
    /// Adds.
    red_add(a: Global, b: Src<B32>)
        => Red { order = AtomOrder::Relaxed, scope = AtomScope::Gpu, space = Space::Global, op = AtomOp::Add, ty = Type::U32, a, b };

    /// The lesser, of unsigned integers.
    red_min(a: Global, b: Src<B32>)
        => Red { order = AtomOrder::Relaxed, scope = AtomScope::Gpu, space = Space::Global, op = AtomOp::Min, ty = Type::U32, a, b };
}

macro_rules! arithmetic {
    (
        ints { $( $(#[$i:meta])* $iname:ident $IRow:ident .$ity:ident ($I:ty); )* }
        floats { $( $(#[$f:meta])* $fname:ident $FRow:ident; )* }
        bits { $( $(#[$b:meta])* $bname:ident $BRow:ident .$bty:ident ($B:ty); )* }
        unary { $( $(#[$u:meta])* $uname:ident $URow:ident .$uty:ident ($U:ty) $([$($m:ident = $mv:expr),*])?; )* }
    ) => {
        builder! { $(
            $(#[$i])*
            $iname(d: Reg<$I>, a: Src<$I>, b: Src<$I>) => $IRow { round = Round::Plain, ftz = Ftz::No, sat = Sat::No, ty = Type::$ity, d, a, b };
        )* $(
            $(#[$f])*
            $fname(d: Reg<F32>, a: Src<F32>, b: Src<F32>) => $FRow { round = Round::Rn, ftz = Ftz::No, sat = Sat::No, ty = Type::F32, d, a, b };
        )* $(
            $(#[$b])*
            $bname(d: Reg<$B>, a: Src<$B>, b: Src<$B>) => $BRow { ty = Type::$bty, d, a, b };
        )* $(
            $(#[$u])*
            $uname(d: Reg<$U>, a: Reg<$U>) => $URow { $($($m = $mv,)*)? ty = Type::$uty, d, a };
        )* }
    };
}

arithmetic! {
    ints {
        /// a + b mod 2³²
        add_u32 Add .U32 (B32);
        /// a − b mod 2³²
        sub_u32 Sub .U32 (B32);
        /// a + b mod 2⁶⁴
        add_u64 Add .U64 (B64);
        /// a − b mod 2⁶⁴
        sub_u64 Sub .U64 (B64);
    }
    floats {
        /// a + b
        add_f32 Add;
        /// a − b
        sub_f32 Sub;
    }
    bits {
        /// a mod b
        rem_u32 Rem .U32 (B32);
        /// a ∧ b
        and_b32 And .B32 (B32);
        /// a ∨ b
        or_b32 Or .B32 (B32);
        /// a ⊕ b
        xor_b32 Xor .B32 (B32);
    }
    unary {
        /// −a
        neg_s32 Neg .S32 (B32) [ftz = Ftz::No];
        /// ¬a
        not_b32 Not .B32 (B32);
        /// −a
        neg_f32 Neg .F32 (F32) [ftz = Ftz::No];
        /// |a|
        abs_f32 Abs .F32 (F32) [ftz = Ftz::No];
        /// √a
        sqrt_f32 Sqrt .F32 (F32) [round = RootMode::Rn, ftz = Ftz::No];
        /// 2ᵃ, relative error ≤ 2⁻²²; subnormals are zero
        ex2 Ex2 .F32 (F32) [ftz = Ftz::Yes];
        /// 1/a, error ≤ 1 ulp; subnormals are zero
        rcp Rcp .F32 (F32) [round = RootMode::Approx, ftz = Ftz::Yes];
        /// 1/√a, relative error ≤ 2⁻²²·⁹; subnormals are zero
        rsqrt Rsqrt .F32 (F32) [ftz = Ftz::Yes];
        /// tanh a, relative error ≤ 2⁻¹¹
        tanh Tanh .F32 (F32);
        /// ¬a
        not_pred Not .Pred (Pred);
    }
}

builder! {
    /// a · b mod 2³²
    mul_lo_u32(d: Reg<B32>, a: Src<B32>, b: Src<B32>) => Mul { mode = MulMode::Lo, round = Round::Plain, ftz = Ftz::No, sat = Sat::No, ty = Type::U32, d, a, b };
    /// ⌊a · b / 2³²⌋
    mul_hi_u32(d: Reg<B32>, a: Src<B32>, b: Src<B32>) => Mul { mode = MulMode::Hi, round = Round::Plain, ftz = Ftz::No, sat = Sat::No, ty = Type::U32, d, a, b };
    /// The 64 bits of a · b.
    mul_wide(ty: Int, d: Reg<B64>, a: Reg<B32>, b: Src<B32>) => Mul { mode = MulMode::Wide, round = Round::Plain, ftz = Ftz::No, sat = Sat::No, ty, d, a, b };
    /// a · b mod 2⁶⁴
    mul_lo_u64(d: Reg<B64>, a: Src<B64>, b: Src<B64>) => Mul { mode = MulMode::Lo, round = Round::Plain, ftz = Ftz::No, sat = Sat::No, ty = Type::U64, d, a, b };
    /// a · b
    mul_f32(d: Reg<F32>, a: Src<F32>, b: Src<F32>) => Mul { mode = MulMode::Plain, round = Round::Rn, ftz = Ftz::No, sat = Sat::No, ty = Type::F32, d, a, b };
    /// a · b + c mod 2³²
    mad_lo_u32(d: Reg<B32>, a: Src<B32>, b: Src<B32>, c: Src<B32>) => Mad { mode = MadMode::Lo, sat = Sat::No, ty = Type::U32, d, a, b, c };
    /// a · b + c mod 2⁶⁴
    mad_lo_u64(d: Reg<B64>, a: Src<B64>, b: Src<B64>, c: Src<B64>) => Mad { mode = MadMode::Lo, sat = Sat::No, ty = Type::U64, d, a, b, c };
    /// a · b + c in 64 bits.
    mad_wide(ty: Int, d: Reg<B64>, a: Reg<B32>, b: Src<B32>, c: Src<B64>) => Mad { mode = MadMode::Wide, sat = Sat::No, ty, d, a, b, c };
    /// a · b + c, rounded once
    fma_f32(d: Reg<F32>, a: Src<F32>, b: Src<F32>, c: Src<F32>) => Fma { round = Round::Rn, ftz = Ftz::No, sat = Sat::No, relu = Relu::No, ty = Type::F32, d, a, b, c };
    /// ⌊a / b⌋
    div_u32(d: Reg<B32>, a: Src<B32>, b: Src<B32>) => Div { mode = DivMode::Plain, ftz = Ftz::No, ty = Type::U32, d, a, b };
    /// a / b
    div_f32(d: Reg<F32>, a: Src<F32>, b: Src<F32>) => Div { mode = DivMode::Rn, ftz = Ftz::No, ty = Type::F32, d, a, b };
    /// The lesser.
    min(ty: Int, d: Reg<B32>, a: Src<B32>, b: Src<B32>) => Min { ftz = Ftz::No, nan = Nan::No, ty, d, a, b };
    /// The greater.
    max(ty: Int, d: Reg<B32>, a: Src<B32>, b: Src<B32>) => Max { ftz = Ftz::No, nan = Nan::No, ty, d, a, b };
    /// The lesser; the other where one is NaN.
    min_f32(d: Reg<F32>, a: Src<F32>, b: Src<F32>) => Min { ftz = Ftz::No, nan = Nan::No, ty = Type::F32, d, a, b };
    /// The greater; the other where one is NaN.
    max_f32(d: Reg<F32>, a: Src<F32>, b: Src<F32>) => Max { ftz = Ftz::No, nan = Nan::No, ty = Type::F32, d, a, b };

    /// a · 2ᵇ; 0 for b > 31
    shl_b32(d: Reg<B32>, a: Src<B32>, b: Src<B32>) => Shl { ty = Type::B32, d, a, b };
    /// ⌊a / 2ᵇ⌋, by the type's sign
    shr(ty: Int, d: Reg<B32>, a: Src<B32>, b: Src<B32>) => Shr { ty, d, a, b };
    /// a · 2ᵇ; 0 for b > 63
    shl_b64(d: Reg<B64>, a: Src<B64>, b: Src<B32>) => Shl { ty = Type::B64, d, a, b };
    /// ⌊a / 2ᵇ⌋
    shr_u64(d: Reg<B64>, a: Src<B64>, b: Src<B32>) => Shr { ty = Type::U64, d, a, b };
    /// Any function of three bits: bit 4a + 2b + c of `lut`.
    lop3(d: Reg<B32>, a: Src<B32>, b: Src<B32>, c: Src<B32>, lut: Imm) => Lop3 { d, a, b, c, lut };
    /// The field of c bits from bit b on.
    bfe_u32(d: Reg<B32>, a: Reg<B32>, b: Src<B32>, c: Src<B32>) => Bfe { ty = Type::U32, d, a, b, c };

    /// Compares integers.
    setp(cmp: Cmp, ty: Int, d: Reg<Pred>, a: Reg<B32>, b: Src<B32>) => Setp { cmp, ftz = Ftz::No, ty, d, a, b };
    /// Compares integers of 64 bits.
    setp_u64(cmp: Cmp, d: Reg<Pred>, a: Reg<B64>, b: Src<B64>) => Setp { cmp, ftz = Ftz::No, ty = Type::U64, d, a, b };
    /// Compares floats, ordered.
    setp_f32(cmp: Cmp, d: Reg<Pred>, a: Reg<F32>, b: Src<F32>) => Setp { cmp, ftz = Ftz::No, ty = Type::F32, d, a, b };
    /// a ∧ b
    and_pred(d: Reg<Pred>, a: Reg<Pred>, b: Reg<Pred>) => And { ty = Type::Pred, d, a, b };
    /// a ∨ b
    or_pred(d: Reg<Pred>, a: Reg<Pred>, b: Reg<Pred>) => Or { ty = Type::Pred, d, a, b };

    /// Zero-extends.
    cvt_u64_u32(d: Reg<B64>, a: Reg<B32>) => Cvt { round = CvtRound::Plain, ftz = Ftz::No, relu = Relu::No, sat = Sat::No, dty = Type::U64, aty = Type::U32, d, a };
    /// Sign-extends.
    cvt_s64_s32(d: Reg<B64>, a: Reg<B32>) => Cvt { round = CvtRound::Plain, ftz = Ftz::No, relu = Relu::No, sat = Sat::No, dty = Type::S64, aty = Type::S32, d, a };
    /// The low half.
    cvt_u32_u64(d: Reg<B32>, a: Reg<B64>) => Cvt { round = CvtRound::Plain, ftz = Ftz::No, relu = Relu::No, sat = Sat::No, dty = Type::U32, aty = Type::U64, d, a };
    /// Zero-extends.
    cvt_u32_u16(d: Reg<B32>, a: Reg<B16>) => Cvt { round = CvtRound::Plain, ftz = Ftz::No, relu = Relu::No, sat = Sat::No, dty = Type::U32, aty = Type::U16, d, a };
    /// The low half.
    cvt_u16_u32(d: Reg<B16>, a: Reg<B32>) => Cvt { round = CvtRound::Plain, ftz = Ftz::No, relu = Relu::No, sat = Sat::No, dty = Type::U16, aty = Type::U32, d, a };
    /// An integer to the nearest float.
    cvt_f32_int(ty: Int, d: Reg<F32>, a: Reg<B32>) => Cvt { round = CvtRound::Rn, ftz = Ftz::No, relu = Relu::No, sat = Sat::No, dty = Type::F32, aty = ty.into(), d, a };
    /// A float to an integer, towards zero, saturating.
    cvt_int_f32(ty: Int, d: Reg<B32>, a: Reg<F32>) => Cvt { round = CvtRound::Rzi, ftz = Ftz::No, relu = Relu::No, sat = Sat::No, dty = ty.into(), aty = Type::F32, d, a };
    /// f16 to f32, exact. (bf16 to f32 is a shift by 16: `cvt.f32.bf16` needs sm_90.)
    cvt_f32_f16(d: Reg<F32>, a: Reg<B16>) => Cvt { round = CvtRound::Plain, ftz = Ftz::No, relu = Relu::No, sat = Sat::No, dty = Type::F32, aty = Type::F16, d, a };
    /// A 16-bit float to f32, exact; of bf16 from sm_90 on.
    cvt_f32_half(ty: Half, d: Reg<F32>, a: Reg<B16>) => Cvt { round = CvtRound::Plain, ftz = Ftz::No, relu = Relu::No, sat = Sat::No, dty = Type::F32, aty = ty.into(), d, a };
    /// f32 to the nearest 16-bit float.
    cvt_half_f32(ty: Half, d: Reg<B16>, a: Reg<F32>) => Cvt { round = CvtRound::Rn, ftz = Ftz::No, relu = Relu::No, sat = Sat::No, dty = ty.into(), aty = Type::F32, d, a };
    /// Two f32 to the nearest 16-bit floats; `a` goes to the high half.
    cvt_half2_f32(ty: Half, d: Reg<B32>, a: Reg<F32>, b: Reg<F32>) => Cvt2 { round = CvtRound::Rn, relu = Relu::No, dty = ty.pair(), d, a, b };
    /// Two 8-bit floats of a type of pairs to f16, exact; from sm_89 on.
    cvt_f16x2_float8(ty: Type, d: Reg<B32>, a: Reg<B16>) => CvtFloat8 { aty = ty, d, a };

    /// An mbarrier for so many arrivals.
    mbarrier_init(a: Shared, count: Src<B32>) => MbarInit { space = Space::SharedCta, a, count };
    /// What was initialised before, the cluster and the async proxy see.
    fence_mbarrier_init() => FenceMbarrierInit {};
    /// Arrives.
    mbarrier_arrive(a: Shared) => MbarArrive { order = ArriveOrder::Plain, space = Space::SharedCta, d = Arg::Sink, a };
    /// Expects so many bytes, and arrives.
    mbarrier_arrive_expect_tx(a: Shared, bytes: Src<B32>)
        => MbarArriveExpectTx { order = ArriveOrder::Plain, space = Space::SharedCta, d = Arg::Sink, a, bytes };
    /// Whether the phase of this parity is over; may wait for it a while.
    mbarrier_try_wait(d: Reg<Pred>, a: Shared, parity: Src<B32>)
        => MbarTryWaitParity { order = WaitOrder::Plain, space = Space::SharedCta, d, a, parity };
    /// The address of a parameter within its space.
    mov_param(d: Reg<B64>, a: ParamName) => Mov { ty = Type::B64, d, a };
    /// The generic address of a parameter.
    cvta_param(d: Reg<B64>, a: Reg<B64>) => Cvta { space = Space::Param, d, a };
    /// Brings a tensor map to the cache.
    prefetch_tensormap(a: Global) => TensorPrefetchMap { space = Space::Generic, a };
    /// A box of a two-dimensional tensor, at (column, row), to shared memory; its bytes complete at the
    /// mbarrier.
    tensor_load_2d(d: Shared, map: Reg<B64>, coords: V<B32, 2>, bar: Shared) => TensorLoad {
        dims = Dims::D2, tile = Tile::Plain, space = Space::SharedCluster, multicast = Multicast::No,
        hint = Hint::No, d, map, coords, bar, mask = Arg::Sink, policy = Arg::Sink
    };
    /// The same to all blocks of the cluster that `mask` names, at the same place of each.
    tensor_load_2d_multicast(d: Shared, map: Reg<B64>, coords: V<B32, 2>, bar: Shared, mask: Reg<B16>) => TensorLoad {
        dims = Dims::D2, tile = Tile::Plain, space = Space::SharedCluster, multicast = Multicast::Yes,
        hint = Hint::No, d, map, coords, bar, mask, policy = Arg::Sink
    };
    /// A box from shared memory to a two-dimensional tensor, at (column, row), as one of this thread's
    /// bulk group.
    tensor_store_2d(map: Reg<B64>, coords: V<B32, 2>, a: Shared) => TensorStore {
        dims = Dims::D2, tile = Tile::Plain, hint = Hint::No, map, coords, a, policy = Arg::Sink
    };
    /// Closes the group of the bulk copies that this thread has begun.
    bulk_commit() => BulkCommit {};
    /// Waits until at most `pending` of this thread's bulk groups are being read.
    bulk_wait_read(pending: Imm) => BulkWait { read = Read::Yes, pending };
    /// What this thread did to the block's shared memory, bulk copies and `wgmma` see.
    fence_proxy_async() => FenceProxyAsync { space = Space::SharedCta };
    /// Arrives at the cluster's barrier; earlier accesses are released.
    cluster_arrive() => ClusterArrive { sem = ClusterSem::Plain, aligned = Aligned::No };
    /// Waits at the cluster's barrier.
    cluster_wait() => ClusterWait { acquire = ClusterAcquire::Plain, aligned = Aligned::No };
    /// The address that `a` has in block `b` of the cluster.
    mapa(d: Reg<B32>, a: Reg<B32>, b: Src<B32>) => Mapa { d, a, b };
    /// Arrives at an mbarrier of a block of the cluster.
    mbarrier_arrive_cluster(a: Shared)
        => MbarArrive { order = ArriveOrder::Plain, space = Space::SharedCluster, d = Arg::Sink, a };
    /// As [`mbarrier_try_wait`](Self::mbarrier_try_wait), for arrivals from all blocks of the cluster.
    mbarrier_try_wait_cluster(d: Reg<Pred>, a: Shared, parity: Src<B32>)
        => MbarTryWaitParity { order = WaitOrder::AcquireCluster, space = Space::SharedCta, d, a, parity };
    /// Registers that were touched may be used by `wgmma`.
    wgmma_fence() => WgmmaFence {};
    /// Closes a group of multiplies.
    wgmma_commit() => WgmmaCommit {};
    /// Waits for all but so many groups.
    wgmma_wait(pending: Imm) => WgmmaWait { pending };
    /// Takes registers from the block's pool, or gives some back.
    setmaxnreg(dir: RegDir, count: Imm) => Setmaxnreg { dir, count };
    /// Waits for so many threads of the block.
    bar_sync_count(id: Src<B32>, count: Src<B32>)
        => BarSyncCount { kind = BarKind::Bar, aligned = Aligned::No, id, count };

    /// Goes to the label.
    bra(to: Label) => Bra { uni = Uni::No, to };
    /// Goes to the label; all lanes of the warp agree.
    bra_uni(to: Label) => Bra { uni = Uni::Yes, to };
    /// Ends the thread.
    ret() => Ret {};
}
