//! Reading position in a text, and the names that are in scope there.

use crate::reg::{Kind, MAX_NAME, Name};
use std::collections::HashMap;

/// What is wrong, and where (a byte offset).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub(crate) position: usize,
    pub(crate) message: String,
}

/// What the declarations of a kernel have named.
#[derive(Default)]
pub(crate) struct Scope {
    /// Role to class and, for arrays, count.
    pub registers: HashMap<Name, (Kind, Option<u16>)>,
    pub params: Vec<Name>,
    pub symbol: Option<Name>,
    pub labels: Vec<Name>,
}

/// A reading position. Whitespace is skipped before every token but inside no mnemonic.
pub struct Cursor<'a> {
    text: &'a str,
    at: usize,
    scope: &'a Scope,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str, at: usize, scope: &'a Scope) -> Self {
        Self { text, at, scope }
    }

    /// A second cursor here, to try with.
    pub(crate) fn fork(&self) -> Cursor<'a> {
        Cursor { text: self.text, at: self.at, scope: self.scope }
    }

    /// A comment, if one comes next: its text after `//` and one space.
    pub(crate) fn comment(&mut self) -> Option<String> {
        self.skip_space();
        let line = self.rest().strip_prefix("//")?;
        let line = line.split('\n').next().unwrap_or("");
        self.advance(2 + line.len());
        Some(line.strip_prefix(' ').unwrap_or(line).trim_end().to_string())
    }

    /// A name of any length.
    pub(crate) fn identifier_text(&mut self) -> Result<String, Fault> {
        self.word().map(str::to_string)
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    pub(crate) fn skip_space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_ascii_start().len();
    }

    /// The byte offset of the next token.
    pub fn position(&mut self) -> usize {
        self.skip_space();
        self.at
    }

    /// The next byte that is not whitespace.
    pub fn peek(&mut self) -> Option<u8> {
        self.skip_space();
        self.rest().bytes().next()
    }

    /// Whether exactly here, without skipping whitespace, stands `text`.
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
        Fault { position, message: message.to_string() }
    }

    /// Letters, digits, `_` and `$`, beginning with no digit; at most [`MAX_NAME`] of them.
    pub fn identifier(&mut self) -> Result<Name, Fault> {
        let start = self.position();
        let word = self.word()?;
        if word.len() > MAX_NAME {
            let message = format!("a name of {} bytes; at most {MAX_NAME} are known", word.len());
            return Err(self.fault_at(start, &message));
        }
        Ok(Name::new(word))
    }

    fn word(&mut self) -> Result<&'a str, Fault> {
        self.skip_space();
        let rest = self.rest();
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
        let len = rest.find(|c| !word(c)).unwrap_or(rest.len());
        if len == 0 || rest.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.fault("a name is wanted here"));
        }
        self.advance(len);
        Ok(&rest[..len])
    }

    /// A declared register of this class: its role, and its index if the role is an array.
    pub fn register(&mut self, kind: Kind) -> Result<(Name, Option<u16>), Fault> {
        let start = self.position();
        self.expect("%")?;
        let name = self.identifier()?;
        let (role, index) = match self.scope.registers.get(&name) {
            Some((_, None)) => (name, None),
            _ => self.array_element(start, name)?,
        };
        let found = self.scope.registers.get(&role).map(|(k, _)| *k);
        if found != Some(kind) {
            let have = found.map_or("", Kind::directive);
            let want = kind.directive();
            return Err(self.fault_at(start, &format!("%{name} is {have}, {want} is wanted here")));
        }
        Ok((role, index))
    }

    fn array_element(&self, start: usize, name: Name) -> Result<(Name, Option<u16>), Fault> {
        let text = name.as_str();
        let undeclared = || self.fault_at(start, &format!("%{name} is not declared"));
        let stem = text.trim_end_matches(|c: char| c.is_ascii_digit());
        let digits = &text[stem.len()..];
        let role = Name::new(stem);
        let Some((_, Some(count))) = self.scope.registers.get(&role) else {
            return Err(undeclared());
        };
        match digits.parse::<u16>() {
            Ok(i) if i < *count && (digits == "0" || !digits.starts_with('0')) => {
                Ok((role, Some(i)))
            }
            _ => Err(undeclared()),
        }
    }

    /// A decimal or `0x` integer within `min..=max`.
    pub fn integer(&mut self, min: i128, max: i128) -> Result<i64, Fault> {
        let start = self.position();
        let negative = self.accept("-");
        let rest = self.rest();
        let len = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let digits = &rest[..len];
        let magnitude = match digits.strip_prefix("0x") {
            Some(hex) => i128::from_str_radix(hex, 16),
            None => digits.parse(),
        };
        let value = magnitude
            .ok()
            .filter(|_| !digits.contains(['+', '-']))
            .map(|v: i128| if negative { -v } else { v });
        let Some(value) = value else {
            return Err(self.fault_at(start, "an integer is wanted here"));
        };
        if value < min || value > max {
            return Err(self.fault_at(start, &format!("{value} lies outside {min}..={max}")));
        }
        self.advance(len);
        i64::try_from(value)
            .map_err(|_| self.fault_at(start, "an integer of 64 bits is wanted here"))
    }

    /// The bits of an f32 constant, `0f` and eight hexadecimal digits.
    pub fn f32_bits(&mut self) -> Result<u32, Fault> {
        let start = self.position();
        let digits = self.rest().strip_prefix("0f").and_then(|r| r.get(..8));
        let bits = digits
            .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|d| u32::from_str_radix(d, 16).ok());
        match bits {
            Some(bits) => {
                self.advance(10);
                Ok(bits)
            }
            None => Err(self.fault_at(start, "an f32 is wanted here: 0f and eight hex digits")),
        }
    }

    pub(crate) fn has_label(&self, name: Name) -> bool {
        self.scope.labels.contains(&name)
    }
    pub(crate) fn has_param(&self, name: Name) -> bool {
        self.scope.params.contains(&name)
    }
    pub(crate) fn has_symbol(&self, name: Name) -> bool {
        self.scope.symbol == Some(name)
    }

    /// Matches a row's template from here, handing each `{operand}` to `operand`.
    pub(crate) fn template(
        &mut self,
        template: &'static str,
        mut operand: impl FnMut(&mut Self, &'static str) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut rest = template;
        let mut in_mnemonic = true;
        while !rest.is_empty() {
            if let Some((name, after)) = rest.strip_prefix('{').and_then(|r| r.split_once('}')) {
                operand(self, name)?;
                rest = after;
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
