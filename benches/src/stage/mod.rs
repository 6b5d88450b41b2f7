//! The stages of a run, each with a file of its own in the record.

mod child;
pub mod correct;
pub mod once;
pub mod time;
pub mod tune;
pub mod vectors;
