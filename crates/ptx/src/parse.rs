//! The inverse of the printer: what it prints, read back, is what was printed.

use crate::cursor::{Cursor, Fault, Scope};
use crate::kernel::{Declared, Guard, Kernel, Limits, Line, Module, Param, ParamKind, Shared};
use crate::operand::{Label, Operand, Symbol};
use crate::reg::{Kind, Reg};
use crate::table::Inst;

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

/// Reads a module.
pub fn parse(text: &str) -> Result<Module, ParseError> {
    parse_located(text).map(|located| located.module)
}

/// Reads a module, and keeps the line numbers.
pub fn parse_located(text: &str) -> Result<Located, ParseError> {
    let (module, starts) = module(text).map_err(|fault| {
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
fn module(text: &str) -> Result<(Module, Vec<usize>), Fault> {
    if let Some(position) = text.bytes().position(|b| !b.is_ascii()) {
        return Err(Fault { position, message: "PTX is ASCII, comments too".to_string() });
    }
    let outside = Scope::default();
    let mut c = Cursor::new(text, 0, &outside);
    let mut header = Vec::new();
    while let Some(line) = c.comment() {
        header.push(line);
    }
    let versions = c.position();
    let (isa, sm) = version(&mut c)?;
    let shared = shared(&mut c)?;
    c.expect(".visible")?;
    c.expect(".entry")?;
    let mut kernel = Kernel::new(c.identifier_text()?);
    kernel.shared = shared;
    kernel.params = params(&mut c)?;
    kernel.limits = limits(&mut c)?;
    c.expect("{")?;
    while let Some(kind) = declaration(&mut c)? {
        loop {
            let declared = declared(&mut c, kind)?;
            if kernel.registers().iter().any(|d| same_name(d, &declared)) {
                return Err(c.fault(&format!("%{} is declared twice", declared.role)));
            }
            kernel.declare(declared);
            if !c.accept(",") {
                break;
            }
        }
        c.expect(";")?;
    }
    let scope = scope(&kernel, text, c.position())?;
    let mut c = Cursor::new(text, c.position(), &scope);
    let mut starts = Vec::new();
    loop {
        let start = c.position();
        if c.accept("}") {
            break;
        }
        let line = line(&mut c)?;
        starts.push(start);
        kernel.lines.push(line);
    }
    if c.peek().is_some() {
        return Err(c.fault("nothing may follow the kernel"));
    }
    if (isa, sm) != (kernel.isa(), kernel.sm()) {
        let (isa, sm) = (kernel.isa(), kernel.sm());
        let message = format!("its instructions want .version {}.{}, sm_{sm}", isa / 10, isa % 10);
        return Err(c.fault_at(versions, &message));
    }
    Ok((Module { header, kernel }, starts))
}

fn version(c: &mut Cursor<'_>) -> Result<(u16, u16), Fault> {
    c.expect(".version")?;
    let major = c.integer(0, 99)? as u16;
    c.expect(".")?;
    let minor = c.integer(0, 9)? as u16;
    c.expect(".target")?;
    c.expect("sm_")?;
    let sm = c.integer(0, 999)? as u16;
    c.expect(".address_size")?;
    c.expect("64")?;
    Ok((major * 10 + minor, sm))
}

fn shared(c: &mut Cursor<'_>) -> Result<Option<Shared>, Fault> {
    let dynamic = c.accept(".extern");
    if !c.accept(".shared") {
        return if dynamic { Err(c.fault("`.shared` is wanted here")) } else { Ok(None) };
    }
    c.expect(".align")?;
    let align = c.integer(1, 1024)? as u32;
    c.expect(".b8")?;
    let symbol = Symbol(c.identifier()?);
    c.expect("[")?;
    let bytes = if dynamic { None } else { Some(c.integer(1, u32::MAX as i128)? as u32) };
    c.expect("]")?;
    c.expect(";")?;
    Ok(Some(Shared { symbol, align, bytes }))
}

fn params(c: &mut Cursor<'_>) -> Result<Vec<Param>, Fault> {
    let mut params: Vec<Param> = Vec::new();
    c.expect("(")?;
    while !c.accept(")") {
        if !params.is_empty() {
            c.expect(",")?;
        }
        c.expect(".param")?;
        let Some(kind) = ParamKind::ALL.into_iter().find(|k| c.accept(k.directive())) else {
            return Err(c.fault("`.u64`, `.u32` or `.f32` is wanted here"));
        };
        let start = c.position();
        let name = c.identifier()?;
        if params.iter().any(|p| p.name == name) {
            return Err(c.fault_at(start, &format!("parameter {name} is named twice")));
        }
        params.push(Param { name, kind });
    }
    Ok(params)
}

fn limits(c: &mut Cursor<'_>) -> Result<Limits, Fault> {
    let mut read = |directive| -> Result<Option<u32>, Fault> {
        if c.accept(directive) { Ok(Some(c.integer(1, 1 << 16)? as u32)) } else { Ok(None) }
    };
    Ok(Limits {
        max_threads: read(".maxntid")?,
        threads: read(".reqntid")?,
        min_blocks: read(".minnctapersm")?,
    })
}

fn declaration(c: &mut Cursor<'_>) -> Result<Option<Kind>, Fault> {
    if !c.accept(".reg") {
        return Ok(None);
    }
    match Kind::ALL.into_iter().find(|k| c.accept(k.directive())) {
        Some(kind) => Ok(Some(kind)),
        None => Err(c.fault("`.pred`, `.b16`, `.b32`, `.b64` or `.f32` is wanted here")),
    }
}

/// Whether two declarations share a register's name: `%a1` is also the second of `%a<4>`.
fn same_name(a: &Declared, b: &Declared) -> bool {
    let within = |scalar: &Declared, array: &Declared| {
        let (name, stem) = (scalar.role, array.role);
        let digits = name.as_str().strip_prefix(stem.as_str()).unwrap_or("");
        let index = digits.parse::<u16>().ok().filter(|i| i.to_string() == digits);
        scalar.count.is_none() && index.is_some_and(|i| array.count.is_some_and(|n| i < n))
    };
    a.role == b.role || within(a, b) || within(b, a)
}

fn declared(c: &mut Cursor<'_>, kind: Kind) -> Result<Declared, Fault> {
    c.expect("%")?;
    let role = c.identifier()?;
    let mut count = None;
    if c.accept("<") {
        count = Some(c.integer(1, u16::MAX as i128)? as u16);
        c.expect(">")?;
    }
    Ok(Declared { kind, role, count })
}

/// The names of the kernel; its labels are found by a first walk, for a branch may lead forward.
fn scope(kernel: &Kernel, text: &str, body: usize) -> Result<Scope, Fault> {
    let mut scope = Scope {
        registers: kernel.registers().iter().map(|d| (d.role, (d.kind, d.count))).collect(),
        params: kernel.params.iter().map(|p| p.name).collect(),
        symbol: kernel.shared.map(|s| s.symbol.0),
        labels: Vec::new(),
    };
    let outside = Scope::default();
    let mut at = body;
    for line in text.get(body..).unwrap_or("").split_inclusive('\n') {
        if line.split_once(':').is_some_and(|(name, rest)| is_label(name, rest)) {
            let mut c = Cursor::new(text, at, &outside);
            let start = c.position();
            let name = c.identifier()?;
            if scope.labels.contains(&name) {
                return Err(c.fault_at(start, &format!("label {name} stands twice")));
            }
            scope.labels.push(name);
        }
        at += line.len();
    }
    Ok(scope)
}

/// A line `name:` and nothing else.
fn is_label(name: &str, rest: &str) -> bool {
    let name = name.trim();
    rest.trim().is_empty()
        && !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'$')
}

fn line(c: &mut Cursor<'_>) -> Result<Line, Fault> {
    if let Some(text) = c.comment() {
        return Ok(match text.strip_prefix("---- ") {
            Some(title) => Line::Section(title.to_string()),
            None => Line::Note(text),
        });
    }
    if c.peek().is_none() {
        return Err(c.fault("the kernel lacks its closing brace"));
    }
    if c.accept("@") {
        let negated = c.accept("!");
        let pred = Reg::parse(c)?;
        c.skip_space();
        return Ok(Line::Inst { guard: Some(Guard { pred, negated }), inst: Inst::parse(c)? });
    }
    let mut ahead = c.fork();
    if let Ok(name) = ahead.identifier()
        && c.has_label(name)
        && ahead.accept(":")
    {
        *c = ahead;
        return Ok(Line::Label(Label(name)));
    }
    Ok(Line::Inst { guard: None, inst: Inst::parse(c)? })
}
