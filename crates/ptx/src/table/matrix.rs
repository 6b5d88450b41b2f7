//! The tensor units: a warp's products (9.7.14.5, 9.7.14.6) and a warpgroup's (9.7.15).

macro_rules! matrix {
    ({ $($rows:tt)* } $next:ident $($more:ident)*) => { $next! { { $($rows)*
    /// D[16×8] = A[16×K] · B[K×8] + C (9.7.14.5.14).
    Mma { shape: MmaShape, sat: Satfinite, dty: Type = among(&[ACCUMULATED]), aty: Type = mma_a(shape.k(), false, dty), bty: Type = partner(aty), cty: Type = among(&[&[*dty]]), d: Arg = accumulators(4, dty), a: Arg = regs(shape.a_registers(*aty), &Type::U32), b: Arg = regs(shape.b_registers(*bty), &Type::U32), c: Arg = accumulators(4, cty) }
        => "mma.sync.aligned.{shape}.row.col{sat}.{dty}.{aty}.{bty}.{cty} {d}, {a}, {b}, {c};";
    /// D[16×8] = A[16×K, half of it kept] · B[K×8] + C. `selector` names the lanes of each four
    /// whose metadata counts (9.7.14.6.3).
    MmaSp { ordered: Ordered, shape: MmaShape, sat: Satfinite, dty: Type = among(&[ACCUMULATED]), aty: Type = mma_a(shape.k(), true, dty), bty: Type = partner(aty), cty: Type = among(&[&[*dty]]), d: Arg = accumulators(4, dty), a: Arg = regs(shape.a_registers(*aty) / 2, &Type::U32), b: Arg = regs(shape.b_registers(*bty), &Type::U32), c: Arg = accumulators(4, cty), meta: Arg = reg(&Type::U32), selector: Imm = selectors(shape.k(), aty) } isa 71
        => "mma.sp{ordered}.sync.aligned.{shape}.row.col{sat}.{dty}.{aty}.{bty}.{cty} {d}, {a}, {b}, {c}, {meta}, {selector};";
    /// D[64×N] = A[64×K] · B[K×N] + D, or without D where `scale` is false; B, and A unless in
    /// registers, by descriptor. `imms`: ±1 for A and B, and for 16-bit types whether A (if by
    /// descriptor) and B are transposed (9.7.15.5.2).
    Wgmma { shape: WgmmaShape, sat: Satfinite, dty: Type = among(&[ACCUMULATED]), aty: Type = wgmma_a(shape.k, false, dty), bty: Type = partner(aty), d: Arg = accumulators(shape.n as usize / 2, dty), a: Arg = registers_or_descriptor(), b: Arg = reg(&Type::U64), scale: Arg = from(&Type::Pred).or_constant().between(0, 1), imms: Imms = signs_and_flips(aty, matches!(a, Arg::Vector(_))) } isa 80 sm 90 exact a
        => "wgmma.mma_async.sync.aligned.{shape}{sat}.{dty}.{aty}.{bty} {d}, {a}, {b}, {scale}{imms};";
    /// The same with half of A kept (9.7.15.6.4).
    WgmmaSp { shape: WgmmaShape, sat: Satfinite, dty: Type = among(&[ACCUMULATED]), aty: Type = wgmma_a(shape.k, true, dty), bty: Type = partner(aty), d: Arg = accumulators(shape.n as usize / 2, dty), a: Arg = registers_or_descriptor(), b: Arg = reg(&Type::U64), meta: Arg = reg(&Type::U32), selector: Imm = selectors(shape.k as usize, aty), scale: Arg = from(&Type::Pred).or_constant().between(0, 1), imms: Imms = signs_and_flips(aty, matches!(a, Arg::Vector(_))) } isa 82 sm 90 exact a
        => "wgmma.mma_async.sp.sync.aligned.{shape}{sat}.{dty}.{aty}.{bty} {d}, {a}, {b}, {meta}, {selector}, {scale}{imms};";
    /// Orders the warpgroup's register accesses before its next products (9.7.15.7.1).
    WgmmaFence {} isa 80 sm 90 exact a => "wgmma.fence.sync.aligned;";
    /// Closes the group of the products that the warpgroup has begun (9.7.15.7.2).
    WgmmaCommit {} isa 80 sm 90 exact a => "wgmma.commit_group.sync.aligned;";
    /// Waits until at most `pending` groups of products are under way (9.7.15.7.3).
    WgmmaWait { pending: Imm } isa 80 sm 90 exact a => "wgmma.wait_group.sync.aligned {pending};";
    /// Registers of a thread from here on (9.7.19.5).
    Setmaxnreg { dir: RegDir, count: Imm } isa 80 sm 90 exact a => "setmaxnreg.{dir}.sync.aligned.u32 {count};";
    } $($more)* } };
}
