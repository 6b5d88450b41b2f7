//! A kernel's body. Scopes within it are flattened: a name that is taken gets a suffix.

use super::head;
use crate::cursor::{Cursor, Fault};
use crate::kernel::{Declared, Guard, Kernel, Line, Shared};
use crate::name::Name;
use crate::reg::{Kind, Reg};
use crate::scope::{Frame, Scope};
use crate::table::Inst;
use crate::typed::{Label, Symbol};
use std::collections::{HashMap, HashSet};

/// Names of labels by scope, which the byte after its brace names; as in the text, and as in the
/// kernel.
type Labels = HashMap<usize, HashMap<String, Name>>;

/// Deepest nesting of braces.
const DEEPEST: usize = 64;

/// Reads the body, whose first byte is at `at`, into the kernel. Gives the byte offset of each line,
/// and that after the closing brace.
pub(super) fn body(
    kernel: &mut Kernel,
    text: &str,
    at: usize,
) -> Result<(Vec<usize>, usize), Fault> {
    let mut labels = labels(text, at)?;
    let outer = Frame {
        symbols: kernel.shared.iter().map(|s| (s.symbol.to_string(), s.symbol.0)).collect(),
        ..Frame::default()
    };
    let inner = Frame { labels: labels.remove(&at).unwrap_or_default(), ..Frame::default() };
    let params = kernel.params.iter().map(|p| p.name).collect();
    let mut scope = Scope { frames: vec![outer, inner], params };
    let mut starts = Vec::new();
    let mut at = at;
    loop {
        let mut c = Cursor::new(text, at, &scope);
        c.skip_blocks();
        let start = c.here();
        if let Some(comment) = c.comment() {
            starts.push(start);
            kernel.lines.push(match comment.strip_prefix("---- ") {
                Some(title) => Line::Section(title.to_string()),
                None => Line::Note(comment),
            });
            at = c.here();
        } else if c.accept("}") {
            at = c.here();
            scope.frames.pop();
            if scope.frames.len() == 1 {
                return Ok((starts, at));
            }
        } else if c.accept("{") {
            at = c.here();
            let labels = labels.remove(&at).unwrap_or_default();
            scope.frames.push(Frame { labels, ..Frame::default() });
        } else if c.accept_word(".reg") {
            let declared = registers(&mut c, kernel, scope.frames.last())?;
            at = c.here();
            if let Some(frame) = scope.frames.last_mut() {
                frame.registers.extend(declared);
            }
        } else if let Some(symbols) = shared(&mut c, kernel, scope.frames.last())? {
            at = c.here();
            if let Some(frame) = scope.frames.last_mut() {
                frame.symbols.extend(symbols);
            }
        } else {
            let line = line(&mut c, scope.frames.last())?;
            at = c.here();
            starts.push(start);
            kernel.lines.push(line);
        }
    }
}

/// Passes over what belongs to a kernel that is not asked for.
pub(super) fn skip(c: &mut Cursor<'_>) -> Result<(), Fault> {
    let mut depth = 0;
    loop {
        match c.peek() {
            None => return Err(c.fault("the kernel lacks its closing brace")),
            Some(b'"') => {
                c.quoted()?;
                continue;
            }
            Some(b'{') => depth += 1,
            Some(b'}') if depth == 1 => {
                c.advance(1);
                return Ok(());
            }
            Some(b'}') if depth == 0 => return Err(c.fault("`{` is wanted here")),
            Some(b'}') => depth -= 1,
            Some(_) => {}
        }
        c.advance(1);
    }
}

/// All labels, by a walk over the statements: a branch may lead forward.
fn labels(text: &str, body: usize) -> Result<Labels, Fault> {
    let outside = Scope::default();
    let mut c = Cursor::new(text, body, &outside);
    let mut open = vec![body];
    let mut found: Vec<(usize, usize, &str)> = Vec::new();
    while !open.is_empty() {
        let start = c.position();
        let mut ahead = c.fork();
        if c.peek().is_none() {
            return Err(c.fault("the kernel lacks its closing brace"));
        } else if c.accept("}") {
            open.pop();
        } else if c.accept("{") {
            if open.len() > DEEPEST {
                return Err(c.fault_at(start, &format!("more than {DEEPEST} nested braces")));
            }
            open.push(c.here());
        } else if let Ok(word) = ahead.word()
            && ahead.accept(":")
        {
            let scope = open.last().copied().unwrap_or(body);
            if found.iter().any(|(s, _, w)| (*s, *w) == (scope, word)) {
                return Err(c.fault_at(start, &format!("label {word} stands twice")));
            }
            found.push((scope, start, word));
            c = ahead;
        } else {
            statement(&mut c)?;
        }
    }
    let taken: HashSet<&str> = found.iter().map(|(_, _, word)| *word).collect();
    let mut used: HashSet<Name> = HashSet::new();
    let mut labels = Labels::new();
    for (scope, start, word) in found {
        let free = |name: &Name, first: bool| {
            !used.contains(name) && (first || !taken.contains(name.as_str()))
        };
        let name = renamed(&c, start, word, free)?;
        used.insert(name);
        labels.entry(scope).or_default().insert(word.to_string(), name);
    }
    Ok(labels)
}

/// The word itself if it is free, else with the first suffix that makes it so.
fn renamed(
    c: &Cursor<'_>,
    start: usize,
    word: &str,
    free: impl Fn(&Name, bool) -> bool,
) -> Result<Name, Fault> {
    let name = c.name(start, word)?;
    if free(&name, true) {
        return Ok(name);
    }
    // a role ends in no digit, for an array's elements do
    for n in 1..=u16::MAX {
        let name = c.name(start, &format!("{word}_{n}_"))?;
        if free(&name, false) {
            return Ok(name);
        }
    }
    Err(c.fault_at(start, &format!("{word} is declared too often")))
}

/// Passes over a statement, to behind its semicolon.
fn statement(c: &mut Cursor<'_>) -> Result<(), Fault> {
    loop {
        match c.peek() {
            None => return Err(c.fault("the kernel lacks its closing brace")),
            Some(b'"') => {
                c.quoted()?;
            }
            Some(b';') => {
                c.advance(1);
                return Ok(());
            }
            Some(_) => c.advance(1),
        }
    }
}

/// Names of registers as in the text, and what they stand for.
type Registers = Vec<(String, crate::scope::Declaration)>;

/// The rest of a `.reg`: the registers are declared in the kernel.
fn registers(
    c: &mut Cursor<'_>,
    kernel: &mut Kernel,
    frame: Option<&Frame>,
) -> Result<Registers, Fault> {
    let kind = class(c)?;
    let mut list = Registers::new();
    loop {
        let start = c.position();
        let text = c.register_text()?;
        let mut count = None;
        if c.accept("<") {
            count = Some(c.integer(1, u16::MAX as i128)? as u16);
            c.expect(">")?;
        }
        let known = frame.into_iter().flat_map(|f| &f.registers).map(|(name, d)| (name, d.2));
        let mut known = known.chain(list.iter().map(|(name, d)| (name, d.2)));
        if known.any(|(name, n)| same_name((name, n), (text, count))) {
            return Err(c.fault_at(start, &format!("{text} is declared twice")));
        }
        let word = text.trim_start_matches('%');
        let declared = kernel.registers();
        let free = |name: &Name, _| {
            !declared.iter().any(|d| same_name((d.role.as_str(), d.count), (name.as_str(), count)))
        };
        let role = renamed(c, start, word, free)?;
        kernel.declare(Declared { kind, role, count });
        list.push((text.to_string(), (role, kind, count)));
        if !c.accept(",") {
            break;
        }
    }
    c.expect(";")?;
    Ok(list)
}

/// A register's class by its type: numbers are held as bits.
fn class(c: &mut Cursor<'_>) -> Result<Kind, Fault> {
    let classes = [
        (Kind::Pred, &[".pred"] as &[&str]),
        (Kind::B16, &[".b16", ".u16", ".s16", ".f16", ".bf16"]),
        (Kind::B32, &[".b32", ".u32", ".s32", ".f16x2", ".bf16x2"]),
        (Kind::B64, &[".b64", ".u64", ".s64"]),
        (Kind::F32, &[".f32"]),
        (Kind::F64, &[".f64"]),
    ];
    let found = classes.iter().find(|(_, types)| types.iter().any(|ty| c.accept_word(ty)));
    match found {
        Some((kind, _)) => Ok(*kind),
        None => {
            let message = format!(
                "`.pred`, `.b16`, `.b32`, `.b64`, `.f32` or `.f64` is wanted here, or a \
                 number of such a width: `{}` is not read",
                c.mnemonic()
            );
            Err(c.fault(&message))
        }
    }
}

/// Whether two declarations share a register's name: `%a1` is also the second of `%a<4>`.
fn same_name(a: (&str, Option<u16>), b: (&str, Option<u16>)) -> bool {
    let index = |name: &str, stem: &str| {
        let digits = name.strip_prefix(stem).filter(|d| !d.is_empty())?;
        digits.parse::<u16>().ok().filter(|i| i.to_string() == digits)
    };
    let within = |one: (&str, Option<u16>), array: (&str, Option<u16>)| {
        let Some(count) = array.1 else { return false };
        match (index(one.0, array.0), one.1) {
            (Some(i), None) => i < count,
            // `%a1<n>` holds %a10 to %a1{n-1}: the tenth and later of `%a<m>`
            (Some(i), Some(_)) => (i as u32) * 10 < count as u32,
            (None, _) => false,
        }
    };
    a.0 == b.0 || within(a, b) || within(b, a)
}

/// Declarations of arrays in shared memory: names as in the text, and as in the kernel.
fn shared(
    c: &mut Cursor<'_>,
    kernel: &mut Kernel,
    frame: Option<&Frame>,
) -> Result<Option<Vec<(String, Name)>>, Fault> {
    let mut list = Vec::new();
    let start = c.position();
    if !head::shared(c, &mut list)? {
        return Ok(None);
    }
    let mut symbols = Vec::new();
    for Shared { symbol, align, bytes } in list {
        let text = symbol.to_string();
        if frame.is_some_and(|f| f.symbols.contains_key(&text)) {
            return Err(c.fault_at(start, &format!("{text} is declared twice")));
        }
        let taken = |name: &Name| {
            kernel.shared.iter().any(|s| s.symbol.0 == *name)
                || kernel.params.iter().any(|p| p.name == *name)
        };
        let name = renamed(c, start, &text, |name, _| !taken(name))?;
        kernel.shared.push(Shared { symbol: Symbol(name), align, bytes });
        symbols.push((text, name));
    }
    Ok(Some(symbols))
}

/// A label or an instruction.
fn line(c: &mut Cursor<'_>, frame: Option<&Frame>) -> Result<Line, Fault> {
    let mut ahead = c.fork();
    if let Ok(word) = ahead.word()
        && let Some(label) = frame.and_then(|f| f.labels.get(word))
        && ahead.accept(":")
    {
        *c = ahead;
        return Ok(Line::Label(Label(*label)));
    }
    let mut guard = None;
    if c.accept("@") {
        let negated = c.accept("!");
        let start = c.position();
        let reg = c.register()?;
        if reg.kind != Kind::Pred {
            let have = reg.kind.directive();
            return Err(c.fault_at(start, &format!("{reg} is {have}, .pred is wanted here")));
        }
        guard = Some(Guard { pred: Reg::new(reg.role, reg.index), negated });
    }
    let start = c.position();
    let inst = Inst::parse(c)?;
    if guard.is_some() && matches!(inst, Inst::Pragma { .. }) {
        return Err(c.fault_at(start, "`.pragma` is no instruction, and has no guard"));
    }
    Ok(Line::Inst { guard, inst })
}
