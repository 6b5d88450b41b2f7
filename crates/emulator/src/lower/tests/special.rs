//! NaN, zeros, subnormal numbers and clamps; pairs are two of their kind (ISA 9.7.3, 9.7.4).

use super::*;

/// Subnormal, −0, 1, infinities, NaN of a type, as bits.
struct Special {
    ty: &'static str,
    reg: char,
    subnormal: u64,
    normal: u64,
    one: u64,
    infinity: u64,
    nan: u64,
    sign: u64,
}

const SPECIALS: [Special; 4] = [
    Special {
        ty: "f16",
        reg: 'h',
        subnormal: 0x3FF,
        normal: 0x400,
        one: 0x3C00,
        infinity: 0x7C00,
        nan: 0x7FFF,
        sign: 1 << 15,
    },
    Special {
        ty: "bf16",
        reg: 'h',
        subnormal: 0x7F,
        normal: 0x80,
        one: 0x3F80,
        infinity: 0x7F80,
        nan: 0x7FFF,
        sign: 1 << 15,
    },
    Special {
        ty: "f32",
        reg: 'f',
        subnormal: 0x7F_FFFF,
        normal: 0x80_0000,
        one: 0x3F80_0000,
        infinity: 0x7F80_0000,
        nan: 0x7FFF_FFFF,
        sign: 1 << 31,
    },
    Special {
        ty: "f64",
        reg: 'g',
        subnormal: (1 << 52) - 1,
        normal: 1 << 52,
        one: 0x3FF << 52,
        infinity: 0x7FF << 52,
        nan: u64::MAX >> 1,
        sign: 1 << 63,
    },
];

impl Special {
    /// All that are ordered, from the least on: −0 is below +0.
    fn ladder(&self) -> Vec<u64> {
        let up = [
            0,
            1,
            self.subnormal,
            self.normal,
            self.one,
            self.one + 1,
            self.infinity - 1,
            self.infinity,
        ];
        up.iter().rev().map(|x| x | self.sign).chain(up).collect()
    }

    fn is_nan(&self, bits: u64) -> bool {
        bits & !self.sign > self.infinity
    }
}

#[test]
fn the_lesser_and_the_greater() {
    for s in &SPECIALS {
        let (ty, r) = (s.ty, s.reg);
        let [min, max] = ["min", "max"].map(|op| row(&format!("{op}.{ty} %{r}0, %{r}1, %{r}2")));
        let ladder = s.ladder();
        for (i, a) in ladder.iter().enumerate() {
            for (j, b) in ladder.iter().enumerate() {
                min.gives(&[*a, *b], ladder[i.min(j)]);
                max.gives(&[*a, *b], ladder[i.max(j)]);
            }
            for nan in [s.nan, s.infinity | 1, s.nan | s.sign] {
                for row in [&min, &max] {
                    row.gives(&[*a, nan], *a);
                    row.gives(&[nan, *a], *a);
                    assert!(s.is_nan(row.call(&[nan, s.nan])));
                }
            }
        }
        if ty == "f64" {
            continue;
        }
        let [min, max] =
            ["min", "max"].map(|op| row(&format!("{op}.NaN.{ty} %{r}0, %{r}1, %{r}2")));
        for a in &ladder {
            min.gives(&[*a, s.infinity], *a);
            max.gives(&[*a, s.infinity | s.sign], *a);
            for row in [&min, &max] {
                row.gives(&[*a, s.infinity | 1], s.nan);
                row.gives(&[s.nan | s.sign, *a], s.nan);
            }
        }
    }
}

#[test]
fn signs_alone() {
    for s in &SPECIALS {
        let (ty, r) = (s.ty, s.reg);
        let [neg, abs] = ["neg", "abs"].map(|op| row(&format!("{op}.{ty} %{r}0, %{r}1")));
        for a in s.ladder().into_iter().chain([s.nan]) {
            neg.gives(&[a], a ^ s.sign);
            abs.gives(&[a], a & !s.sign);
        }
        if s.reg != 'h' {
            let copysign = row(&format!("copysign.{ty} %{r}0, %{r}1, %{r}2"));
            copysign.gives(&[s.sign, s.one], s.one | s.sign);
            copysign.gives(&[s.one, s.infinity | s.sign], s.infinity);
        }
    }
    check("neg.f16x2 %r0, %r1", &[0x3C00_BC00], 0xBC00_3C00);
    check("abs.bf16x2 %r0, %r1", &[0xBF80_8000], 0x3F80_0000);
}

/// `.ftz`: subnormal inputs and results are the zero of their sign.
#[test]
fn subnormal_numbers_are_flushed() {
    for s in &SPECIALS[..3] {
        if s.ty == "bf16" {
            continue;
        }
        let (ty, r) = (s.ty, s.reg);
        let text = |op: &str| row(&format!("{op}.ftz.{ty} %{r}0, %{r}1, %{r}2"));
        let [add, sub, mul, min] = ["add", "sub", "mul", "min"].map(text);
        add.gives(&[s.subnormal, s.subnormal | s.sign], 0);
        add.gives(&[s.subnormal | s.sign, s.sign], s.sign);
        add.gives(&[s.subnormal, s.normal], s.normal);
        sub.gives(&[s.normal + 1, s.normal], 0);
        sub.gives(&[s.normal, s.normal + 1], s.sign);
        mul.gives(&[s.subnormal, s.infinity], s.nan);
        // half of the least normal number
        mul.gives(&[s.normal | s.sign, s.one - s.normal], s.sign);
        min.gives(&[s.subnormal | s.sign, s.one], s.sign);
        let [neg, abs] = ["neg", "abs"].map(|op| row(&format!("{op}.ftz.{ty} %{r}0, %{r}1")));
        neg.gives(&[s.subnormal], s.sign);
        neg.gives(&[s.normal], s.normal | s.sign);
        abs.gives(&[s.subnormal | s.sign], 0);
        let fma = row(&format!("fma.rn.ftz.{ty} %{r}0, %{r}1, %{r}2, %{r}3"));
        fma.gives(&[s.one, s.subnormal, s.sign], 0);
        let lt = row(&format!("setp.lt.ftz.{ty} %p0, %{r}1, %{r}2"));
        lt.gives(&[0, s.subnormal], 0);
        lt.gives(&[0, s.normal], 1);
        // without it they are numbers
        let keep = row(&format!("add.{ty} %{r}0, %{r}1, %{r}2"));
        keep.gives(&[s.subnormal, 1], s.normal);
    }
    check("neg.ftz.f16x2 %r0, %r1", &[0x0001_3C00], 0x8000_BC00);
    check("ex2.approx.ftz.f32 %f0, %f1", &[f(-127.0)], 0);
    check("ex2.approx.f32 %f0, %f1", &[f(-127.0)], 1 << 22);
}

/// `.sat`: into 0..=1, NaN to +0. `.relu`: what is negative is 0, NaN is canonical.
#[test]
fn clamped_results() {
    for s in SPECIALS.iter().filter(|s| s.ty == "f16" || s.ty == "f32") {
        let (ty, r) = (s.ty, s.reg);
        let add = row(&format!("add.sat.{ty} %{r}0, %{r}1, %{r}2"));
        let fma = row(&format!("fma.rn.sat.{ty} %{r}0, %{r}1, %{r}2, %{r}3"));
        for a in s.ladder() {
            let want = if a >= s.sign { 0 } else { a.min(s.one) };
            add.gives(&[a, s.sign], want);
            fma.gives(&[s.one, a, s.sign], want);
        }
        add.gives(&[s.infinity, s.infinity | s.sign], 0);
        fma.gives(&[s.nan, s.one, s.one], 0);
    }
    for s in &SPECIALS[..2] {
        let fma = row(&format!("fma.rn.relu.{} %h0, %h1, %h2, %h3", s.ty));
        for a in s.ladder() {
            if a != s.sign {
                fma.gives(&[s.one, a, 0], if a > s.sign { 0 } else { a });
            }
        }
        fma.gives(&[s.infinity | 1, s.one, s.one], s.nan);
    }
}

/// A pair is two numbers: each half of the result is that of the halves alone.
#[test]
fn halves_of_pairs_are_apart() {
    let mut random = Random(9);
    let ops = ["add", "sub", "mul", "min", "max", "min.NaN", "max.NaN", "fma.rn", "fma.rn.relu"];
    let unary = ["neg", "abs", "tanh.approx"];
    for ty in ["f16", "bf16"] {
        for op in ops.into_iter().chain(unary) {
            let sources = match op {
                _ if op.starts_with("fma") => 3,
                _ if unary.contains(&op) => 1,
                _ => 2,
            };
            let list = |r| (0..=sources).map(|i| format!("%{r}{i}")).collect::<Vec<_>>().join(", ");
            let one = row(&format!("{op}.{ty} {}", list('h')));
            let two = row(&format!("{op}.{ty}x2 {}", list('r')));
            for _ in 0..3000 {
                let pairs: Vec<_> = (0..sources).map(|_| cut(32, random.next())).collect();
                let low: Vec<_> = pairs.iter().map(|x| x & 0xFFFF).collect();
                let high: Vec<_> = pairs.iter().map(|x| x >> 16).collect();
                two.gives(&pairs, one.call(&low) | one.call(&high) << 16);
            }
        }
    }
}
