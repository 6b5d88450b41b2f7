//! The proof of the emulator: kernels that are wrong in one place, each of which it must object to.

mod argued;
mod cases;
mod generate;
mod judge;
mod probe;
mod small;
mod table;
#[cfg(test)]
mod tests;
mod weaken;

pub use argued::{ARGUED, Argued};
pub use generate::{Kind, Mutant, mutants};
pub use judge::{Judged, Objection, Subject, Verdict};
pub use table::Tally;

use crate::twin::twin;
use quickpick::kernels::{KERNELS, KernelSpec, Target};

/// The kernels whose text the emulator runs; of those for warpgroups, small ones of the same generator,
/// each with other parts of it. Of a kernel that is another but for its type, the other's mutants are asked.
pub fn kernels() -> impl Iterator<Item = &'static KernelSpec> {
    let rows = KERNELS.iter().filter(|spec| spec.target == Target::Sm80 && twin(spec).is_none());
    rows.chain(&small::SMALL)
}

/// All mutants of a kernel, judged.
pub fn judge(spec: &'static KernelSpec) -> Result<Vec<Judged>, String> {
    Subject::new(spec, cases::cases(spec))?.judge()
}
