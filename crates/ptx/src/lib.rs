//! The PTX language that Quickpick speaks: instruction table, builder, printer, parser.
//!
//! One row of [`TABLE`] is a form of the language, for all of its types: it gives a variant of
//! [`Inst`], its text, its reading, what its operands must be, and the least PTX version and target.
//! The generator's methods on [`Kernel`] write such forms with register classes as types. `.version`
//! and `.target` of a generated [`Module`] are the maxima over its instructions, never typed.
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

mod builder;
mod cursor;
mod kernel;
mod modifier;
mod name;
mod operand;
mod parse;
mod print;
mod reg;
mod rule;
mod scope;
mod table;
mod typed;

pub use cursor::{Cursor, Fault};
pub use kernel::{
    Declared, Extent, Features, Guard, Kernel, Limits, Line, Module, Param, ParamKind, Shared,
    Target,
};
pub use modifier::*;
pub use name::{MAX_NAME, Name};
pub use operand::{Address, Arg, Base, Imm, Imms, Operand, Quoted, WgmmaShape};
pub use parse::{Located, ParseError, parse, parse_entry, parse_located};
pub use reg::{AnyReg, B16, B32, B64, Class, F32, F64, Kind, Pred, Reg, Vector};
pub use table::{BASE_ISA, BASE_SM, Inst, Row, TABLE};
pub use typed::{Addr, Label, ParamName, Src, Symbol};

#[cfg(test)]
mod tests;
