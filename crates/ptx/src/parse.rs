//! Reading a module: the inverse of the printer, and wide enough for the PTX that nvcc writes. What
//! the printer writes, read back, is what was printed; what is not understood is an error.

mod body;
mod head;

use crate::cursor::{Cursor, Fault};
use crate::kernel::{Kernel, Module};
use crate::scope::Scope;

/// A text that is no module of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct ParseError {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

/// A module, and where its lines stand.
#[derive(Clone, Debug, PartialEq)]
pub struct Located {
    /// The module.
    pub module: Module,
    /// For each of `module.kernel.lines`, its line in the text, from 1.
    pub at: Vec<usize>,
}

/// Reads a module of one kernel.
pub fn parse(text: &str) -> Result<Module, ParseError> {
    parse_entry(text, None).map(|located| located.module)
}

/// Reads a module of one kernel, and keeps the line numbers.
pub fn parse_located(text: &str) -> Result<Located, ParseError> {
    parse_entry(text, None)
}

/// Reads one kernel of a module, the named one or the only one, and keeps the line numbers.
pub fn parse_entry(text: &str, entry: Option<&str>) -> Result<Located, ParseError> {
    let (module, starts) = module(text, entry).map_err(|fault| {
        let before = text.get(..fault.position).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |i| i + 1);
        ParseError {
            line: before.matches('\n').count() + 1,
            column: before[start..].chars().count() + 1,
            message: fault.message,
        }
    })?;
    let (mut line, mut from) = (1, 0);
    let at = starts.into_iter().map(|start| {
        line += text.get(from..start).unwrap_or("").matches('\n').count();
        from = start;
        line
    });
    Ok(Located { at: at.collect(), module })
}

/// The module, and the byte offset of each line of its body.
fn module(text: &str, entry: Option<&str>) -> Result<(Module, Vec<usize>), Fault> {
    let outside = Scope::default();
    let mut c = Cursor::new(text, 0, &outside);
    if let Some(position) = text.bytes().position(|b| !b.is_ascii()) {
        return Err(c.fault_at(position, "PTX is ASCII, comments too"));
    }
    let mut header = Vec::new();
    while let Some(line) = c.comment() {
        header.push(line);
    }
    let versions = c.position();
    let (isa, target) = head::version(&mut c)?;
    let mut shared = Vec::new();
    let mut names: Vec<String> = Vec::new();
    let mut found: Option<(Kernel, Vec<usize>)> = None;
    while c.peek().is_some() {
        if head::shared(&mut c, &mut shared)? {
            continue;
        }
        let start = c.position();
        let visible = c.accept_word(".visible") || c.accept_word(".weak");
        if !c.accept_word(".entry") {
            let what = if visible { "`.entry` is wanted here" } else { "a kernel is wanted here" };
            let message = format!("{what}: `{}` is not read", c.mnemonic());
            return Err(c.fault(&message));
        }
        let name = c.word()?;
        if names.iter().any(|n| n == name) {
            return Err(c.fault_at(start, &format!("kernel {name} stands twice")));
        }
        names.push(name.to_string());
        if found.is_some() && entry.is_none() {
            let message = format!("several kernels, one must be named: {}", names.join(", "));
            return Err(c.fault_at(start, &message));
        }
        if entry.is_some_and(|wanted| wanted != name) {
            body::skip(&mut c)?;
            continue;
        }
        let mut kernel = Kernel::new(name);
        kernel.shared = shared.clone();
        kernel.params = head::params(&mut c)?;
        if let Some(both) =
            kernel.params.iter().find(|p| shared.iter().any(|s| s.symbol.0 == p.name))
        {
            let message = format!("{} is both an array and a parameter", both.name);
            return Err(c.fault_at(start, &message));
        }
        kernel.limits = head::limits(&mut c)?;
        c.expect("{")?;
        let (starts, end) = body::body(&mut kernel, text, c.here())?;
        found = Some((kernel, starts));
        c = Cursor::new(text, end, &outside);
    }
    let Some((kernel, starts)) = found else {
        let message = match entry {
            Some(wanted) => format!("no kernel {wanted}; there are: {}", names.join(", ")),
            None => "a kernel is wanted here".to_string(),
        };
        return Err(c.fault(&message));
    };
    let (least, wanted) = (kernel.isa(), kernel.target());
    if isa < least || !target.has(wanted) {
        let message =
            format!("its instructions want .version {}.{}, {wanted}", least / 10, least % 10);
        return Err(c.fault_at(versions, &message));
    }
    let version = (isa != least).then_some(isa);
    let target = (target != wanted).then_some(target);
    Ok((Module { header, version, target, kernel }, starts))
}
