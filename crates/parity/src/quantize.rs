//! Cases of [`Quantize`]: rows of every kind, judged by their bytes.

use crate::case::{Case, Expected, Operand};
use crate::data::{Fill, Source, Values, decode};
use crate::shapes::Make;
use quickpick_kernels::{DType, KernelSpec, Problem, Quantize, reference};

/// Kinds of rows.
const KINDS: u32 = 14;

/// Rows around the columns that a block of the PTX kernels keeps, as many as there are kinds; and many short
/// ones, for each has another scale.
pub fn cases(spec: &KernelSpec) -> Vec<(String, Vec<Make>)> {
    let shapes = [
        (1, 32),
        (KINDS, 32),
        (KINDS, 96),
        (KINDS, 1056),
        (KINDS, 4096),
        (3, 4128),
        (2, 12320),
        (300, 64),
    ];
    let out = spec.dtype;
    let list = shapes.into_iter().map(|(n, d)| {
        let cases = [DType::F32, DType::F16, DType::BF16].map(|dtype| -> Make {
            Box::new(move || Case::quantize(Quantize { n, d, dtype, out }, 9))
        });
        (format!("n{n}_d{d}"), cases.into())
    });
    list.collect()
}

/// The largest finite magnitude of a type, its least normal one, and its least.
fn extremes(dtype: DType) -> [f64; 3] {
    let exp2 = |e: i32| 2f64.powi(e);
    match dtype {
        DType::F16 => [65504.0, exp2(-14), exp2(-24)],
        DType::BF16 => [255.0 * exp2(120), exp2(-126), exp2(-133)],
        _ => [f32::MAX.into(), exp2(-126), exp2(-149)],
    }
}

impl Case {
    /// Rows to 8 bits; they are of [`KINDS`] in turn.
    pub fn quantize(p: Quantize, seed: u64) -> Self {
        let mut source = Source::new(Fill::Random, seed);
        let mut x = source.matrix(p.dtype, p.n, p.d).values;
        let [most, normal, least] = extremes(p.dtype);
        for (i, row) in (0..KINDS).cycle().zip(x.chunks_exact_mut(p.d as usize)) {
            let last = row.len() - 1;
            match i {
                // 2 would have the same bits in both 16-bit types
                0 => row[last] = -3.0,
                1 => (0..=last).for_each(|j| row[j] = if j % 2 == 0 { -0.0 } else { 0.0 }),
                2 => (row[last / 2], row[last]) = (f64::INFINITY, -f64::NAN),
                3 => row[last] = f64::INFINITY,
                4 => row[0] = f64::NEG_INFINITY,
                5 => (row[last], row[last / 2]) = (-most, most),
                6 => (0..=last).for_each(|j| row[j] = j as f64 * least - 16.0 * least),
                // the least normal number, and what is less
                7 => (0..=last).for_each(|j| row[j] = normal * (1.0 - j as f64 / last as f64)),
                8 => ties(p.out, row, 1.0),
                // and where the inverse is no power of two, so that most are just beside
                9 => ties(p.out, row, row[0].abs()),
                // one that leaves nothing of the others
                10 => row[last / 3] = -4096.0,
                11 => row.iter_mut().for_each(|v| *v *= f64::from(Quantize::LEAST)),
                12 => row.iter_mut().for_each(|v| *v *= most / 2.0),
                // as filled
                _ => {}
            }
        }
        let x = Values::new(p.dtype, x);
        let quantized = reference::quantize(&p, &x.values);
        // q is judged by its bytes: −0 and 0 of floats are two, and NaN is one
        let q = quantized.q.iter().map(|byte| Expected::Near(f64::from(*byte as i8), 0.0));
        let scale = quantized.scale.iter().map(|scale| match scale.is_nan() {
            true => Expected::Nan,
            false => Expected::Near((*scale).into(), 0.0),
        });
        let operands = vec![
            ("x", Operand::Input(x.bytes())),
            ("q", Operand::Output(DType::I8, q.collect())),
            ("scale", Operand::Output(DType::F32, scale.collect())),
        ];
        Self { problem: Problem::Quantize(p), operands }
    }
}

/// Midpoints between neighbours of an 8-bit type, and its largest value, all times `unit`.
fn ties(out: DType, row: &mut [f64], unit: f64) {
    // steps from zero up, of E4M3 as of I8
    let steps = if out == DType::E5M2 { 123 } else { 126 };
    let value = |step: usize| decode(out, &[step as u8]);
    for (j, v) in row.iter_mut().enumerate() {
        let middle = (value(j % steps) + value(j % steps + 1)) / 2.0;
        *v = unit * if j % 3 == 0 { -middle } else { middle };
    }
    row[0] = unit * f64::from(Quantize::largest(out));
}
