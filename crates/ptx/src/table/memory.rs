//! Moves, loads, stores and addresses (9.7.9), and what lanes tell each other (9.7.9 and 9.7.13).

macro_rules! memory {
    ({ $($rows:tt)* } $next:ident $($more:ident)*) => { $next! { { $($rows)*
    /// d = a. Of a vector: packs, or takes apart, the first element lowest (9.7.9.1, 9.7.9.2).
    Mov { ty: Type = among(&[PRED, BITS, INTEGERS, FLOATS]), d: Arg = reg(ty).or_parts(), a: Arg = from(ty).or_constant().or_parts().or_special() }
        => "mov.{ty} {d}, {a};";
    /// Any four bytes of {b, a}: nibble i of `c` names byte i of the result (9.7.9.7).
    Prmt { mode: PrmtMode, d: Arg = reg(&Type::B32), a: Arg = from(&Type::B32), b: Arg = from(&Type::B32), c: Arg = from(&Type::B32) }
        => "prmt.b32{mode} {d}, {a}, {b}, {c};";
    /// Reads a lane's register, and tells in p whether that lane is within range:
    /// `c` = clamp | segment mask << 8; `mask` names the lanes that take part (9.7.9.6).
    Shfl { mode: Shuffle, d: Arg = reg(&Type::B32), p: Arg = reg(&Type::Pred).or_sink(), a: Arg = from(&Type::B32), b: Arg = from(&Type::U32), c: Arg = from(&Type::U32), mask: Arg = from(&Type::U32) }
        => "shfl.sync.{mode}.b32 {d}{|p}, {a}, {b}, {c}, {mask};";
    /// d = p ? a : b (9.7.7.3)
    Selp { ty: Type = among(&[BITS, INTEGERS, FLOATS]), d: Arg = reg(ty), a: Arg = from(ty), b: Arg = from(ty), p: Arg = reg(&Type::Pred) }
        => "selp.{ty} {d}, {a}, {b}, {p};";
    /// Asks the lanes of the mask about a predicate (9.7.13.9).
    Vote { mode: VoteMode, d: Arg = reg(voted(mode)), a: Arg = reg(&Type::Pred).or_not().or_constant(), mask: Arg = from(&Type::U32) }
        => "vote.sync.{mode} {d}, {a}, {mask};";
    /// The lanes that execute this (9.7.13.11).
    Activemask { d: Arg = reg(&Type::B32) } => "activemask.b32 {d};";
    /// Names one lane of the mask in d, and tells each lane in p whether it is that one (9.7.13.14).
    Elect { d: Arg = reg(&Type::U32).or_sink(), p: Arg = reg(&Type::Pred), mask: Arg = from(&Type::U32) } isa 80 sm 90
        => "elect.sync {d}|{p}, {mask};";
    /// d = op of a over the lanes of the mask (9.7.13.12).
    Redux { op: ReduxOp, ty: Type = among(&[REDUCED]), d: Arg = reg(&Type::U32), a: Arg = reg(&Type::U32), mask: Arg = from(&Type::U32) }
        => "redux.sync.{op}.{ty} {d}, {a}, {mask};";

    /// d = *a; signed types widen by sign, others by zeros (9.7.9.8, 9.7.9.9).
    Ld { order: LoadOrder, space: Space, cache: Cache, vec: Width, ty: Type = among(&[MEMORY]), d: Arg = loaded(vec, ty), a: Address = within(space) }
        => "ld{order}{space}{cache}{vec}.{ty} {d}, {a};" or "ld{space}{order}{cache}{vec}.{ty} {d}, {a};";
    /// *a = b (9.7.9.11)
    St { order: StoreOrder, space: Space, cache: StoreCache, vec: Width, ty: Type = among(&[MEMORY]), a: Address = within(space), b: Arg = stored(vec, ty) }
        => "st{order}{space}{cache}{vec}.{ty} {a}, {b};" or "st{space}{order}{cache}{vec}.{ty} {a}, {b};";
    /// Reads 8×8 matrices of 16-bit elements by rows: lane l gets elements 2·(l mod 4) and the next
    /// of row ⌊l/4⌋ of each (9.7.14.5.15).
    Ldmatrix { num: Num, trans: Trans, space: Space, d: Arg = regs(num.count(), &Type::U32), a: Address = within(space) }
        => "ldmatrix.sync.aligned.m8n8.{num}{trans}{space}.b16 {d}, {a};" or "ldmatrix.sync.aligned.{num}{trans}.m8n8{space}.b16 {d}, {a};";
    /// The inverse of [`Inst::Ldmatrix`] (9.7.14.5.16).
    Stmatrix { num: Num, trans: Trans, space: Space, a: Address = within(space), b: Arg = regs(num.count(), &Type::U32) } isa 78 sm 90
        => "stmatrix.sync.aligned.m8n8.{num}{trans}{space}.b16 {a}, {b};" or "stmatrix.sync.aligned.{num}{trans}.m8n8{space}.b16 {a}, {b};";
    /// Transposes an 8×8 matrix of 16-bit elements within the warp (9.7.14.5.17).
    Movmatrix { d: Arg = reg(&Type::B32), a: Arg = reg(&Type::B32) } isa 78
        => "movmatrix.sync.aligned.m8n8.trans.b16 {d}, {a};";
    /// A generic address to one within the space (9.7.9.20).
    CvtaTo { space: Space, d: Arg = reg(&Type::U64), a: Arg = reg(&Type::U64) }
        => "cvta.to{space}.u64 {d}, {a};";
    /// An address within the space to a generic one (9.7.9.20).
    Cvta { space: Space, d: Arg = reg(&Type::U64), a: Arg = address_in(space) }
        => "cvta{space}.u64 {d}, {a};";
    /// The address that `a` of this block's shared memory has in the cluster's block b (9.7.9.23).
    Mapa { d: Arg = reg(&Type::U32), a: Arg = reg(&Type::U32).or_symbol(), b: Arg = from(&Type::U32) } isa 78 sm 90
        => "mapa.shared::cluster.u32 {d}, {a}, {b};";
    } $($more)* } };
}
