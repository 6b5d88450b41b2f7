//! Sums, products and their rounding (ISA 9.7.3, 9.7.4), against exact integers.

use super::reference::{BF16, F16, F32, Format};
use super::*;

const TYPES: [(&str, char, Format); 3] =
    [("f16", 'h', F16), ("bf16", 'h', BF16), ("f32", 'f', F32)];

/// A number whose exponent is near that of one; of f16 any finite one.
fn number(format: Format, random: &mut Random) -> u64 {
    let sign = random.below(2) << (format.bits() - 1);
    let fraction = random.next() & ((1 << format.fraction) - 1);
    // often few bits, so that ties come
    let fraction =
        if random.below(2) == 0 { fraction } else { fraction & !0 << (format.fraction - 3) };
    let exponent = match format.exponent {
        5 => random.below(31),
        _ => 127 - 8 + random.below(17),
    };
    sign | exponent << format.fraction | fraction
}

#[test]
fn sums_and_products_are_rounded_once() {
    let mut random = Random(11);
    for (ty, r, format) in TYPES {
        let [add, sub, mul] =
            ["add", "sub", "mul"].map(|op| row(&format!("{op}.{ty} %{r}0, %{r}1, %{r}2")));
        let fma = row(&format!("fma.rn.{ty} %{r}0, %{r}1, %{r}2, %{r}3"));
        let scale = format.scale();
        let mut asked = 0;
        for _ in 0..30_000 {
            let bits = [(); 3].map(|()| number(format, &mut random));
            let [a, b, c] = bits.map(|x| format.units(x));
            let cases = [
                (&add, (a + b) << scale),
                (&sub, (a - b) << scale),
                (&mul, a * b),
                (&fma, a * b + (c << scale)),
            ];
            for (row, exact) in cases {
                // what is zero has its sign from elsewhere
                if exact == 0 || exact.abs() >> scale < format.least() {
                    continue;
                }
                row.gives(&bits[..if row.text.starts_with("fma") { 3 } else { 2 }], {
                    format.round(exact, scale, 'n')
                });
                asked += 1;
            }
        }
        assert!(asked > 80_000, "{asked}");
    }
}

/// Where rounding to f64 first goes wrong: a · b is half way, and c says which way.
#[test]
fn a_tie_is_broken_by_what_f64_does_not_hold() {
    // bf16: 3 · 107 = 321 needs 9 bits; c = ±2^-100
    let [three, many, tiny] = [0x4040, 0x42D6, (127 - 100) << 7];
    check("fma.rn.bf16 %h0, %h1, %h2, %h3", &[three, many, 0], 0x43A0);
    check("fma.rn.bf16 %h0, %h1, %h2, %h3", &[three, many, tiny], 0x43A1);
    check("fma.rn.bf16 %h0, %h1, %h2, %h3", &[three, many, tiny | 0x8000], 0x43A0);
    // f32: (2^12 + 1)² = 2^24 + 2^13 + 1 needs 25 bits
    let a = f(4097.0);
    check("fma.rn.f32 %f0, %f1, %f2, %f3", &[a, a, f(0.0)], f(16_785_408.0));
    check("fma.rn.f32 %f0, %f1, %f2, %f3", &[a, a, f(1e-30)], f(16_785_410.0));
    check("fma.rn.f32 %f0, %f1, %f2, %f3", &[a, a, f(-1e-30)], f(16_785_408.0));
    // 4097² itself is rounded before a sum, if it is a product alone
    check("mul.f32 %f0, %f1, %f2", &[a, a], f(16_785_408.0));
    let a = g(134_217_729.0); // 2^27 + 1
    check("fma.rn.f64 %g0, %g1, %g2, %g3", &[a, a, g(-18_014_398_777_917_440.0)], g(1.0));
}

/// f32 and f64 are Rust's, which are IEEE 754's, subnormal numbers and all.
#[test]
fn singles_and_doubles_are_of_ieee() {
    let mut random = Random(5);
    type Ops = (&'static str, fn(f32, f32) -> f32, fn(f64, f64) -> f64);
    let ops: [Ops; 4] = [
        ("add", |a, b| a + b, |a, b| a + b),
        ("sub", |a, b| a - b, |a, b| a - b),
        ("mul", |a, b| a * b, |a, b| a * b),
        ("div.rn", |a, b| a / b, |a, b| a / b),
    ];
    for (op, single, double) in ops {
        let [s, d] = [("f32", 'f'), ("f64", 'g')]
            .map(|(ty, r)| row(&format!("{op}.{ty} %{r}0, %{r}1, %{r}2")));
        for _ in 0..20_000 {
            let [a, b] = [(); 2].map(|()| random.next());
            // subnormal numbers, too
            let [a, b] = if random.below(8) == 0 { [a & 0x80FF_FFFF, b] } else { [a, b] };
            let want = single(f32::from_bits(a as u32), f32::from_bits(b as u32));
            let have = s.call(&[a, b]);
            assert!(have == f(want) || want.is_nan() && have == 0x7FFF_FFFF, "{op} {a:x} {b:x}");
            let want = double(f64::from_bits(a), f64::from_bits(b));
            let have = f64::from_bits(d.call(&[a, b]));
            assert!(have.to_bits() == want.to_bits() || have.is_nan() && want.is_nan());
        }
    }
    let fma = row("fma.rn.f32 %f0, %f1, %f2, %f3");
    let [sqrt, rcp] = ["sqrt", "rcp"].map(|op| row(&format!("{op}.rn.f32 %f0, %f1")));
    for _ in 0..20_000 {
        let bits = [(); 3].map(|()| cut(32, random.next()));
        let [a, b, c] = bits.map(|x| f32::from_bits(x as u32));
        for (row, want) in [(&fma, a.mul_add(b, c)), (&sqrt, a.sqrt()), (&rcp, 1.0 / a)] {
            let count = if row.text.starts_with("fma") { 3 } else { 1 };
            row.gives(&bits[..count], if want.is_nan() { 0x7FFF_FFFF } else { f(want) });
        }
    }
}

/// The approximate functions, at points where they are exact, and their special values.
#[test]
fn functions() {
    let inf = f32::INFINITY;
    for (text, a, want) in [
        ("ex2.approx.f32", 5.0, 32.0),
        ("ex2.approx.f32", -inf, 0.0),
        ("ex2.approx.f32", inf, inf),
        ("lg2.approx.f32", 0.125, -3.0),
        ("lg2.approx.f32", 0.0, -inf),
        ("rsqrt.approx.f32", 16.0, 0.25),
        ("rsqrt.approx.f32", -0.0, -inf),
        ("rsqrt.approx.f32", inf, 0.0),
        ("rcp.approx.f32", -0.0, -inf),
        ("sqrt.approx.f32", 2.25, 1.5),
        ("sqrt.approx.f32", -0.0, -0.0),
        ("sin.approx.f32", -0.0, -0.0),
        ("cos.approx.f32", 0.0, 1.0),
        ("tanh.approx.f32", inf, 1.0),
        ("tanh.approx.f32", -0.0, -0.0),
    ] {
        check(&format!("{text} %f0, %f1"), &[f(a)], f(want));
    }
    for text in ["lg2.approx.f32", "rsqrt.approx.f32", "sqrt.approx.f32"] {
        check(&format!("{text} %f0, %f1"), &[f(-1.0)], 0x7FFF_FFFF);
    }
    check("ex2.approx.f16x2 %r0, %r1", &[0x4000_3C00], 0x4400_4000);
    check("tanh.approx.bf16 %h0, %h1", &[0], 0);
    // 9.7.3.8: a divisor beyond 2^126 is as good as infinite
    let far = f32::from_bits(0x7E80_0001);
    for (a, b, approx, full) in [
        (3.0, 2.0, f(1.5), f(1.5)),
        (1e38, far, 0, f(1e38 / far)),
        (-1e38, far, f(-0.0), f(-1e38 / far)),
        (inf, far, 0x7FFF_FFFF, f(inf)),
        (1e38, f32::from_bits(0x7E80_0000), f(1e38 / 8.507_059e37), f(1e38 / 8.507_059e37)),
        (1.0, inf, 0, 0),
    ] {
        check("div.approx.f32 %f0, %f1, %f2", &[f(a), f(b)], approx);
        check("div.full.f32 %f0, %f1, %f2", &[f(a), f(b)], full);
    }
}
