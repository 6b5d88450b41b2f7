//! Barriers, mbarriers, fences and atomic operations (9.7.13), and control flow (9.7.12).

macro_rules! order {
    ({ $($rows:tt)* } $next:ident $($more:ident)*) => { $next! { { $($rows)*
    /// All threads of the block arrive and wait; their accesses are ordered (9.7.13.1).
    BarSync { kind: BarKind, aligned: Aligned, id: Arg = from(&Type::U32).between(0, 15) } => "bar{kind}.sync{aligned} {id};";
    /// So many threads of the block arrive and wait; their accesses are ordered.
    BarSyncCount { kind: BarKind, aligned: Aligned, id: Arg = from(&Type::U32).between(0, 15), count: Arg = from(&Type::U32) }
        => "bar{kind}.sync{aligned} {id}, {count};";
    /// Arrives for so many threads, and does not wait.
    BarArrive { kind: BarKind, aligned: Aligned, id: Arg = from(&Type::U32).between(0, 15), count: Arg = from(&Type::U32) }
        => "bar{kind}.arrive{aligned} {id}, {count};";
    /// All lanes that `mask` names arrive; their accesses are ordered (9.7.13.2).
    BarWarpSync { mask: Arg = from(&Type::U32) } => "bar.warp.sync {mask};";
    /// Arrives at the cluster's barrier (9.7.13.3).
    ClusterArrive { sem: ClusterSem, aligned: Aligned } isa 78 sm 90 => "barrier.cluster.arrive{sem}{aligned};";
    /// Waits for all threads of the cluster.
    ClusterWait { acquire: ClusterAcquire, aligned: Aligned } isa 78 sm 90 => "barrier.cluster.wait{acquire}{aligned};";
    /// Orders this thread's accesses (9.7.13.4).
    Fence { sem: FenceSem, scope: FenceScope } => "fence.{sem}.{scope};";
    /// The older spelling of `fence.sc`.
    Membar { level: MembarLevel } => "membar.{level};";
    /// Makes the initialisation of mbarriers visible to the cluster.
    FenceMbarrierInit {} isa 80 sm 90 => "fence.mbarrier_init.release.cluster;";
    /// Orders accesses by instructions with those by the asynchronous proxy.
    FenceProxyAsync { space: Space } isa 80 sm 90 => "fence.proxy.async{space};";

    /// Makes an mbarrier for so many arrivals in each phase (9.7.13.15.9).
    MbarInit { space: Space, a: Address = within(space), count: Arg = from(&Type::U32).between(1, MOST_ARRIVALS) }
        => "mbarrier.init{space}.b64 {a}, {count};";
    /// The memory is used otherwise from here on.
    MbarInval { space: Space, a: Address = within(space) } => "mbarrier.inval{space}.b64 {a};";
    /// Arrives; d gets the state of the phase. At another block's barrier d is `_`.
    MbarArrive { order: ArriveOrder, space: Space, d: Arg = reg(&Type::U64).or_sink(), a: Address = within(space) }
        => "mbarrier.arrive{order}{space}.b64 {d}, {a};";
    /// Arrives so many times.
    MbarArriveCount { order: ArriveOrder, space: Space, d: Arg = reg(&Type::U64).or_sink(), a: Address = within(space), count: Arg = from(&Type::U32).between(1, MOST_ARRIVALS) } isa 78 sm 90
        => "mbarrier.arrive{order}{space}.b64 {d}, {a}, {count};";
    /// The phase waits for so many bytes more.
    MbarExpectTx { order: ExpectOrder, space: Space, a: Address = within(space), bytes: Arg = from(&Type::U32) } isa 80 sm 90
        => "mbarrier.expect_tx{order}{space}.b64 {a}, {bytes};";
    /// The phase waits for so many bytes more; then arrives.
    MbarArriveExpectTx { order: ArriveOrder, space: Space, d: Arg = reg(&Type::U64).or_sink(), a: Address = within(space), bytes: Arg = from(&Type::U32) } isa 80 sm 90
        => "mbarrier.arrive.expect_tx{order}{space}.b64 {d}, {a}, {bytes};";
    /// Whether the phase of this parity is over; may wait a while for it.
    MbarTryWaitParity { order: WaitOrder, space: Space, d: Arg = reg(&Type::Pred), a: Address = within(space), parity: Arg = from(&Type::U32).between(0, 1) } isa 78 sm 90
        => "mbarrier.try_wait.parity{order}{space}.b64 {d}, {a}, {parity};";
    /// The same; `hint` says how many nanoseconds it may wait.
    MbarTryWaitParityHint { order: WaitOrder, space: Space, d: Arg = reg(&Type::Pred), a: Address = within(space), parity: Arg = from(&Type::U32).between(0, 1), hint: Arg = from(&Type::U32) } isa 78 sm 90
        => "mbarrier.try_wait.parity{order}{space}.b64 {d}, {a}, {parity}, {hint};";
    /// Whether the phase of this parity is over.
    MbarTestWaitParity { order: WaitOrder, space: Space, d: Arg = reg(&Type::Pred), a: Address = within(space), parity: Arg = from(&Type::U32).between(0, 1) } isa 71
        => "mbarrier.test_wait.parity{order}{space}.b64 {d}, {a}, {parity};";
    /// Whether the phase of this state is over; may wait a while for it.
    MbarTryWait { order: WaitOrder, space: Space, d: Arg = reg(&Type::Pred), a: Address = within(space), state: Arg = reg(&Type::U64) } isa 78 sm 90
        => "mbarrier.try_wait{order}{space}.b64 {d}, {a}, {state};";
    /// Whether the phase of this state is over.
    MbarTestWait { order: WaitOrder, space: Space, d: Arg = reg(&Type::Pred), a: Address = within(space), state: Arg = reg(&Type::U64) }
        => "mbarrier.test_wait{order}{space}.b64 {d}, {a}, {state};";

    /// d = *a; *a = op(*a, b), as one (9.7.13.5).
    Atom { order: AtomOrder, scope: AtomScope, space: Space, op: AtomOp, ty: Type = among(&[ATOMIC]), d: Arg = reg(ty).or_sink(), a: Address = within(space), b: Arg = from(ty) }
        => "atom{order}{scope}{space}.{op}.{ty} {d}, {a}, {b};";
    /// d = *a; if d = b, *a = c, as one.
    AtomCas { order: AtomOrder, scope: AtomScope, space: Space, ty: Type = among(&[BITS]), d: Arg = reg(ty).or_sink(), a: Address = within(space), b: Arg = from(ty), c: Arg = from(ty) }
        => "atom{order}{scope}{space}.cas.{ty} {d}, {a}, {b}, {c};";
    /// *a = op(*a, b), as one (9.7.13.7).
    Red { order: AtomOrder, scope: AtomScope, space: Space, op: AtomOp, ty: Type = among(&[ATOMIC]), a: Address = within(space), b: Arg = from(ty) }
        => "red{order}{scope}{space}.{op}.{ty} {a}, {b};";

    /// Goes to the label (9.7.12.3).
    Bra { uni: Uni, to: Label } => "bra{uni} {to};";
    /// Ends the thread: a kernel has no caller (9.7.12.6).
    Ret {} => "ret;";
    /// Ends the thread (9.7.12.7).
    Exit {} => "exit;";
    /// Ends the launch with an error (9.7.19.4).
    Trap {} => "trap;";
    /// Sleeps for about so many nanoseconds (9.7.19.1).
    Nanosleep { a: Arg = from(&Type::U32) } => "nanosleep.u32 {a};";
    /// A word to the assembler that changes no result (11.4.12).
    Pragma { text: Quoted } => ".pragma {text};";
    } $($more)* } };
}
