//! Runs PTX on a CPU, stricter than hardware: the GPU that everybody has.
//!
//! The text that ships is what is run: it is parsed by [`quickpick_ptx`], and each instruction means
//! what the PTX manual says, in a match without a wildcard, so that a new row of the table without a
//! meaning does not compile. What the manual leaves undefined is a [`Trap`] with the line:
//! reading a register, a shared or a global byte that nothing wrote; touching memory out of bounds or
//! misaligned; two warps at one shared byte without a barrier between them; touching bytes that a
//! `cp.async` may still write; lanes apart at an `.aligned` instruction; metadata codes that
//! are undefined; blocks that write the same global byte; a barrier that some warps never reach.
//!
//! Not modelled yet: relaxed order between blocks, races between lanes of one warp, the Hopper
//! instructions.
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
//! let launch = Launch { grid: [1, 1, 1], block: 64, shared_bytes: 0, args: vec![Arg::U64(x)] };
//! let report = Program::parse(ptx)?.run(&launch, &mut memory)?;
//! assert_eq!(report.instructions, 2 * 5); // two warps
//! assert_eq!(memory.get(x).unwrap().0[4 * 63], 63);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod access;
#[cfg_attr(not(test), expect(dead_code, reason = "the core will call it"))]
mod barriers;
mod block;
#[cfg_attr(not(test), expect(dead_code, reason = "the core will call it"))]
mod bulk;
mod execute;
#[cfg_attr(not(test), expect(dead_code, reason = "the core will call it"))]
mod mbarrier;
mod memory;
#[cfg_attr(not(test), expect(dead_code, reason = "the language has two of these forms yet"))]
mod mma;
mod program;
mod tensor_map;
mod trap;
mod warp;

pub use memory::Global;
pub use program::{Arg, Launch, Program, Report};
pub use tensor_map::{
    Interleave, OobFill, Swizzle, TensorMap, TensorMapError, TensorType, TiledMap,
};
pub use trap::{Fault, Site, Trap};
