//! Within a block: poison, bounds, barriers, `cp.async`, votes.

use crate::{Kernel, kernel};

pub(crate) const KERNELS: &[Kernel] = &[
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
];
