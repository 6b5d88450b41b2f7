//! Mbarriers, bulk copies, proxies, clusters.

use crate::{Kernel, kernel};

pub(crate) const KERNELS: &[Kernel] = &[
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
