//! The harness that proves, times and tunes every kernel on a machine, and brings home a record of it:
//! the same on a GPU host, on a CPU and on a software adapter.
//!
//! A [`contender::Contender`] is ours or a rival's; all contenders of a shape are sampled in turn.
//! Nothing is timed that was not checked against the f64 oracle ([`oracle`], or a peer's own check).
#![deny(unsafe_code)] // allowed by name where generated text meets a device (stage/tune.rs)

pub mod candidates;
pub mod candle;
pub mod clock;
pub mod contender;
pub mod error;
pub mod floor;
pub mod machine;
pub mod oracle;
pub mod ours;
pub mod peer;
pub mod record;
pub mod sampler;
pub mod shapes;
pub mod stage;
pub mod weights;

pub use error::{Error, Result};
