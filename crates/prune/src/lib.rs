//! 2:4 masks and rewound lottery tickets.
//!
//! A ticket is a mask, the weights θ_k that it starts from, and how it was found. The search trains
//! to step k, keeps θ_k, trains on to step T, masks what it finds there, goes back to θ_k and trains
//! again with the mask held (Frankle et al. 2019, arXiv 1903.01611; 1912.05671). Any training loop
//! can be searched: it implements [`Trainer`].
#![forbid(unsafe_code)]

mod eligibility;
mod mask;
mod project;
mod rng;
mod score;
mod trainer;

pub use eligibility::{Eligibility, Reason, Rules};
pub use mask::{Mask, MaskError, Masks, Pattern};
pub use project::project;
pub use score::{Magnitude, Score};
pub use trainer::{LayerInfo, Trainer};
