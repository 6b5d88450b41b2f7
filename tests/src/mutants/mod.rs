//! The proof of the emulator: kernels that are wrong in one place, each of which it must object to.

mod argued;
mod cases;
mod generate;
mod judge;
mod probe;
mod table;
#[cfg(test)]
mod tests;
mod weaken;

pub use argued::{ARGUED, Argued};
pub use generate::{Kind, Mutant, mutants};
pub use judge::{Judged, Objection, Subject, Verdict};
pub use table::Tally;

use quickpick::kernels::{KERNELS, KernelSpec};

/// The kernels whose text the emulator runs.
pub fn kernels() -> impl Iterator<Item = &'static KernelSpec> {
    KERNELS.iter().filter(|spec| spec.target.is_ptx())
}

/// All mutants of a kernel, judged.
pub fn judge(spec: &'static KernelSpec) -> Result<Vec<Judged>, String> {
    Subject::new(spec, cases::cases(spec))?.judge()
}
