//! The generator on a kernel that nobody runs, with every instruction of Hopper that keeps order.

use super::generate::{Kind::*, mutants};
use quickpick_ptx::parse;

const HOPPER: &str = "\
.version 8.5
.target sm_90a
.address_size 64

.extern .shared .align 128 .b8 smem[];

.visible .entry everything(
    .param .u64 map,
    .param .u64 y
)
.reqntid 256
{
    .reg .pred %done, %first;
    .reg .b32 %bar, %bytes, %parity, %count, %value;
    .reg .b64 %y, %state, %generic;
    mov.u32 %bar, smem;
    mov.u32 %bytes, 4096;
    mov.u32 %count, 128;
    mov.u32 %parity, 0;
    ld.param.u64 %y, [y];
    setp.eq.u32 %first, %bytes, 0;
    @%first mbarrier.init.shared.b64 [%bar], 2;
    fence.mbarrier_init.release.cluster;
    barrier.cluster.arrive.release.aligned;
    barrier.cluster.wait.acquire.aligned;
    mbarrier.arrive.expect_tx.shared.b64 _, [%bar], %bytes;
    mbarrier.expect_tx.relaxed.cta.shared.b64 [%bar], 8192;
    mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%bar];
    cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%bar], [%generic, {%parity, %parity}], [%bar];
wait:
    mbarrier.try_wait.parity.shared.b64 %done, [%bar], %parity;
    @!%done bra wait;
    @%first bra wait;
    fence.proxy.async.shared::cta;
    wgmma.fence.sync.aligned;
    wgmma.commit_group.sync.aligned;
    wgmma.wait_group.sync.aligned 1;
    cp.async.bulk.commit_group;
    cp.async.bulk.wait_group.read 0;
    cp.async.bulk.wait_group 0;
    bar.sync 1, %count;
    bar.arrive 2, 256;
    fence.acq_rel.gpu;
    atom.acq_rel.gpu.global.add.u32 %value, [%y], 1;
    ld.acquire.gpu.global.b32 %value, [%y];
    st.release.gpu.global.b32 [%y], %value;
    ret;
}
";

/// Each mutation, by the line's text.
#[test]
fn hopper_has_all_its_mutants() {
    let module = parse(HOPPER).expect("the kernel above is PTX");
    let of = |text: &str| -> Vec<_> {
        let lines = &module.kernel.lines;
        let stands = |line: usize| {
            lines[line]
                .to_string()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
                .starts_with(text)
        };
        mutants(&module.kernel).into_iter().filter(|m| stands(m.line)).map(|m| m.kind).collect()
    };
    let cases = [
        ("@%first mbarrier.init", vec![Unguarded, Negated, Deleted, FewerThreads, MoreThreads]),
        ("fence.mbarrier_init", vec![Deleted]),
        ("barrier.cluster.arrive", vec![Deleted, Relaxed]),
        ("barrier.cluster.wait", vec![Deleted]),
        ("mbarrier.arrive.expect_tx", vec![Deleted, FewerBytes, MoreBytes, Relaxed]),
        ("mbarrier.expect_tx", vec![Deleted, FewerBytes, MoreBytes]),
        ("mbarrier.arrive.release", vec![Deleted, Relaxed]),
        ("mbarrier.try_wait", vec![Deleted, OtherParity, Relaxed]),
        ("@!%done bra", vec![Unguarded, Negated, FallsThrough]),
        ("@%first bra", vec![Unguarded, Negated]),
        ("fence.proxy.async", vec![Deleted]),
        ("wgmma.fence", vec![Deleted]),
        ("wgmma.commit_group", vec![Deleted]),
        ("wgmma.wait_group", vec![Deleted, OneMorePending]),
        ("cp.async.bulk.commit_group", vec![Deleted]),
        ("cp.async.bulk.wait_group.read", vec![Deleted, OneMorePending]),
        ("cp.async.bulk.wait_group 0", vec![Deleted, OneMorePending, ReadsOnly]),
        ("bar.sync 1", vec![Deleted, FewerThreads, MoreThreads]),
        ("bar.arrive 2", vec![Deleted, FewerThreads, MoreThreads]),
        ("fence.acq_rel", vec![Deleted, BlockScope]),
        ("atom.acq_rel", vec![AcquireOnly, ReleaseOnly, Relaxed, BlockScope]),
        ("ld.acquire", vec![Relaxed]),
        ("st.release", vec![Relaxed]),
    ];
    let mut all = 0;
    for (text, kinds) in cases {
        assert_eq!(of(text), kinds, "{text}");
        all += kinds.len();
    }
    assert_eq!(mutants(&module.kernel).len(), all, "and nothing else has any");
}

/// A mutant is a kernel like any other: its text is read back, and differs from the kernel's.
#[test]
fn mutants_are_ptx() {
    let module = parse(HOPPER).expect("the kernel above is PTX");
    for mutant in mutants(&module.kernel) {
        let mutated = mutant.apply(&module);
        assert_ne!(mutated, module, "{mutant:?}");
        let again = parse(&mutated.to_string()).map(|m| m.to_string());
        assert_eq!(again.as_deref(), Ok(&*mutated.to_string()), "{mutant:?}");
    }
}

/// A count in a register is changed by an instruction before, under the same guard.
#[test]
fn operands_in_registers_are_computed() {
    let module = parse(HOPPER).expect("the kernel above is PTX");
    let text_of = |start: &str, kind| {
        let found = mutants(&module.kernel).into_iter().find(|m| {
            m.kind == kind && module.kernel.lines[m.line].to_string().trim().starts_with(start)
        });
        found.map(|m| m.apply(&module).to_string()).unwrap_or_default()
    };
    let fewer = text_of("bar.sync", FewerThreads);
    assert!(fewer.contains("%mutant, %count, 0xffffffe0;"), "{fewer}");
    assert!(fewer.contains("1, %mutant;"), "{fewer}");
    let flipped = text_of("mbarrier.try_wait", OtherParity);
    assert!(flipped.contains("%mutant, %parity, 1;"), "{flipped}");
}
