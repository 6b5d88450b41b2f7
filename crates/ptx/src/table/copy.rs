//! Asynchronous copies (9.7.9.25): by threads, in bulk, and of tensors.

macro_rules! copy {
    ({ $($rows:tt)* } $next:ident $($more:ident)*) => { $next! { { $($rows)*
    /// Copies 4, 8 or 16 bytes to shared memory; `.cg` 16.
    CpAsync { cache: CopyCache, space: Space, prefetch: Prefetch, d: Address = within(space), a: Address = within(&Space::Global), size: Imm }
        => "cp.async.{cache}{space}.global{prefetch} {d}, {a}, {size};";
    /// The same, of which `bytes` are read and the rest are zero.
    CpAsyncFill { cache: CopyCache, space: Space, prefetch: Prefetch, d: Address = within(space), a: Address = within(&Space::Global), size: Imm, bytes: Arg = from(&Type::U32) }
        => "cp.async.{cache}{space}.global{prefetch} {d}, {a}, {size}, {bytes};";
    /// The same; zeros, and nothing read, where the predicate holds.
    CpAsyncIgnore { cache: CopyCache, space: Space, prefetch: Prefetch, d: Address = within(space), a: Address = within(&Space::Global), size: Imm, p: Arg = reg(&Type::Pred) } isa 83
        => "cp.async.{cache}{space}.global{prefetch} {d}, {a}, {size}, {p};";
    /// Closes the group of the copies that this thread has begun.
    CpAsyncCommit {} => "cp.async.commit_group;";
    /// Waits until at most `pending` of this thread's groups are under way.
    CpAsyncWait { pending: Imm } => "cp.async.wait_group {pending};";
    /// Waits for all of this thread's copies.
    CpAsyncWaitAll {} => "cp.async.wait_all;";
    /// The mbarrier gets an arrival once this thread's copies so far are done (9.7.13.15.17).
    CpAsyncMbarrierArrive { noinc: Noinc, space: Space, a: Address = within(space) }
        => "cp.async.mbarrier.arrive{noinc}{space}.b64 {a};";

    /// Copies `size` bytes, a multiple of 16, to shared memory; they count at the mbarrier `bar` of
    /// each block that gets them (9.7.9.25.4.1).
    BulkLoad { space: Space, multicast: Multicast, hint: Hint, d: Address = within(space), a: Address = within(&Space::Global), size: Arg = from(&Type::U32).between(0, MOST_BULK), bar: Address = within(space), mask: Arg = only_if(*multicast == Multicast::Yes, from(&Type::U16).between(0, 0xffff)), policy: Arg = only_if(*hint == Hint::Yes, from(&Type::U64)) } isa 80 sm 90
        => "cp.async.bulk{space}.global.mbarrier::complete_tx::bytes{multicast}{hint} {d}, {a}, {size}, {bar}{multicast?mask}{hint?policy};";
    /// Copies to another block of the cluster; the bytes count at its mbarrier `bar`.
    BulkCopy { d: Address = within(&Space::SharedCluster), a: Address = within(&Space::SharedCta), size: Arg = from(&Type::U32).between(0, MOST_BULK), bar: Address = within(&Space::SharedCluster) } isa 80 sm 90
        => "cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes {d}, {a}, {size}, {bar};";
    /// Copies from shared memory, as one of the thread's bulk group.
    BulkStore { hint: Hint, d: Address = within(&Space::Global), a: Address = within(&Space::SharedCta), size: Arg = from(&Type::U32).between(0, MOST_BULK), policy: Arg = only_if(*hint == Hint::Yes, from(&Type::U64)) } isa 80 sm 90
        => "cp.async.bulk.global.shared::cta.bulk_group{hint} {d}, {a}, {size}{hint?policy};";
    /// Copies the tile at `coords`, innermost first, of the tensor that the map describes
    /// (9.7.9.25.5.2).
    TensorLoad { dims: Dims, tile: Tile, space: Space, multicast: Multicast, hint: Hint, d: Address = within(space), map: Arg = reg(&Type::U64), coords: Arg = values(dims.count(), &Type::S32), bar: Address = within(space), mask: Arg = only_if(*multicast == Multicast::Yes, from(&Type::U16).between(0, 0xffff)), policy: Arg = only_if(*hint == Hint::Yes, from(&Type::U64)) } isa 80 sm 90
        => "cp.async.bulk.tensor.{dims}{space}.global{tile}.mbarrier::complete_tx::bytes{multicast}{hint} {d}, [{map}, {coords}], {bar}{multicast?mask}{hint?policy};";
    /// Copies a tile from shared memory; what lies outside the tensor is left out.
    TensorStore { dims: Dims, tile: Tile, hint: Hint, map: Arg = reg(&Type::U64), coords: Arg = values(dims.count(), &Type::S32), a: Address = within(&Space::SharedCta), policy: Arg = only_if(*hint == Hint::Yes, from(&Type::U64)) } isa 80 sm 90
        => "cp.async.bulk.tensor.{dims}.global.shared::cta{tile}.bulk_group{hint} [{map}, {coords}], {a}{hint?policy};";
    /// Brings the tensor's description near (9.7.9.15).
    TensorPrefetchMap { space: Space, a: Address = within(space) } isa 80 sm 90
        => "prefetch{space}.tensormap {a};";
    /// Closes the group of the bulk copies that this thread has begun.
    BulkCommit {} isa 80 sm 90 => "cp.async.bulk.commit_group;";
    /// Waits until at most `pending` of this thread's bulk groups are under way, or being read.
    BulkWait { read: Read, pending: Imm } isa 80 sm 90 => "cp.async.bulk.wait_group{read} {pending};";
    } $($more)* } };
}
