//! What stands before a kernel's body: versions, arrays in shared memory, parameters, limits.

use crate::cursor::{Cursor, Fault};
use crate::kernel::{Extent, Features, Limits, Param, ParamKind, Shared, Target};
use crate::typed::Symbol;

/// Most bytes of an array, shared or parameter: more than any device has, so that sizes add up.
const MOST_BYTES: i128 = 1 << 24;

/// `.version`, `.target` and `.address_size`.
pub(super) fn version(c: &mut Cursor<'_>) -> Result<(u16, Target), Fault> {
    c.expect(".version")?;
    let major = c.integer(0, 99)? as u16;
    c.expect(".")?;
    let minor = c.integer(0, 9)? as u16;
    c.expect(".target")?;
    c.expect("sm_")?;
    // the suffix is part of the word
    let start = c.position();
    let Some(sm) = c.digits_after("") else {
        return Err(c.fault_at(start, "a target is wanted here: sm_80, sm_90a"));
    };
    let features = match () {
        () if c.starts_with("a") => Features::Own,
        () if c.starts_with("f") => Features::Family,
        () => Features::Common,
    };
    c.advance((features != Features::Common) as usize);
    c.expect(".address_size")?;
    c.expect("64")?;
    Ok((major * 10 + minor, Target { sm, features }))
}

fn align(c: &mut Cursor<'_>) -> Result<Option<u32>, Fault> {
    if !c.accept_word(".align") {
        return Ok(None);
    }
    let start = c.position();
    let align = c.integer(1, 1024)? as u32;
    if !align.is_power_of_two() {
        return Err(c.fault_at(start, &format!("{align} is no power of two")));
    }
    Ok(Some(align))
}

fn scalar(c: &mut Cursor<'_>) -> Result<ParamKind, Fault> {
    match ParamKind::ALL.iter().find(|k| c.accept_word(k.directive())) {
        Some(kind) => Ok(*kind),
        None => Err(c.fault("a type such as `.u64`, `.f32` or `.b8` is wanted here")),
    }
}

/// `[4][16]`: the product; `None` where nothing stands in the brackets.
fn elements(c: &mut Cursor<'_>, bytes: u32) -> Result<Option<u32>, Fault> {
    c.expect("[")?;
    if c.accept("]") {
        return Ok(None);
    }
    let mut size = bytes as i128;
    loop {
        size *= c.integer(1, MOST_BYTES)? as i128;
        if size > MOST_BYTES {
            return Err(c.fault(&format!("an array has at most {MOST_BYTES} bytes")));
        }
        c.expect("]")?;
        if !c.accept("[") {
            return Ok(Some(size as u32));
        }
    }
}

/// Declarations of arrays in shared memory, if they come next.
pub(super) fn shared(c: &mut Cursor<'_>, list: &mut Vec<Shared>) -> Result<bool, Fault> {
    let mut ahead = c.fork();
    let visible = ahead.accept_word(".visible") || ahead.accept_word(".weak");
    let dynamic = !visible && ahead.accept_word(".extern");
    if !ahead.accept_word(".shared") {
        return Ok(false);
    }
    *c = ahead;
    let wanted = align(c)?;
    let kind = scalar(c)?;
    let align = wanted.unwrap_or(kind.bytes()).max(kind.bytes());
    loop {
        let start = c.position();
        let symbol = Symbol(c.identifier()?);
        if list.iter().any(|s| s.symbol == symbol) {
            return Err(c.fault_at(start, &format!("{symbol} is declared twice")));
        }
        let bytes = match c.peek() {
            Some(b'[') => elements(c, kind.bytes())?,
            _ => Some(kind.bytes()),
        };
        if bytes.is_none() != dynamic {
            let what = if dynamic { "an array without size" } else { "a size" };
            return Err(c.fault_at(start, &format!("{what} is wanted for {symbol}")));
        }
        list.push(Shared { symbol, align, bytes });
        if !c.accept(",") {
            break;
        }
    }
    c.expect(";")?;
    Ok(true)
}

/// The parameters, in their parentheses; these may be absent.
pub(super) fn params(c: &mut Cursor<'_>) -> Result<Vec<Param>, Fault> {
    let mut params: Vec<Param> = Vec::new();
    if !c.accept("(") {
        return Ok(params);
    }
    while !c.accept(")") {
        if !params.is_empty() {
            c.expect(",")?;
        }
        c.expect(".param")?;
        let wanted = align(c)?;
        let kind = scalar(c)?;
        pointer(c)?;
        let start = c.position();
        let name = c.identifier()?;
        if params.iter().any(|p| p.name == name) {
            return Err(c.fault_at(start, &format!("parameter {name} is named twice")));
        }
        let kind = match (c.peek(), wanted) {
            (Some(b'['), _) => match elements(c, kind.bytes())? {
                Some(len) => {
                    let align = wanted.unwrap_or(kind.bytes()).max(kind.bytes());
                    ParamKind::Bytes { align, len }
                }
                None => return Err(c.fault_at(start, &format!("parameter {name} has no size"))),
            },
            (_, Some(align)) if align > kind.bytes() => {
                return Err(c.fault_at(start, &format!("{name} is aligned to {align} bytes")));
            }
            _ => kind,
        };
        params.push(Param { name, kind });
    }
    Ok(params)
}

/// What a parameter points at: said for optimisers, and dropped.
fn pointer(c: &mut Cursor<'_>) -> Result<(), Fault> {
    if c.accept_word(".ptr") {
        let spaces = [".global", ".shared", ".const", ".local"];
        let _named = spaces.iter().any(|space| c.accept_word(space));
        align(c)?;
    }
    Ok(())
}

/// Bounds on the launch, in any order.
pub(super) fn limits(c: &mut Cursor<'_>) -> Result<Limits, Fault> {
    let mut limits = Limits::default();
    loop {
        let start = c.position();
        let again = match () {
            () if c.accept_word(".maxntid") => limits.max_threads.replace(extent(c)?).is_some(),
            () if c.accept_word(".reqntid") => limits.threads.replace(extent(c)?).is_some(),
            () if c.accept_word(".minnctapersm") => limits.min_blocks.replace(count(c)?).is_some(),
            () if c.accept_word(".maxnreg") => limits.max_registers.replace(count(c)?).is_some(),
            () if c.accept_word(".reqnctapercluster") => {
                limits.cluster.replace(extent(c)?).is_some()
            }
            () if c.accept_word(".maxclusterrank") => {
                limits.max_cluster.replace(count(c)?).is_some()
            }
            () if c.accept_word(".explicitcluster") => {
                std::mem::replace(&mut limits.explicit_cluster, true)
            }
            () => return Ok(limits),
        };
        if again {
            return Err(c.fault_at(start, "this bound stands twice"));
        }
    }
}

fn count(c: &mut Cursor<'_>) -> Result<u32, Fault> {
    c.integer(1, 1 << 16).map(|v| v as u32)
}

fn extent(c: &mut Cursor<'_>) -> Result<Extent, Fault> {
    let mut extent = Extent::from(count(c)?);
    if c.accept(",") {
        extent.y = count(c)?;
        if c.accept(",") {
            extent.z = count(c)?;
        }
    }
    Ok(extent)
}
