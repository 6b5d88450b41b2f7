//! The PTX language that Quickpick speaks: instruction table, builder, printer, parser.
//!
//! One row of [`TABLE`] gives an instruction's variant of [`Inst`], its builder method on
//! [`Kernel`], its text, its reading and the least PTX version and target. `.version` and
//! `.target` of a printed [`Module`] are the maxima over its instructions, never typed.
//!
//! ```
//! use quickpick_ptx::{B32, B64, Cache, Kernel, Module, ParamKind, Special, parse};
//!
//! let mut k = Kernel::new("fill");
//! let (x, value) = (k.param("x", ParamKind::U64), k.param("value", ParamKind::U32));
//! let (px, thread, word) = (k.reg::<B64>("px"), k.reg::<B32>("thread"), k.reg::<B32>("word"));
//! k.section("x[thread] = value");
//! k.ld_param_u64(px, x).ld_param_u32(word, value);
//! k.mov_special(thread, Special::TidX);
//! k.mad_wide(quickpick_ptx::Int::U32, px, thread, 4, px);
//! k.st_global_b32(px, word);
//! k.ret();
//! let module = Module::new("fill: writes a word", k);
//! assert_eq!(parse(&module.to_string())?, module);
//! # Ok::<(), quickpick_ptx::ParseError>(())
//! ```
#![forbid(unsafe_code)]

mod cursor;
mod kernel;
mod operand;
mod parse;
mod reg;
mod table;

pub use cursor::{Cursor, Fault};
pub use kernel::{Declared, Guard, Kernel, Limits, Line, Module, Param, ParamKind, Shared};
pub use operand::{
    Addr, Cache, Cmp, Half, Imm, Int, Label, Operand, ParamName, Prefetch, Shuffle, Special, Src,
    Symbol, Trans,
};
pub use parse::{Located, ParseError, parse, parse_located};
pub use reg::{B16, B32, B64, Class, F32, Kind, MAX_NAME, Name, Pred, Reg, Vector};
pub use table::{BASE_ISA, BASE_SM, Inst, Row, TABLE};

#[cfg(test)]
mod tests;
