//! The recorded facts about matrix multiplies in `tests/data/`, held against the emulator and against
//! formulas of its own; and, where no GPU has recorded any, the proof that they would be.

mod assemble;
mod closed_form;
mod recorded;
mod without_gpu;
