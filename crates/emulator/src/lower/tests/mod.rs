//! What instructions compute, from their text on, against the manual's formulas written once more.

mod bits;
mod compare;
mod convert;
mod float;
mod integer;
mod reference;
mod special;

use super::integer::cut;
use crate::code::{Op, Src};
use crate::program::Program;

/// One instruction, parsed and lowered.
struct Row {
    text: String,
    program: Program,
}

/// The instruction of a text; registers are %p, %h, %r, %d, %f, %g of 1, 16, 32, 64 bits, f32, f64.
fn try_row(text: &str) -> Result<Row, String> {
    let module = format!(
        ".version 9.0\n.target sm_100a\n.address_size 64\n.visible .entry k()\n{{\n\
         .reg .pred %p<5>;\n.reg .b16 %h<5>;\n.reg .b32 %r<5>;\n.reg .b64 %d<5>;\n\
         .reg .f32 %f<5>;\n.reg .f64 %g<5>;\n{text};\nret;\n}}\n"
    );
    let program = Program::parse(&module).map_err(|e| e.to_string())?;
    Ok(Row { text: text.to_string(), program })
}

#[track_caller]
fn row(text: &str) -> Row {
    try_row(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

impl Row {
    /// What the destination holds, of sources in their order; constants are not among them.
    fn call(&self, values: &[u64]) -> u64 {
        let mask = |slot: usize| self.program.slots[slot].mask;
        let mut values = values.iter();
        let mut take = |src: &Src| match src {
            Src::Slot(slot) => values.next().expect("a value for each register") & mask(*slot),
            Src::Const(value) => *value,
        };
        let (d, value) = match &self.program.code[0].op {
            Op::Unary { f, d, a } => (*d, f(take(a))),
            Op::Binary { f, d, a, b } => (*d, f(take(a), take(b))),
            Op::Ternary { f, d, a: [a, b, c] } => (*d, f(take(a), take(b), take(c))),
            Op::Quaternary { f, d, a: [a, b, c, e] } => (*d, f(take(a), take(b), take(c), take(e))),
            // of memory's value, b and c
            Op::Atomic { f, size, .. } => {
                let [old, b, c] = std::array::from_fn(|_| values.next().copied().unwrap_or(0));
                return cut(8 * *size as u32, f(old, b, c));
            }
            _ => panic!("{} is no arithmetic", self.text),
        };
        value & mask(d)
    }

    #[track_caller]
    fn gives(&self, values: &[u64], want: u64) {
        let have = self.call(values);
        assert_eq!(have, want, "{} of {values:x?}: {have:#x}, not {want:#x}", self.text);
    }
}

/// One instruction of some sources.
#[track_caller]
fn check(text: &str, values: &[u64], want: u64) {
    row(text).gives(values, want);
}

/// Numbers that repeat from run to run (Knuth's linear congruence).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        let mut half = || {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            self.0 >> 32
        };
        half() << 32 | half()
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// Patterns at the edges of so many bits, and some between.
fn edges(bits: u32) -> Vec<u64> {
    let top = 1u64 << (bits - 1);
    let mut all = vec![0, 1, 2, 3, 7, 31, 32, 33, top - 1, top, top + 1, !0, !1, !2, !0 << 4];
    let mut random = Random(u64::from(bits));
    all.extend((0..8).map(|_| random.next()));
    all.into_iter().map(|x| cut(bits, x)).collect()
}

/// The number that the low bits are.
fn signed(bits: u32, x: u64) -> i128 {
    let x = i128::from(cut(bits, x));
    if x >> (bits - 1) == 1 { x - (1i128 << bits) } else { x }
}

/// The register of so many bits.
fn letter(bits: u32) -> char {
    match bits {
        16 => 'h',
        32 => 'r',
        _ => 'd',
    }
}

fn f(x: f32) -> u64 {
    u64::from(x.to_bits())
}

fn g(x: f64) -> u64 {
    x.to_bits()
}
