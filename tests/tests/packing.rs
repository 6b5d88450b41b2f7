//! What the packing kernels move, counted by the emulator: hardly a byte more than there is to move, in every order.

use quickpick::Backend;
use quickpick::kernels::{KERNELS, OpKind, Order, Packing, Target};
use quickpick_emulator::Schedule;
use quickpick_tests::check;
use quickpick_tests::emulated::Emulated;
use quickpick_tests::packing::{Bits, make};

/// Bytes moved over those of the operands.
const MOST: f64 = 1.02;
/// Sectors of 32 bytes that requests touch, over those of the operands; a sector that two requests share counts twice.
const MOST_SECTORS: f64 = 2.0;

#[test]
fn hardly_a_byte_is_moved_twice() {
    let kernels = KERNELS.iter().filter(|spec| spec.target == Target::Sm80);
    for spec in kernels.filter(|spec| matches!(spec.op, OpKind::Pack24 | OpKind::Unpack24)) {
        let device = Emulated::least(spec, Schedule::Early);
        for order in Order::ALL {
            // whole blocks of every order; ragged ones, whose rows are no multiples of 16 bytes
            for (m, k, whole) in [(64, 512, true), (70, 500, false)] {
                let p = Packing { m, k, dtype: spec.dtype, order };
                let case = make(spec, p, Bits::Ties, 1)();
                let plan = spec.plan(&case.problem, device.caps()).unwrap();
                check(&device, spec, &case).unwrap();
                let sum = device.report().total();
                let least: u64 = plan.bindings.iter().map(|b| b.bytes).sum::<u64>() - 4;
                let moved = (sum.global[0] + sum.global[1]) as f64 / least as f64;
                let sectors = 32.0 * sum.sectors as f64 / least as f64;
                println!(
                    "{spec}, {order}, {m}×{k}: {moved:.3} of the bytes, {sectors:.2} of the sectors"
                );
                assert!(moved <= MOST, "{spec}, {order}, {m}×{k}: {moved:.3} times the bytes");
                assert!(
                    !whole || sectors <= MOST_SECTORS,
                    "{spec}, {order}: {sectors:.2} of the sectors"
                );
            }
        }
    }
}
