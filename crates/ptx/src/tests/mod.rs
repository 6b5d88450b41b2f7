//! The language as a whole: rows, damage, and what others write.

mod foreign;
mod malformed;
mod rows;
mod samples;

pub(crate) use samples::{Deal, PATIENCE, addresses, args, neighbours};
