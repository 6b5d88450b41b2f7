//! One warp, instruction by instruction: where, which lanes, and what they wrote.

use crate::args::WarpAt;
use crate::value::{Type, short};
use quickpick_emulator::Event;
use std::io::{self, ErrorKind, Write};

/// Lanes that are shown where they differ.
const SHOWN: usize = 4;

/// Writes the events of one warp.
pub struct Trace<'a> {
    at: WarpAt,
    out: &'a mut dyn Write,
    done: io::Result<()>,
}

impl<'a> Trace<'a> {
    pub fn new(at: WarpAt, out: &'a mut dyn Write) -> Self {
        Self { at, out, done: Ok(()) }
    }

    /// Shows an event, if it is the warp's.
    pub fn event(&mut self, event: &Event<'_>) {
        if event.block != self.at.block || event.warp != self.at.warp || self.done.is_err() {
            return;
        }
        self.done = self.out.write_all(shown(event).as_bytes());
        if self.done.as_ref().is_err_and(|error| error.kind() == ErrorKind::BrokenPipe) {
            // nobody reads on, and the rest of the run may be long
            std::process::exit(0);
        }
    }

    /// Whether everything could be written.
    pub fn end(self) -> io::Result<()> {
        self.done
    }
}

fn shown(event: &Event<'_>) -> String {
    let lanes = match event.lanes {
        u32::MAX => "all lanes".to_string(),
        0 => "no lane".to_string(),
        some => format!("{some:#010x}"),
    };
    let mut text = format!("{:>6}  {lanes:<10}  {}\n", event.site.line, event.site.text);
    let ty = of(&event.site.text);
    for (name, values) in event.wrote {
        let here = values.iter().enumerate().filter(|(lane, _)| event.lanes >> lane & 1 == 1);
        let here: Vec<_> = here.map(|(_, value)| *value).collect();
        if here.is_empty() {
            continue;
        }
        let one = here.iter().all(|value| value == &here[0]);
        let count = if one { 1 } else { SHOWN };
        let list: Vec<_> = here.iter().take(count).map(|value| number(*value, ty)).collect();
        let more = if !one && here.len() > SHOWN { ", …" } else { "" };
        text += &format!("{:>20}{name} = {}{more}\n", "", list.join(", "));
    }
    text
}

/// The type of what an instruction writes, by its text: the first that it names, but `cvt` names the
/// result's last but one, and a comparison's result is a truth.
fn of(text: &str) -> Option<Type> {
    let operation = text.split_whitespace().find(|word| !word.starts_with('@'))?;
    let words: Vec<_> = operation.trim_end_matches(';').split('.').collect();
    match words[..] {
        ["setp" | "testp", ..] => None,
        ["cvt", .., to, _] => Type::named(to),
        _ => words.iter().skip(1).find_map(|word| Type::named(word)),
    }
}

/// Floats as such; other numbers in decimal as long as they are short.
fn number(value: Option<u64>, ty: Option<Type>) -> String {
    match (value, ty) {
        (None, _) => "unwritten".into(),
        (Some(bits), Some(ty)) if ty.is_float() => short(ty.decode(&bits.to_le_bytes())),
        (Some(bits), _) if bits < 1 << 16 => bits.to_string(),
        (Some(bits), _) => format!("{bits:#x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickpick_emulator::Site;

    fn event<'a>(text: &str, lanes: u32, wrote: &'a [(&'a str, [Option<u64>; 32])]) -> Event<'a> {
        Event { block: [0; 3], warp: 0, site: Site { line: 12, text: text.into() }, lanes, wrote }
    }

    #[test]
    fn registers_are_shown_once_where_lanes_agree() {
        let agree = [("%a", [Some(7); 32])];
        let text = shown(&event("mov.b32 %a, 7;", u32::MAX, &agree));
        assert!(text.contains("all lanes") && text.ends_with("%a = 7\n"), "{text}");
        let differ = [("%a", std::array::from_fn(|lane| Some(0x10000 * lane as u64)))];
        let text = shown(&event("@%p mov.b32 %a, %b;", u32::MAX << 1, &differ));
        assert!(text.contains("0xfffffffe"), "{text}");
        assert!(text.ends_with("%a = 0x10000, 0x20000, 0x30000, 0x40000, …\n"), "{text}");
        assert!(!shown(&event("mov.b32 %a, 7;", 0, &agree)).contains('='));
    }

    #[test]
    fn floats_are_shown_as_such() {
        let one = [("%f", [Some(u64::from(1f32.to_bits())); 32])];
        assert!(shown(&event("add.rn.f32 %f, %f, %g;", 1, &one)).contains("%f = 1.00000"));
        assert!(shown(&event("setp.lt.f32 %f, %f, %g;", 1, &one)).contains("%f = 0x3f800000"));
        assert!(shown(&event("mov.b32 %f, %g;", 1, &one)).contains("%f = 0x3f800000"));
        // two halves in a register are not a float
        assert!(shown(&event("cvt.rn.f16x2.f32 %f, %g, %g;", 1, &one)).contains("%f = 0x3f800000"));
        let half = [("%h", [Some(0x3C00); 32])];
        assert!(shown(&event("cvt.rn.f16.f32 %h, %f;", 1, &half)).contains("%h = 1.00000"));
    }

    #[test]
    fn another_warp_is_not_shown() {
        let mut out = Vec::new();
        let mut trace = Trace::new(WarpAt { block: [0; 3], warp: 1 }, &mut out);
        trace.event(&event("ret;", 1, &[]));
        assert!(trace.end().is_ok() && out.is_empty());
    }
}
