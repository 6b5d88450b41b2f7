//! Errors, sorted by whose fault it is.

use quickpick_kernels::{MapError, NoKernel, Unsupported};

/// Whose fault it is, what is wrong, and the numbers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A matrix is wrong, or its type does not go with a kernel's order.
    #[error("bad 2:4 data: {0}")]
    Format(#[from] quickpick_format::Error),
    /// No kernel serves the problem on this device.
    #[error(transparent)]
    NoKernel(#[from] NoKernel),
    /// This kernel does not serve the problem on this device.
    #[error("{kernel}: {why}")]
    Unsupported {
        /// The kernel's name.
        kernel: String,
        /// The rule that failed.
        why: Unsupported,
    },
    /// The caller's arguments are wrong.
    #[error("{what}: {got} given, {expected} expected")]
    Argument {
        /// Which argument, of which kernel.
        what: String,
        /// What the caller gave.
        got: u64,
        /// What it should be.
        expected: u64,
    },
    /// The caller bound one buffer to an output and to another operand.
    #[error("{kernel}: {first} and {second} share a buffer, and one of them is written")]
    Aliased {
        /// The kernel's name.
        kernel: String,
        /// One operand.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// The caller gave one backend what another made; no device reads another's memory.
    #[error("{backend}: {what} was made by another {backend} backend than this one")]
    Foreign {
        /// `wgpu`.
        backend: &'static str,
        /// What was given.
        what: String,
    },
    /// The memory that the caller bound suits no tensor map of the kernel's: see
    /// [`MapRule`](quickpick_kernels::MapRule).
    #[error("{kernel}: {why}")]
    Map {
        /// The kernel's name.
        kernel: String,
        /// The map, the rule, and the numbers.
        why: MapError,
    },
    /// This machine cannot run the backend at all: no driver, no adapter, too old, too small.
    #[error("{backend} is not available: {why}")]
    Unavailable {
        /// `cuda`, `wgpu` or `cpu`.
        backend: &'static str,
        /// What is missing, with the numbers.
        why: String,
    },
    /// The device or its driver failed.
    #[error("{backend}: {what}: {why}")]
    Device {
        /// `cuda` or `wgpu`.
        backend: &'static str,
        /// What was being done.
        what: String,
        /// The driver's words.
        why: String,
    },
    /// A file could not be read or written.
    #[error("{}: {why}", .path.display())]
    File {
        /// Its path.
        path: std::path::PathBuf,
        /// The system's words.
        why: std::io::Error,
    },
    /// Quickpick is wrong. Please report it.
    #[error("bug in quickpick, please report: {0}")]
    Bug(String),
}

/// Results of this crate.
pub type Result<T> = std::result::Result<T, Error>;
