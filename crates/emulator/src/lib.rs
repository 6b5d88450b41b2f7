//! Runs PTX on a CPU, stricter than hardware: the GPU that everybody has.
//!
//! The text that ships is what is run: it is parsed by [`quickpick_ptx`], and each instruction means
//! what the PTX manual says, in a match without a wildcard, so that a new row of the table without a
//! meaning does not compile. What the manual leaves undefined is a [`Trap`] with the line:
//!
//! - a register, or a byte of memory, is read before anything wrote it; an access is out of bounds or
//!   misaligned;
//! - two accesses to a byte, one of them a write, are not ordered: between lanes of a warp, warps of
//!   a block, or blocks, and both instructions are named. Only what the manual's memory model orders
//!   counts (barriers, mbarriers, fences with strong accesses), not the order in which they ran;
//! - bytes are touched that an asynchronous copy may still write, or written that one may still read;
//!   the async proxy reads what no `fence.proxy.async` has shown it;
//! - registers are touched that `wgmma` owns, or used by it without a `wgmma.fence`;
//! - lanes are apart at an `.aligned` instruction; barriers are told different counts; everything
//!   waits for something that cannot come ([`Fault::Deadlock`] lists who waits for what);
//! - metadata codes, selectors, descriptors and tensor maps are not as the manual allows.
//!
//! What may happen at any time (asynchronous copies, the turns of warps and blocks) happens as early,
//! as late, or as randomly as [`Schedule`] says. [`Report`] counts, per line, what was issued and how
//! memory was used.
//!
//! Not modelled: local memory, calls, textures; roundings other than to nearest (but in conversions);
//! barriers to which a part of a warp comes; the order of the sums within a multiply, which the manual
//! leaves open. Lanes that went apart come together where their paths join, as ptxas makes them: a warp
//! moves the lanes that are furthest behind.
//!
//! ```
//! use quickpick_emulator::{Arg, Global, Launch, Program};
//!
//! let ptx = "\
//! .version 7.0
//! .target sm_80
//! .address_size 64
//!
//! .visible .entry fill(
//!     .param .u64 x
//! )
//! {
//!     .reg .b32 %thread;
//!     .reg .b64 %px;
//!     ld.param.u64 %px, [x];
//!     mov.u32 %thread, %tid.x;
//!     mad.wide.u32 %px, %thread, 4, %px;
//!     st.global.b32 [%px], %thread;
//!     ret;
//! }
//! ";
//! let mut memory = Global::default();
//! let x = memory.poisoned("x", 4 * 64);
//! let launch = Launch::new([1, 1, 1], 64, vec![Arg::U64(x)]);
//! let report = Program::parse(ptx)?.run(&launch, &mut memory)?;
//! assert_eq!(report.instructions(), 2 * 5); // two warps
//! assert_eq!(memory.get(x).unwrap().0[4 * 63], 63);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod access;
mod asynchronous;
mod barriers;
mod block;
mod bulk;
mod chance;
mod code;
mod counts;
mod execute;
mod group;
mod lower;
mod machine;
mod mbarrier;
mod memory;
mod mma;
mod order;
mod program;
mod shadow;
mod sync;
mod tensor_map;
mod trap;
mod warp;

pub use code::Class;
pub use counts::{Count, LineCount, Report};
pub use memory::Global;
pub use program::{Arg, Event, Launch, Options, Program, Schedule};
pub use tensor_map::{
    Interleave, OobFill, Swizzle, TensorMap, TensorMapError, TensorType, TiledMap,
};
pub use trap::{Fault, Site, Trap};
