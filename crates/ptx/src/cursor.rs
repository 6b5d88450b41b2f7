//! Reading position in a text.

use crate::modifier::Special;
use crate::name::Name;
use crate::operand::{Arg, Operand};
use crate::reg::AnyReg;
use crate::scope::Scope;

/// What is wrong, and where (a byte offset).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub(crate) position: usize,
    pub(crate) message: String,
    /// The text fits a row of the table, but breaks that row's rules.
    pub(crate) judged: bool,
}

impl Fault {
    /// Of several faults the greatest says most.
    pub(crate) fn rank(&self) -> (bool, usize) {
        (self.judged, self.position)
    }
}

/// A reading position. Space and comments are skipped before every token but inside no mnemonic.
pub struct Cursor<'a> {
    text: &'a str,
    at: usize,
    scope: &'a Scope,
    /// The operand that is asked for next is an optional one that is absent.
    absent: bool,
}

/// Whether a name may hold this character.
pub(crate) fn in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$'
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str, at: usize, scope: &'a Scope) -> Self {
        Self { text, at, scope, absent: false }
    }

    /// A second cursor here, to try with.
    pub(crate) fn fork(&self) -> Cursor<'a> {
        Cursor { absent: false, ..*self }
    }

    /// A comment to the end of its line, if one comes next: its text after `//` and one space.
    pub(crate) fn comment(&mut self) -> Option<String> {
        self.skip_blocks();
        let line = self.rest().strip_prefix("//")?;
        let line = line.split('\n').next().unwrap_or("");
        self.advance(2 + line.len());
        Some(line.strip_prefix(' ').unwrap_or(line).trim_end().to_string())
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    /// Skips space and comments in `/* */`: what follows begins a line of the kernel.
    pub(crate) fn skip_blocks(&mut self) {
        loop {
            self.at += self.rest().len() - self.rest().trim_ascii_start().len();
            let Some(comment) = self.rest().strip_prefix("/*") else { return };
            self.advance(2 + comment.find("*/").map_or(comment.len(), |end| end + 2));
        }
    }

    /// Skips space and comments.
    pub(crate) fn skip_space(&mut self) {
        while self.comment().is_some() {}
    }

    /// The byte offset of the next token.
    pub fn position(&mut self) -> usize {
        self.skip_space();
        self.at
    }

    /// The byte offset here.
    pub(crate) fn here(&self) -> usize {
        self.at
    }

    /// The next byte that is neither space nor of a comment.
    pub fn peek(&mut self) -> Option<u8> {
        self.skip_space();
        self.rest().bytes().next()
    }

    /// Whether exactly here, without skipping space, stands `text`.
    pub fn starts_with(&self, text: &str) -> bool {
        self.rest().starts_with(text)
    }

    /// Moves on; callers have seen that the bytes are there.
    pub fn advance(&mut self, bytes: usize) {
        self.at = (self.at + bytes).min(self.text.len());
    }

    /// Takes `token` if it comes next.
    pub fn accept(&mut self, token: &str) -> bool {
        self.skip_space();
        let yes = self.starts_with(token);
        if yes {
            self.advance(token.len());
        }
        yes
    }

    /// Takes the directive or keyword if it comes next, as a whole word.
    pub(crate) fn accept_word(&mut self, word: &str) -> bool {
        self.skip_space();
        let yes = self.rest().strip_prefix(word).is_some_and(|rest| !rest.starts_with(in_name));
        if yes {
            self.advance(word.len());
        }
        yes
    }

    /// Takes `token`, which must come next.
    pub fn expect(&mut self, token: &str) -> Result<(), Fault> {
        if self.accept(token) {
            Ok(())
        } else {
            Err(self.fault(&format!("`{token}` is wanted here")))
        }
    }

    /// A fault here.
    pub fn fault(&mut self, message: &str) -> Fault {
        let position = self.position();
        self.fault_at(position, message)
    }

    /// A fault there.
    pub fn fault_at(&self, position: usize, message: &str) -> Fault {
        Fault { position, message: message.to_string(), judged: false }
    }

    /// What stands here up to space or a semicolon.
    pub(crate) fn mnemonic(&self) -> &'a str {
        let end = |c: char| c.is_ascii_whitespace() || c == ';';
        self.rest().split(end).next().unwrap_or("")
    }

    /// Letters, digits, `_` and `$`, beginning with no digit.
    pub(crate) fn word(&mut self) -> Result<&'a str, Fault> {
        self.skip_space();
        let rest = self.rest();
        let len = rest.find(|c| !in_name(c)).unwrap_or(rest.len());
        if len == 0 || rest.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.fault("a name is wanted here"));
        }
        self.advance(len);
        Ok(&rest[..len])
    }

    /// A word as a name.
    pub fn identifier(&mut self) -> Result<Name, Fault> {
        let start = self.position();
        let word = self.word()?;
        self.name(start, word)
    }

    pub(crate) fn name(&self, start: usize, word: &str) -> Result<Name, Fault> {
        Name::try_new(word)
            .ok_or_else(|| self.fault_at(start, "too many long names: the store for them is full"))
    }

    /// A register's name as it is written, with its `%` if it has one.
    pub(crate) fn register_text(&mut self) -> Result<&'a str, Fault> {
        let start = self.position();
        let percent = self.accept("%") as usize;
        if percent == 1 && !self.rest().starts_with(in_name) {
            return Err(self.fault_at(start, "a name is wanted after `%`"));
        }
        let word = self.word()?;
        Ok(self.text.get(start..start + percent + word.len()).unwrap_or(word))
    }

    /// A declared register.
    pub fn register(&mut self) -> Result<AnyReg, Fault> {
        let start = self.position();
        if !self.rest().starts_with(|c| c == '%' || in_name(c)) {
            return Err(self.fault("an operand is wanted here"));
        }
        let text = self.register_text()?;
        self.scope
            .register(text)
            .ok_or_else(|| self.fault_at(start, &format!("{text} is not declared")))
    }

    /// A special register, if one comes next.
    pub(crate) fn special(&mut self) -> Option<Special> {
        let mut ahead = self.fork();
        if !ahead.starts_with("%") || ahead.register().is_ok() {
            return None;
        }
        let mut ahead = self.fork();
        let special = Special::parse(&mut ahead).ok()?;
        if ahead.rest().starts_with(in_name) {
            return None;
        }
        *self = ahead;
        Some(special)
    }

    /// An array in shared memory, or a parameter, if its name comes next.
    pub(crate) fn symbol(&mut self) -> Result<Option<Name>, Fault> {
        let mut ahead = self.fork();
        let Ok(word) = ahead.word() else { return Ok(None) };
        if self.scope.register(word).is_some() {
            return Ok(None);
        }
        let symbol = self.scope.symbol(word);
        if symbol.is_some() {
            *self = ahead;
        }
        Ok(symbol)
    }

    pub(crate) fn is_param(&self, name: Name) -> bool {
        self.scope.params.contains(&name)
    }

    /// What the kernel calls the label of this name.
    pub(crate) fn label(&self, name: Name) -> Option<Name> {
        self.scope.label(name.as_str())
    }

    /// `_` by itself, or an optional operand that is absent.
    pub(crate) fn sink(&mut self) -> bool {
        std::mem::take(&mut self.absent) || self.accept_word("_")
    }

    /// Bytes after the base of an address: `+16`, `+-16` or `-16`.
    pub(crate) fn offset(&mut self) -> Result<i32, Fault> {
        if self.accept("+") || self.peek() == Some(b'-') {
            return self.integer(i32::MIN as i128, i32::MAX as i128).map(|v| v as i32);
        }
        Ok(0)
    }

    /// An integer, or the bits of a float.
    pub(crate) fn constant(&mut self) -> Result<Arg, Fault> {
        if let Some(bits) = self.float_bits(["0f", "0F"], 8)? {
            return Ok(Arg::F32(bits as u32));
        }
        if let Some(bits) = self.float_bits(["0d", "0D"], 16)? {
            return Ok(Arg::F64(bits));
        }
        self.integer(i64::MIN as i128, u64::MAX as i128).map(Arg::Int)
    }

    fn float_bits(&mut self, prefixes: [&str; 2], digits: usize) -> Result<Option<u64>, Fault> {
        let start = self.position();
        let Some(rest) = prefixes.iter().find_map(|p| self.rest().strip_prefix(p)) else {
            return Ok(None);
        };
        let len = rest.find(|c| !in_name(c)).unwrap_or(rest.len());
        let bits = u64::from_str_radix(&rest[..len], 16).ok().filter(|_| len == digits);
        let message = || format!("a float is wanted here: {} and {digits} digits", prefixes[0]);
        let bits = bits.ok_or_else(|| self.fault_at(start, &message()))?;
        self.advance(2 + len);
        Ok(Some(bits))
    }

    /// An integer within `min..=max`, as its 64 bits: decimal, `0x`, `0b` or octal, with or without
    /// the `U` of unsigned ones (manual, 4.5.1).
    pub fn integer(&mut self, min: i128, max: i128) -> Result<i64, Fault> {
        let start = self.position();
        let negative = self.accept("-");
        self.skip_space();
        let rest = self.rest();
        let len = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let digits = rest[..len].strip_suffix('U').unwrap_or(&rest[..len]);
        let (digits, radix) = match digits.get(..2) {
            Some("0x" | "0X") => (&digits[2..], 16),
            Some("0b" | "0B") => (&digits[2..], 2),
            Some(octal) if octal.starts_with('0') => (&digits[1..], 8),
            _ => (digits, 10),
        };
        let Ok(magnitude) = i128::from_str_radix(digits, radix) else {
            return Err(self.fault_at(start, "an integer is wanted here"));
        };
        let value = if negative { -magnitude } else { magnitude };
        if value < min || value > max {
            return Err(self.fault_at(start, &format!("{value} lies outside {min}..={max}")));
        }
        self.advance(len);
        Ok(value as i64)
    }

    /// The number after `prefix`, both exactly here.
    pub(crate) fn digits_after(&mut self, prefix: &str) -> Option<u16> {
        let rest = self.rest().strip_prefix(prefix)?;
        let len = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let digits = rest.get(..len).filter(|d| !d.starts_with('0'))?;
        let value = digits.parse().ok()?;
        self.advance(prefix.len() + len);
        Some(value)
    }

    /// A text in quotes, without quotes or line breaks in it.
    pub(crate) fn quoted(&mut self) -> Result<String, Fault> {
        let start = self.position();
        let text = self.rest().strip_prefix('"').and_then(|rest| rest.split_once('"'));
        match text {
            Some((text, _)) if !text.contains(['\n', '\\']) => {
                self.advance(2 + text.len());
                Ok(text.to_string())
            }
            _ => Err(self.fault_at(start, "a text in quotes is wanted here")),
        }
    }

    /// Matches a row's template from here, handing each `{operand}` to `operand`.
    pub(crate) fn template(
        &mut self,
        template: &'static str,
        mut operand: impl FnMut(&mut Self, &'static str) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut rest = template;
        let mut in_mnemonic = true;
        let mut unsaid: Vec<&str> = Vec::new();
        while !rest.is_empty() {
            if let Some((name, after)) = rest.strip_prefix('{').and_then(|r| r.split_once('}')) {
                rest = after;
                let name = match (name.strip_prefix('|'), name.split_once('?')) {
                    (Some(name), _) => {
                        self.absent = !self.accept("|");
                        name
                    }
                    (_, Some((modifier, name))) => {
                        self.absent = unsaid.contains(&modifier);
                        if !self.absent {
                            self.expect(",")?;
                        }
                        name
                    }
                    _ => name,
                };
                if !in_mnemonic {
                    self.skip_space();
                }
                let start = self.at;
                operand(self, name)?;
                if in_mnemonic && self.at == start {
                    unsaid.push(name);
                }
                continue;
            }
            let (literal, after) = rest.split_at(rest.find('{').unwrap_or(rest.len()));
            rest = after;
            for c in literal.chars() {
                if c == ' ' {
                    in_mnemonic = false;
                    self.skip_space();
                    continue;
                }
                if !in_mnemonic {
                    self.skip_space();
                }
                if !self.starts_with(c.encode_utf8(&mut [0; 4])) {
                    return Err(self.fault(&format!("`{c}` is wanted here")));
                }
                self.advance(c.len_utf8());
            }
        }
        Ok(())
    }
}
