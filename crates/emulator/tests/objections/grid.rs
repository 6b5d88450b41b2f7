//! Between blocks: what their barriers, fences and strong accesses order.

use crate::{Kernel, kernel};

pub(crate) const KERNELS: &[Kernel] = &[
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
        grid: 3,
        ..kernel(
            "releases for the blocks alone add up to nothing",
            32,
            "of block number",
            "
        mov.u32 %a, %ctaid.x;
        mad.wide.u32 %px, %a, 128, %px;
        st.global.b32 [%px+4096], %t;
        bar.sync 0;
        +@%first fence.acq_rel.gpu;
        -@%first fence.acq_rel.cta;
        @%first atom.global.add.u32 %b, [%y], 1;
        @!%first mov.u32 %b, 0;
        shfl.sync.idx.b32 %b, %b, 0, 31, -1;
        setp.ne.u32 %p, %b, 2;
        @%p bra done;
        fence.acq_rel.gpu;
        bar.sync 0;
        xor.b32 %a, %a, 1;
        and.b32 %a, %a, 1;
        mad.wide.u32 %px, %a, 128, %x;
        mad.wide.u32 %px, %t, 4, %px;
        ld.global.b32 %c, [%px+4096];
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
];
