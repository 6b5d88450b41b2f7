//! What a multiply gives, derived from matrix coordinates: where is this element kept? The emulator
//! goes from registers to coordinates. The two share types, no code.

use super::super::*;
use super::noise;

/// The operands of one multiply, as matrices of whole numbers.
#[derive(Clone)]
pub struct Case {
    pub form: Form,
    /// As stored.
    pub a: Vec<Vec<i32>>,
    /// K × N.
    pub b: Vec<Vec<i32>>,
    pub c: Vec<Vec<i32>>,
    /// By row and group; none if dense.
    pub codes: Vec<Vec<u32>>,
    pub selector: u32,
}

impl Case {
    /// All zero, with the last legal code everywhere.
    pub fn new(form: Form) -> Self {
        let zeros = |rows: u32, columns: usize| vec![vec![0; columns]; rows as usize];
        let groups = match (form.is_sparse(), form.a) {
            (false, _) => 0,
            (true, Element::Tf32) => form.k as usize / 2,
            (true, _) => form.k as usize / 4,
        };
        Self {
            form,
            a: zeros(form.m, form.stored_columns()),
            b: zeros(form.k, form.n as usize),
            c: zeros(form.m, form.n as usize),
            codes: vec![vec![0xE; groups]; form.m as usize],
            selector: 0,
        }
    }

    /// Small numbers and legal codes everywhere; negative ones too, where the type has them.
    pub fn random(form: Form, seed: u32) -> Self {
        let mut case = Self::new(form);
        let mut next = noise(seed);
        let mut fill = |matrix: &mut Vec<Vec<i32>>, unsigned: bool| {
            for value in matrix.iter_mut().flatten() {
                *value = if unsigned { next(5) as i32 } else { next(9) as i32 - 4 };
            }
        };
        fill(&mut case.a, form.a == Element::U8);
        fill(&mut case.b, form.b == Element::U8);
        fill(&mut case.c, false);
        let legal: Vec<u32> = (0..16).filter(|code| form.codes() >> code & 1 == 1).collect();
        for code in case.codes.iter_mut().flatten() {
            *code = legal[next(legal.len() as u32) as usize];
        }
        case.selector = next(form.selectors().max(1));
        case
    }

    pub fn warps(&self) -> usize {
        self.a.len() / 16
    }

    /// A's registers of each warp.
    pub fn a_registers(&self) -> Vec<Vec<Lanes>> {
        let element = self.form.a;
        let e = 32 / element.bits() as usize;
        let mut out = vec![vec![[0; 32]; self.form.a_registers()]; self.warps()];
        for (row, values) in self.a.iter().enumerate() {
            for (j, value) in values.iter().enumerate() {
                // quads of lanes hold 4e columns in a register, eight rows; then other eight rows
                let register = j / (4 * e) * 2 + row % 16 / 8;
                let lane = row % 8 * 4 + j % (4 * e) / e;
                out[row / 16][register][lane] |= encode(element, *value) << (j % e * 32 / e);
            }
        }
        out
    }

    /// B's registers of a warp.
    pub fn b_registers(&self) -> Vec<Lanes> {
        let element = self.form.b;
        let e = 32 / element.bits() as usize;
        let mut out = vec![[0; 32]; self.form.b_registers()];
        for (k, values) in self.b.iter().enumerate() {
            for (n, value) in values.iter().enumerate() {
                let lane = n * 4 + k % (4 * e) / e;
                out[k / (4 * e)][lane] |= encode(element, *value) << (k % e * 32 / e);
            }
        }
        out
    }

    /// A matrix of accumulators, in the registers of each warp.
    pub fn accumulators(&self, matrix: &[Vec<i32>]) -> Vec<Vec<Lanes>> {
        let mut out = vec![vec![[0; 32]; self.form.d_registers()]; self.warps()];
        for (row, values) in matrix.iter().enumerate() {
            for (n, value) in values.iter().enumerate() {
                let (pair, lane) = (n / 8 * 2 + row % 16 / 8, row % 8 * 4 + n % 8 / 2);
                let warp = &mut out[row / 16];
                match self.form.acc {
                    Acc::S32 => warp[2 * pair + n % 2][lane] = *value as u32,
                    Acc::F32 => warp[2 * pair + n % 2][lane] = (*value as f32).to_bits(),
                    Acc::F16 => {
                        let bits = half::f16::from_f32(*value as f32).to_bits() as u32;
                        warp[pair][lane] |= bits << (n % 2 * 16);
                    }
                }
            }
        }
        out
    }

    /// The metadata operand of each warp; lanes that the selector does not name pass an undefined code.
    pub fn metadata(&self) -> Vec<Lanes> {
        let mut out = vec![[0x5555_5555; 32]; self.warps()];
        for (row, codes) in self.codes.iter().enumerate() {
            for (group, code) in codes.iter().enumerate() {
                let (lane, nibble) = code_at(&self.form, self.selector as usize, row % 16, group);
                let word = &mut out[row / 16][lane];
                *word = *word & !(15 << (4 * nibble)) | code << (4 * nibble);
            }
        }
        out
    }

    /// C + A · B, of whole numbers.
    pub fn product(&self) -> Vec<Vec<i32>> {
        let mut d = self.c.clone();
        for (row, d) in d.iter_mut().enumerate() {
            for (j, a) in self.a[row].iter().enumerate().filter(|(_, a)| **a != 0) {
                let b = &self.b[self.logical(row, j)];
                d.iter_mut().zip(b).for_each(|(d, b)| *d += a * b);
            }
        }
        d
    }

    /// The column of the whole A that stored column j of a row is.
    fn logical(&self, row: usize, j: usize) -> usize {
        match (self.form.is_sparse(), self.form.a) {
            (false, _) => j,
            (true, Element::Tf32) => 2 * j + (self.codes[row][j] == 0xE) as usize,
            (true, _) => {
                let code = self.codes[row][j / 2] as usize;
                j / 2 * 4 + [code % 4, code / 4][j % 2]
            }
        }
    }
}

/// The lane and the nibble of its word where the code of a row and a group is (figures of 9.7.14.6.2;
/// k8 of tf32 and k32 of 8 bits are guesses, here as there).
fn code_at(form: &Form, selector: usize, row: usize, group: usize) -> (usize, usize) {
    let (lane, lower) = (row % 8 * 4, row / 8);
    match (form.a, form.k) {
        (Element::F16 | Element::Bf16, 16) | (Element::Tf32, 8) => {
            (lane + selector, 4 * lower + group)
        }
        (Element::F16 | Element::Bf16, 32) | (Element::Tf32, 16) => {
            (lane + 2 * selector + group / 4, 4 * lower + group % 4)
        }
        (_, 32) => (lane + 2 * selector + lower, group),
        _ => (lane + group / 8 * 2 + lower, group % 8),
    }
}

/// The bits of a whole number: its leading one at position p of the magnitude is the exponent, what
/// follows is the mantissa.
pub fn encode(element: Element, value: i32) -> u32 {
    let (exponent_bits, mantissa_bits) = match element {
        Element::S8 | Element::U8 => return value as u32 & 0xFF,
        Element::F16 => (5, 10),
        Element::Bf16 => (8, 7),
        Element::Tf32 => (8, 23),
        Element::E4m3 => (4, 3),
        Element::E5m2 => (5, 2),
    };
    if value == 0 {
        return 0;
    }
    let magnitude = value.unsigned_abs();
    let p = magnitude.ilog2();
    let mantissa = (magnitude as u64) << mantissa_bits >> p;
    assert_eq!(mantissa << p >> mantissa_bits, magnitude as u64, "{element:?} holds {value}");
    let bias = (1 << (exponent_bits - 1)) - 1;
    let negative = (value < 0) as u32;
    // the leading one of the mantissa adds one to the exponent
    (((negative << exponent_bits) + p + bias - 1) << mantissa_bits) + mantissa as u32
}
