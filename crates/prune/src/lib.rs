//! 2:4 masks, one-shot solvers, and rewound lottery tickets.
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
//!
//! **One shot.** A [`LayerProblem`] is a layer and the [`Gram`] of its calibration inputs. A [`Method`]
//! prunes it: a [`Criterion`] or a solver ([`sparse_gpt`], [`alps`]) chooses the mask, [`reconstruct`]
//! finds the best weights for one, and a [`Residual`] holds what is recovered beside the pattern. Layers
//! with the same input share a [`Prepared`] gram and so its factorisations. Where layers may differ,
//! [`allocate`] gives each a pattern under a density of the whole.
//!
//! ```
//! use quickpick_prune::{Gram, LayerProblem, Method, Pattern, Prepared};
//!
//! let inputs = [1.0, 0.9, 0.1, 0.0, 0.8, 1.0, 0.0, 0.2, 0.1, 0.0, 1.0, 0.9]; // 3 tokens × 4 features
//! let mut gram = Gram::new(4);
//! gram.add(&inputs)?;
//! let up = LayerProblem::new(&[0.5, 0.6, 0.3, 0.2], 1, 4, &gram)?;
//! let gate = LayerProblem::new(&[0.1, 0.2, 0.3, 0.4, 0.4, 0.3, 0.2, 0.1], 2, 4, &gram)?;
//! let mut prepared = Prepared::new(&gram, Prepared::DAMPING)?;
//! let (score, solver): (Method, Method) = ("wanda".parse()?, "alps".parse()?);
//! for layer in [up, gate] {
//!     let wanda = score.solve(&layer, &mut prepared, Pattern::TWO_OF_FOUR)?;
//!     let alps = solver.solve(&layer, &mut prepared, Pattern::TWO_OF_FOUR)?;
//!     assert!(alps.error < wanda.error);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod budget;
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
mod solve;
mod ticket;
mod trainer;
mod transposable;

pub use budget::{BudgetError, Choice, Choices, allocate};
pub use curve::Point;
pub use eligibility::{Eligibility, Reason, Rules};
pub use gram::Gram;
pub use layer::{LayerError, LayerProblem};
pub use mask::{Mask, MaskError, Masks, Pattern};
pub use permute::{Order, OrderError, OrderSearch, Ordered, Retained, stack_blocks};
pub use project::project;
pub use score::{Criterion, Magnitude, Score};
pub use search::{Arm, Progress, Run, Schedule, Search};
pub use search_error::SearchError;
pub use solve::{
    Keep, Method, Prepared, Residual, Select, Solution, SolveError, alps, reconstruct,
    relative_error, sparse_gpt,
};
pub use ticket::{
    Found, LayerDecision, Ticket, TicketError, load_masks, masks_to_bytes, save_masks,
};
pub use trainer::{LayerInfo, Trainer};
pub use transposable::{Transposable, transposable};
