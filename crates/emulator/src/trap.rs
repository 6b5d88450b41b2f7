//! What the emulator objects to.

use std::fmt;

/// Where an instruction stands: its line in the file, from 1, and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The line.
    pub line: usize,
    /// As printed.
    pub text: String,
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} `{}`", self.line, self.text)
    }
}

/// A kernel did what the manual forbids or leaves undefined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}, at {site}, block {block:?}, warp {warp}")]
pub struct Trap {
    /// What it did.
    pub fault: Fault,
    /// The instruction.
    pub site: Site,
    /// The block, (x, y, z).
    pub block: [u32; 3],
    /// The warp in the block.
    pub warp: u32,
}

/// What a kernel did.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A register was read before it was written.
    #[error("lane {lane} reads {register}, which nothing wrote")]
    PoisonRegister {
        /// The lane.
        lane: u32,
        /// The register.
        register: String,
    },
    /// Memory was read before it was written.
    #[error("reads {space} byte {address:#x}, which nothing wrote")]
    PoisonMemory {
        /// `shared` or `global`.
        space: &'static str,
        /// The byte.
        address: u64,
    },
    /// An address outside every buffer.
    #[error(
        "touches {bytes} {space} bytes at {address:#x}, outside every buffer (nearest: {nearest})"
    )]
    OutOfBounds {
        /// `shared` or `global`.
        space: &'static str,
        /// The first byte.
        address: u64,
        /// How many.
        bytes: u64,
        /// The buffer below it, and where that ends.
        nearest: String,
    },
    /// An address that is not a multiple of the access's size.
    #[error("touches {bytes} bytes at {address:#x}, which is not aligned to them")]
    Misaligned {
        /// The first byte.
        address: u64,
        /// How many.
        bytes: u64,
    },
    /// A read-only buffer was written.
    #[error("writes {buffer}, which the launch declares read-only")]
    ReadOnly {
        /// The buffer.
        buffer: String,
    },
    /// Two accesses to a byte of shared memory, one a write, with no barrier between them.
    #[error("races at shared byte {address:#x} with warp {other_warp}'s {other}")]
    Race {
        /// The byte.
        address: u64,
        /// The other warp.
        other_warp: u32,
        /// The other instruction.
        other: Site,
    },
    /// A byte was touched while an asynchronous copy to it was in flight.
    #[error("touches shared byte {address:#x} while {copy} may still write it")]
    InFlight {
        /// The byte.
        address: u64,
        /// The copy.
        copy: Site,
    },
    /// Lanes of a warp are apart where they must be together.
    #[error("needs all lanes together; only {mask:#010x} are here")]
    Divergent {
        /// The lanes at the instruction.
        mask: u32,
    },
    /// A metadata code that the instruction does not define.
    #[error(
        "metadata of row {row}, group {group} is {code:#x}, which the instruction leaves undefined"
    )]
    Metadata {
        /// The row of the fragment.
        row: u32,
        /// The group of four columns, or of two of tf32.
        group: u32,
        /// The code.
        code: u32,
    },
    /// A selector that the form does not have.
    #[error("selector is {selector}; the form has {count}, counted from 0")]
    Selector {
        /// The selector.
        selector: u32,
        /// How many the form has.
        count: u32,
    },
    /// A lane's source operand differs from the others' where it must not.
    #[error("lane {lane} passes another {what} than lane 0")]
    NotUniform {
        /// The lane.
        lane: u32,
        /// The operand.
        what: &'static str,
    },
    /// Two blocks wrote the same byte of global memory.
    #[error("writes global byte {address:#x}, which block {other} wrote too")]
    BlocksCollide {
        /// The byte.
        address: u64,
        /// The other block, counted x first.
        other: u32,
    },
    /// Some warps wait at a barrier that others will never reach.
    #[error("waits at a barrier while {exited} of {warps} warps have exited")]
    Deadlock {
        /// Warps that exited.
        exited: usize,
        /// Warps of the block.
        warps: usize,
    },
    /// More instructions than the launch allows.
    #[error("still runs after {0} instructions")]
    Budget(u64),
    /// The launch does not fit the kernel.
    #[error("{0}")]
    Launch(String),
}
