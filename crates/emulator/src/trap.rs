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
        /// `shared`, `global` or `parameter`.
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
    /// Two accesses to a byte, one a write, with nothing that orders them.
    #[error("races at {space} byte {address:#x} with {who} at {other}")]
    Race {
        /// `shared` or `global`.
        space: &'static str,
        /// The byte.
        address: u64,
        /// The other warp or lane, and its block if that is another one.
        who: String,
        /// The other instruction.
        other: Site,
    },
    /// The async proxy touches what an ordinary access wrote, with no `fence.proxy.async` between.
    #[error(
        "touches {space} byte {address:#x} by the async proxy; no fence.proxy.async follows {other}"
    )]
    Unfenced {
        /// `shared` or `global`.
        space: &'static str,
        /// The byte.
        address: u64,
        /// The write.
        other: Site,
    },
    /// A byte was touched while an asynchronous operation may still write it, or written while one
    /// may still read it.
    #[error("touches {space} byte {address:#x} while {operation} may still {what} it")]
    InFlight {
        /// `shared` or `global`.
        space: &'static str,
        /// The byte.
        address: u64,
        /// The asynchronous operation.
        operation: Site,
        /// `write` or `read`.
        what: &'static str,
    },
    /// A register was touched while `wgmma` owns it.
    #[error("touches {register} while {operation} may still use it")]
    Owned {
        /// The register.
        register: String,
        /// The multiply.
        operation: Site,
    },
    /// `wgmma` uses a register that was touched since the last `wgmma.fence`.
    #[error("uses {register}, which was touched with no wgmma.fence since")]
    NoWgmmaFence {
        /// The register.
        register: String,
    },
    /// A warp exits while an operation that it began is still at work.
    #[error("exits while {operation} is under way and nothing waited for it")]
    Unwaited {
        /// The operation.
        operation: Site,
    },
    /// Lanes of a warp are apart where they must be together.
    #[error("needs all lanes together; only {mask:#010x} are here")]
    Divergent {
        /// The lanes at the instruction.
        mask: u32,
    },
    /// A metadata code that the instruction's form does not define.
    #[error(
        "metadata of row {row}, group {group} is {code:#x}, which the instruction leaves undefined"
    )]
    Metadata {
        /// The row of the fragment.
        row: u32,
        /// The group of four columns.
        group: u32,
        /// The code.
        code: u32,
    },
    /// A selector that the shape does not have.
    #[error("selector is {selector}; the form has {count}, counted from 0")]
    Selector {
        /// The selector.
        selector: u32,
        /// How many the form has.
        count: u32,
    },
    /// A lane's source operand differs from the others' where it must not.
    #[error("lane {lane} passes another {what} than the first lane")]
    NotUniform {
        /// The lane.
        lane: u32,
        /// The operand.
        what: &'static str,
    },
    /// A barrier, an mbarrier, a descriptor or a tensor map used against its rules.
    #[error("{0}")]
    Rule(String),
    /// Every warp waits, and nothing is under way that could release one.
    #[error("deadlock: {waiting}")]
    Deadlock {
        /// What each warp waits for, where.
        waiting: String,
    },
    /// More instructions than the launch allows.
    #[error("still runs after {0} instructions")]
    Budget(u64),
    /// The kernel executed `trap`.
    #[error("executes trap")]
    Trap,
    /// The launch does not fit the kernel.
    #[error("{0}")]
    Launch(String),
}
