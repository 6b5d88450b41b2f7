//! 2:4 masks and rewound lottery tickets.
//!
//! A ticket is a mask, the weights θ_k that it starts from, and how it was found. The search trains
//! to step k, keeps θ_k, trains on to step T, masks what it finds there, goes back to θ_k and trains
//! again with the mask held (Frankle and Carbin 2019, arXiv 1803.03635; rewinding: 1903.01611,
//! 1912.05671).
//!
//! An [`OrderSearch`] finds an [`Order`] of input features in which a pattern keeps more;
//! [`transposable`] finds the best mask that is N:M along rows and columns.
//!
//! The parts compose. [`Rules`] decide which layers are pruned and say why not. A [`Score`] ranks
//! weights; [`project`] turns a ranking into the best [`Mask`] of a [`Pattern`]. A [`Search`] drives
//! any training loop that implements [`Trainer`] through an [`Arm`], a ticket or one of its controls,
//! in a folder from which a killed search goes on.
//!
//! ```
//! use quickpick_prune::{LayerInfo, Magnitude, Pattern, Rules, Score, project};
//!
//! let layer = LayerInfo::new("mlp.up.weight", [1, 8]);
//! let weight = [0.1, -3.0, 2.0, 0.2, 1.0, 1.0, 1.0, 1.0];
//! assert_eq!(Rules::new(Pattern::TWO_OF_FOUR).decide(&layer).to_string(), "pruned");
//! let scores = Magnitude.score(&layer, &weight);
//! let mask = project(&scores, 1, 8, Pattern::TWO_OF_FOUR)?;
//! let kept = [false, true, true, false, true, true, false, false]; // ties: the lower column
//! assert_eq!(mask.kept(), kept);
//! # Ok::<(), quickpick_prune::MaskError>(())
//! ```
#![forbid(unsafe_code)]

mod curve;
mod eligibility;
mod gram;
mod layer;
mod mask;
mod permute;
mod project;
mod rng;
mod score;
mod search;
mod search_error;
mod ticket;
mod trainer;
mod transposable;

pub use curve::Point;
pub use eligibility::{Eligibility, Reason, Rules};
pub use gram::Gram;
pub use layer::{LayerError, LayerProblem};
pub use mask::{Mask, MaskError, Masks, Pattern};
pub use permute::{Order, OrderError, OrderSearch, Ordered, Retained, stack_blocks};
pub use project::project;
pub use score::{Magnitude, Score};
pub use search::{Arm, Progress, Run, Schedule, Search};
pub use search_error::SearchError;
pub use ticket::{Found, LayerDecision, Ticket, TicketError, load_masks, save_masks};
pub use trainer::{LayerInfo, Trainer};
pub use transposable::{Transposable, transposable};
