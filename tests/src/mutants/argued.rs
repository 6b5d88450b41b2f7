//! Mutants that the emulator may let pass, each with the reason.

use super::judge::{Judged, Verdict};
use super::generate::Kind;

/// A survivor that is no gap: it does what the kernel does.
pub struct Argued {
    /// What the kernel's name contains.
    pub kernel: &'static str,
    /// What the label or heading above contains.
    pub context: &'static str,
    /// What the line contains.
    pub text: &'static str,
    /// What was done to it.
    pub kind: Kind,
    /// Why nobody can object.
    pub why: &'static str,
}

/// All of them. An entry that no survivor needs is an error of the test.
pub const ARGUED: &[Argued] = &[];

impl Argued {
    /// Whether this argument is about that mutant.
    pub fn fits(&self, mutant: &Judged) -> bool {
        matches!(mutant.verdict, Verdict::Survived(_))
            && self.kind == mutant.kind
            && mutant.spec.to_string().contains(self.kernel)
            && mutant.context.contains(self.context)
            && mutant.text.contains(self.text)
    }

    /// The argument for a survivor, if there is one.
    pub fn of(mutant: &Judged) -> Option<&'static Self> {
        ARGUED.iter().find(|a| a.fits(mutant))
    }
}
