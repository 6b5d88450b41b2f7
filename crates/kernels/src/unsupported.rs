//! Why a kernel cannot serve a problem: which rule failed, with both numbers in it.

use crate::{MapError, Target};
use quickpick_format::DType;

/// Why a kernel cannot serve a problem on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsupported {
    /// The kernel performs another operation.
    #[error("performs another operation")]
    Operation,
    /// The kernel is in a language that the device does not run.
    #[error("is written for {needs:?}, which this device does not run")]
    Language {
        /// The kernel's target.
        needs: Target,
    },
    /// A type differs.
    #[error("{what} is {kernel}, the problem asks for {asked}")]
    Type {
        /// Which operand.
        what: &'static str,
        /// The kernel's type.
        kernel: DType,
        /// The type asked for.
        asked: DType,
    },
    /// A dimension is not a multiple of what the kernel needs.
    #[error("{dim} = {size} is not a multiple of {of}")]
    Multiple {
        /// Its name.
        dim: &'static str,
        /// The caller's value.
        size: u32,
        /// The rule.
        of: u32,
    },
    /// A dimension is outside what the kernel serves.
    #[error("{dim} = {size} is outside {min}..={max}")]
    Range {
        /// Its name.
        dim: &'static str,
        /// The caller's value.
        size: u32,
        /// Smallest.
        min: u32,
        /// Largest.
        max: u32,
    },
    /// The device has too little of something.
    #[error("needs {needs} {what}, the device has {has}")]
    Limit {
        /// Of what, with its unit.
        what: &'static str,
        /// The kernel's need.
        needs: u64,
        /// The device's limit.
        has: u64,
    },
    /// The kernel's epilogue lacks a part of the one asked for.
    #[error("has no {0} in its epilogue")]
    Epilogue(&'static str),
    /// A tensor map of its operands breaks a rule of the driver's.
    #[error(transparent)]
    Map(#[from] MapError),
    /// The device lacks an optional feature.
    #[error("needs {0}, which the device does not have")]
    Feature(&'static str),
}
