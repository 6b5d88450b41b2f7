//! What the emulator objects to. Each kernel is right with its lines that begin with `+` (what the
//! manual demands there). Without them, and with those that begin with `-`, it must be refused, under
//! every schedule, in these words.

use quickpick_emulator::{Arg, Global, Launch, Options, Program, Schedule};

struct Kernel {
    name: &'static str,
    threads: u32,
    grid: u32,
    cluster: u32,
    body: &'static str,
    /// What the objection says.
    says: &'static str,
}

const SCHEDULES: [Schedule; 5] = [
    Schedule::Early,
    Schedule::Late,
    Schedule::Random(1),
    Schedule::Random(2),
    Schedule::Random(3),
];

/// The kernel's text, right or not.
fn text(kernel: &Kernel, whole: bool) -> String {
    let chosen = |line: &'static str| match line.as_bytes().first() {
        Some(b'+') => whole.then(|| &line[1..]),
        Some(b'-') => (!whole).then(|| &line[1..]),
        _ => Some(line),
    };
    let lines: Vec<_> = kernel.body.lines().filter_map(|l| chosen(l.trim())).collect();
    let body = lines.join("\n");
    format!(
        ".version 8.5\n.target sm_90a\n.address_size 64\n\
         .visible .entry k(.param .u64 x, .param .u64 y)\n{{\n\
         .shared .align 1024 .b8 smem[16384];\n\
         .shared .align 8 .b8 bars[64];\n\
         .reg .pred %p, %q, %done, %first, %last;\n\
         .reg .b32 %t, %lane, %a, %b, %c, %d, %at, %bar, %mine, %r<8>;\n\
         .reg .b64 %x, %y, %px, %desc, %state;\n.reg .f32 %acc<4>, %f;\n\
         mov.u32 %t, %tid.x;\nmov.u32 %lane, %laneid;\n\
         mov.u32 %at, smem;\nmov.u32 %bar, bars;\n\
         ld.param.u64 %x, [x];\nld.param.u64 %y, [y];\n\
         mad.wide.u32 %px, %t, 4, %x;\nmad.lo.u32 %mine, %t, 4, %at;\n\
         setp.eq.u32 %first, %t, 0;\n\
         {body}\n\
         ret;\n}}\n"
    )
}

fn run(kernel: &Kernel, whole: bool, schedule: Schedule) -> Result<(), String> {
    let text = text(kernel, whole);
    let program = Program::parse(&text).map_err(|e| format!("{e}\n{text}"))?;
    let mut memory = Global::default();
    let input: Vec<u8> = (0..4096u32).flat_map(|i| i.to_le_bytes()).collect();
    let x = memory.put("x", &input, false);
    let y = memory.put("y", &vec![0; 16384], false);
    let launch = Launch {
        cluster: [kernel.cluster, 1, 1],
        ..Launch::new([kernel.grid, 1, 1], kernel.threads, vec![Arg::U64(x), Arg::U64(y)])
    };
    let options = Options { schedule, budget: 600_000, ..Options::default() };
    program.run_with(&launch, &mut memory, &options).map(drop).map_err(|trap| trap.to_string())
}

#[test]
fn each_is_right_as_it_stands_and_refused_without() {
    let mut wrong = Vec::new();
    for kernel in KERNELS {
        for schedule in SCHEDULES {
            if let Err(trap) = run(kernel, true, schedule) {
                wrong.push(format!("{}, {schedule:?}, as it stands: {trap}", kernel.name));
            }
            match run(kernel, false, schedule) {
                Err(trap) if trap.contains(kernel.says) => {}
                Err(trap) => wrong.push(format!("{}, {schedule:?}, without: {trap}", kernel.name)),
                Ok(()) => {
                    wrong.push(format!("{}, {schedule:?}, without: no objection", kernel.name))
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const fn kernel(
    name: &'static str,
    threads: u32,
    says: &'static str,
    body: &'static str,
) -> Kernel {
    Kernel { name, threads, grid: 1, cluster: 1, body, says }
}

const KERNELS: &[Kernel] = &[
    kernel(
        "a register must be written",
        32,
        "lane 0 reads %a, which nothing wrote",
        "
        +mov.u32 %a, 1;
        add.u32 %b, %a, 1;",
    ),
    kernel(
        "a lane must have written it",
        32,
        "lane 1 reads %a, which nothing wrote",
        "
        @%first mov.u32 %a, 1;
        +@!%first mov.u32 %a, 2;
        add.u32 %b, %a, 1;",
    ),
    kernel(
        "shared memory must be written",
        32,
        "reads shared byte 0x0, which nothing wrote",
        "
        +st.shared.b32 [%mine], %t;
        ld.shared.b32 %a, [%mine];",
    ),
    kernel(
        "bounds",
        32,
        "outside every buffer",
        "
        +st.shared.b32 [%mine+8192], %t;
        -st.shared.b32 [%mine+32768], %t;",
    ),
    kernel(
        "alignment",
        32,
        "not aligned",
        "
        -add.u32 %mine, %mine, 2;
        st.shared.b32 [%mine], %t;",
    ),
    kernel(
        "warps meet at a barrier",
        64,
        "shared byte",
        "
        st.shared.b32 [%mine], %t;
        +bar.sync 0;
        xor.b32 %a, %mine, 128;
        ld.shared.b32 %b, [%a];",
    ),
    kernel(
        "a barrier also before what was read is overwritten",
        64,
        "races at shared byte",
        "
        st.shared.b32 [%mine], %t;
        bar.sync 0;
        xor.b32 %a, %mine, 128;
        ld.shared.b32 %b, [%a];
        +bar.sync 0;
        st.shared.b32 [%mine], %b;",
    ),
    kernel(
        "lanes of a warp meet too",
        32,
        "lane",
        "
        st.shared.b32 [%mine], %t;
        +bar.warp.sync -1;
        xor.b32 %a, %mine, 4;
        ld.shared.b32 %b, [%a];",
    ),
    kernel(
        "ldmatrix reads what other lanes wrote",
        32,
        "lane",
        "
        st.shared.b32 [%mine], %t;
        +bar.warp.sync -1;
        shl.b32 %a, %lane, 4;
        and.b32 %a, %a, 112;
        add.u32 %a, %a, %at;
        ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r0}, [%a];",
    ),
    kernel(
        "named barriers count",
        128,
        "shared byte",
        "
        setp.lt.u32 %p, %t, 64;
        @!%p bra other;
        st.shared.b32 [%mine], %t;
        +bar.sync 1, 64;
        xor.b32 %a, %mine, 128;
        ld.shared.b32 %b, [%a];
        other:
        bar.sync 0;",
    ),
    kernel(
        "a barrier's count",
        96,
        "(64 of 96 threads came (warps",
        "
        setp.lt.u32 %p, %t, 64;
        @!%p bra done;
        +bar.sync 1, 64;
        -bar.sync 1, 96;
        done:",
    ),
    kernel(
        "counts agree",
        96,
        "comes to barrier 1 for",
        "
        setp.lt.u32 %p, %t, 32;
        @%p bra second;
        bar.sync 1, 96;
        bra done;
        second:
        +bar.sync 1, 96;
        -bar.sync 1, 64;
        done:",
    ),
    kernel(
        "all lanes at an aligned instruction",
        32,
        "needs all lanes together",
        "
        -@%first bra done;
        bar.sync 0;
        -done:",
    ),
    kernel(
        "a copy is waited for",
        32,
        "may still write it",
        "
        cp.async.ca.shared.global [%mine], [%px], 4;
        cp.async.commit_group;
        +cp.async.wait_group 0;
        ld.shared.b32 %a, [%mine];",
    ),
    kernel(
        "a copy is in a group",
        32,
        "may still write it",
        "
        cp.async.ca.shared.global [%mine], [%px], 4;
        +cp.async.commit_group;
        cp.async.wait_group 0;
        ld.shared.b32 %a, [%mine];",
    ),
    kernel(
        "a thread's wait is its own",
        64,
        "shared byte",
        "
        cp.async.ca.shared.global [%mine], [%px], 4;
        cp.async.wait_all;
        +bar.sync 0;
        xor.b32 %a, %mine, 128;
        ld.shared.b32 %b, [%a];",
    ),
    kernel(
        "a copy's source stays as it is",
        32,
        "may still read it",
        "
        cp.async.ca.shared.global [%mine], [%px], 4;
        +cp.async.wait_all;
        st.global.b32 [%px], %t;",
    ),
    kernel(
        "votes name who is there",
        32,
        "needs all lanes together",
        "
        setp.lt.u32 %p, %t, 16;
        mov.u32 %a, -1;
        +mov.u32 %a, 0xffff;
        @%p vote.sync.ballot.b32 %b, %p, %a;",
    ),
    // order between blocks
    Kernel {
        grid: 2,
        ..kernel(
            "blocks write apart",
            32,
            "of block number",
            "
        mov.u32 %a, %ctaid.x;
        +mad.wide.u32 %px, %a, 128, %px;
        st.global.b32 [%px], %t;",
        )
    },
    Kernel {
        grid: 2,
        ..kernel(
            "the last block sees what the first wrote",
            32,
            "of block number",
            "
        mov.u32 %a, %ctaid.x;
        mad.wide.u32 %px, %a, 128, %px;
        st.global.b32 [%px+4096], %t;
        bar.sync 0;
        +@%first fence.acq_rel.gpu;
        @%first atom.global.add.u32 %b, [%y], 1;
        @!%first mov.u32 %b, 0;
        shfl.sync.idx.b32 %b, %b, 0, 31, -1;
        setp.ne.u32 %p, %b, 1;
        @%p bra done;
        fence.acq_rel.gpu;
        bar.sync 0;
        xor.b32 %a, %a, 1;
        mad.wide.u32 %px, %a, 128, %x;
        mad.wide.u32 %px, %t, 4, %px;
        ld.global.b32 %c, [%px+4096];
        done:",
        )
    },
    Kernel {
        grid: 2,
        ..kernel(
            "acquire as well as release",
            32,
            "of block number",
            "
        mov.u32 %a, %ctaid.x;
        mad.wide.u32 %px, %a, 128, %px;
        st.global.b32 [%px+4096], %t;
        bar.sync 0;
        @%first fence.acq_rel.gpu;
        @%first atom.global.add.u32 %b, [%y], 1;
        +@%first fence.acq_rel.gpu;
        @!%first mov.u32 %b, 0;
        shfl.sync.idx.b32 %b, %b, 0, 31, -1;
        setp.ne.u32 %p, %b, 1;
        @%p bra done;
        bar.sync 0;
        xor.b32 %a, %a, 1;
        mad.wide.u32 %px, %a, 128, %x;
        mad.wide.u32 %px, %t, 4, %px;
        ld.global.b32 %c, [%px+4096];
        done:",
        )
    },
    Kernel {
        grid: 2,
        ..kernel(
            "a barrier carries to the thread that releases",
            64,
            "of block number",
            "
        mov.u32 %a, %ctaid.x;
        mad.wide.u32 %px, %a, 256, %px;
        st.global.b32 [%px+4096], %t;
        +bar.sync 0;
        @!%first bra done;
        atom.acq_rel.gpu.global.add.u32 %b, [%y], 1;
        setp.ne.u32 %p, %b, 1;
        @%p bra done;
        xor.b32 %a, %a, 1;
        mad.wide.u32 %px, %a, 256, %x;
        ld.global.b32 %c, [%px+4224];
        done:",
        )
    },
    Kernel {
        grid: 2,
        ..kernel(
            "a block waits for another's flag",
            32,
            "of block number",
            "
        mov.u32 %a, %ctaid.x;
        setp.eq.u32 %q, %a, 0;
        @%q bra spin;
        st.global.b32 [%px+4096], %t;
        bar.warp.sync -1;
        mov.u32 %b, 1;
        @%first st.release.gpu.global.u32 [%y], %b;
        bra done;
        spin:
        ld.relaxed.gpu.global.u32 %b, [%y];
        setp.eq.u32 %p, %b, 0;
        @%p bra spin;
        +fence.acq_rel.gpu;
        ld.global.b32 %c, [%px+4096];
        done:",
        )
    },
    // mbarriers and bulk copies
    kernel(
        "an mbarrier is initialised before it is used",
        64,
        "mbarrier",
        "
        @%first mbarrier.init.shared::cta.b64 [%bar], 2;
        +bar.sync 0;
        setp.eq.u32 %p, %lane, 0;
        @%p mbarrier.arrive.shared::cta.b64 %state, [%bar];",
    ),
    kernel(
        "an arrival releases, a wait acquires",
        64,
        "shared byte",
        "
        @%first mbarrier.init.shared::cta.b64 [%bar], 32;
        bar.sync 0;
        setp.lt.u32 %p, %t, 32;
        @!%p bra wait;
        st.shared.b32 [%mine], %t;
        mbarrier.arrive.shared::cta.b64 %state, [%bar];
        bra done;
        wait:
        +mbarrier.try_wait.parity.shared::cta.b64 %done, [%bar], 0;
        +@!%done bra wait;
        xor.b32 %a, %mine, 128;
        ld.shared.b32 %b, [%a];
        done:",
    ),
    kernel(
        "too few arrive",
        64,
        "waits for parity 0 of mbarrier",
        "
        @%first mbarrier.init.shared::cta.b64 [%bar], 64;
        bar.sync 0;
        setp.lt.u32 %p, %t, 63;
        +setp.lt.u32 %p, %t, 64;
        @%p mbarrier.arrive.shared::cta.b64 %state, [%bar];
        wait:
        mbarrier.try_wait.parity.shared::cta.b64 %done, [%bar], 0;
        @!%done bra wait;",
    ),
    kernel(
        "bytes of a bulk copy are expected",
        32,
        "",
        "
        @%first mbarrier.init.shared::cta.b64 [%bar], 1;
        fence.mbarrier_init.release.cluster;
        bar.sync 0;
        @!%first bra wait;
        +mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%bar], 128;
        mbarrier.arrive.shared::cta.b64 %state, [%bar];
        cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%at], [%x], 128, [%bar];
        wait:
        mbarrier.try_wait.parity.shared::cta.b64 %done, [%bar], 0;
        @!%done bra wait;
        ld.shared.b32 %b, [%mine];",
    ),
    kernel(
        "a bulk copy is waited for",
        32,
        "shared byte",
        "
        @%first mbarrier.init.shared::cta.b64 [%bar], 1;
        fence.mbarrier_init.release.cluster;
        bar.sync 0;
        @!%first bra wait;
        mbarrier.arrive.expect_tx.shared::cta.b64 %state, [%bar], 128;
        cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%at], [%x], 128, [%bar];
        wait:
        +mbarrier.try_wait.parity.shared::cta.b64 %done, [%bar], 0;
        +@!%done bra wait;
        ld.shared.b32 %b, [%mine];",
    ),
    kernel(
        "the parity is the phase's",
        32,
        "",
        "
        @%first mbarrier.init.shared::cta.b64 [%bar], 1;
        fence.mbarrier_init.release.cluster;
        bar.sync 0;
        @!%first bra wait;
        mbarrier.arrive.expect_tx.shared::cta.b64 %state, [%bar], 128;
        cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%at], [%x], 128, [%bar];
        wait:
        -mbarrier.test_wait.parity.shared::cta.b64 %done, [%bar], 1;
        +mbarrier.test_wait.parity.shared::cta.b64 %done, [%bar], 0;
        @!%done bra wait;
        ld.shared.b32 %b, [%mine];",
    ),
    kernel(
        "the async proxy sees an mbarrier's initialisation",
        32,
        "no fence.proxy.async",
        "
        @%first mbarrier.init.shared::cta.b64 [%bar], 1;
        +fence.mbarrier_init.release.cluster;
        bar.sync 0;
        @!%first bra wait;
        mbarrier.arrive.expect_tx.shared::cta.b64 %state, [%bar], 128;
        cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%at], [%x], 128, [%bar];
        wait:
        mbarrier.try_wait.parity.shared::cta.b64 %done, [%bar], 0;
        @!%done bra wait;",
    ),
    kernel(
        "what a bulk copy stores is shown to the async proxy",
        32,
        "no fence.proxy.async",
        "
        st.shared.b32 [%mine], %t;
        +fence.proxy.async.shared::cta;
        bar.sync 0;
        @!%first bra done;
        cp.async.bulk.global.shared::cta.bulk_group [%y], [%at], 128;
        cp.async.bulk.commit_group;
        cp.async.bulk.wait_group 0;
        done:",
    ),
    kernel(
        "a bulk store is read before its source changes",
        32,
        "may still read it",
        "
        st.shared.b32 [%mine], %t;
        fence.proxy.async.shared::cta;
        bar.sync 0;
        @!%first bra done;
        cp.async.bulk.global.shared::cta.bulk_group [%y], [%at], 128;
        cp.async.bulk.commit_group;
        +cp.async.bulk.wait_group.read 0;
        st.shared.b32 [%at], %t;
        cp.async.bulk.wait_group 0;
        done:",
    ),
    kernel(
        "a block waits for its bulk stores",
        32,
        "exits while",
        "
        st.shared.b32 [%mine], %t;
        fence.proxy.async.shared::cta;
        bar.sync 0;
        @!%first bra done;
        cp.async.bulk.global.shared::cta.bulk_group [%y], [%at], 128;
        cp.async.bulk.commit_group;
        +cp.async.bulk.wait_group.read 0;
        done:",
    ),
    kernel(
        "a bulk store is committed",
        32,
        "exits while",
        "
        st.shared.b32 [%mine], %t;
        fence.proxy.async.shared::cta;
        bar.sync 0;
        @!%first bra done;
        cp.async.bulk.global.shared::cta.bulk_group [%y], [%at], 128;
        +cp.async.bulk.commit_group;
        cp.async.bulk.wait_group.read 0;
        done:",
    ),
    kernel(
        "a proxy fence is of its memory",
        32,
        "no fence.proxy.async",
        "
        st.shared.b32 [%mine], %t;
        +fence.proxy.async;
        -fence.proxy.async.global;
        bar.sync 0;
        @!%first bra done;
        cp.async.bulk.global.shared::cta.bulk_group [%y], [%at], 128;
        cp.async.bulk.commit_group;
        cp.async.bulk.wait_group 0;
        done:",
    ),
    // clusters
    Kernel {
        grid: 2,
        cluster: 2,
        ..kernel(
            "a cluster meets",
            32,
            "races at shared byte",
            "
        st.shared.b32 [%mine], %t;
        +barrier.cluster.arrive.aligned;
        +barrier.cluster.wait.aligned;
        mov.u32 %a, %cluster_ctarank;
        xor.b32 %a, %a, 1;
        mapa.shared::cluster.u32 %b, %mine, %a;
        mov.u32 %c, 0;
        st.shared::cluster.b32 [%b], %c;
        barrier.cluster.arrive.aligned;
        barrier.cluster.wait.aligned;",
        )
    },
    Kernel {
        grid: 2,
        cluster: 2,
        ..kernel(
            "a block stays while others touch it",
            32,
            "block",
            "
        st.shared.b32 [%mine], %t;
        barrier.cluster.arrive.aligned;
        barrier.cluster.wait.aligned;
        mapa.shared::cluster.u32 %b, %mine, 0;
        ld.shared::cluster.b32 %c, [%b];
        +barrier.cluster.arrive.aligned;
        +barrier.cluster.wait.aligned;",
        )
    },
];
