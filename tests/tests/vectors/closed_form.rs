//! What a multiply gives, derived a second time: from matrix coordinates to lanes.
//!
//! The emulator walks over lanes and asks where each register's elements belong. Here it is the other
//! way round: each element of a matrix is asked where it is kept, in formulas over bits that serve all
//! types at once (PTX ISA 9.7.14.5, 9.7.14.6 and 9.7.15.5: figures of the fragments). Neither reads
//! the other's code, so an error would have to be made twice.
//!
//! Notation: e is the number of elements in a 32-bit word, g = row mod 8, and t the lane in its quad.

use quickpick_tests::vectors::{
    Device, Element, Failure, Form, Image, Inputs, Place, Probe, Swizzle,
};

/// The formulas as a device, for every form.
pub struct ClosedForm;

impl Device for ClosedForm {
    fn name(&self) -> String {
        "closed form".into()
    }

    fn run(&self, probe: &Probe, trials: &[Inputs]) -> Result<Vec<Vec<u32>>, Failure> {
        let multiply = |inputs| multiply(probe.form, probe.selector, inputs);
        trials.iter().map(multiply).collect::<Result<_, _>>().map_err(Failure::Failed)
    }
}

/// Where an element is: its word in the operand, and its place in the word.
type At = (usize, usize);

/// A's element in a row and a column of the matrix as stored (compressed, if the form is sparse).
fn a_at(form: &Form, row: usize, column: usize) -> At {
    if let Some(image) = form.a_image() {
        return image_at(image, form.element, row, column);
    }
    let e = form.element.per_word();
    let t = column / e % 4;
    let register = row / 8 % 2 + 2 * (column / (4 * e));
    (register * form.lanes() + lane(row, t), column % e)
}

/// B's element in row k and column n.
fn b_at(form: &Form, k: usize, n: usize) -> At {
    if let Some(image) = form.b_image() {
        return image_at(image, form.element, n, k);
    }
    let e = form.element.per_word();
    (k / (4 * e) * form.lanes() + 4 * n + k / e % 4, k % e)
}

/// D's word, and C's, of a row and a column. A pair of registers holds two columns; of eight columns a
/// lane has one pair in row g and one in row g + 8. Pairs of all lanes follow one another in memory.
fn d_at(form: &Form, row: usize, n: usize) -> usize {
    let pair = 2 * (n / 8) + row / 8 % 2;
    2 * (pair * form.lanes() + lane(row, n % 8 / 2)) + n % 2
}

/// Lane t of the quad that holds a row; a warp holds sixteen rows.
fn lane(row: usize, t: usize) -> usize {
    32 * (row / 16) + 4 * (row % 8) + t
}

/// An element of a K-major image (9.7.15.5.1). Unswizzled, a core matrix is 8 rows of 16 bytes;
/// `leading` is from one to the next along the row, `stride` from eight rows to the next. With the
/// 128-byte swizzle a row has 128 bytes, and its 16-byte chunk c stands at c xor (row mod 8).
fn image_at(image: Image, element: Element, row: usize, column: usize) -> At {
    let bytes = element.bits() as usize / 8;
    let (chunk, rest) = (column * bytes / 16, column * bytes % 16);
    let at = match image.swizzle {
        Swizzle::None => row / 8 * image.stride + chunk * image.leading + row % 8 * 16 + rest,
        Swizzle::B128 => row / 8 * image.stride + row % 8 * 128 + (chunk ^ (row % 8)) * 16 + rest,
    };
    (at / 4, at % 4 / bytes)
}

/// The lane and the nibble of its word that say what a row keeps of a group of columns (9.7.14.6.1;
/// the columns of a group are four, or two of tf32).
///
/// | words per row | forms | lane in the quad, by the selector s | nibble |
/// |---|---|---|---|
/// | ½ | k16 of 16 bits, k8 of tf32 | s | group, + 4 in rows 8 to 15 |
/// | 1 | k32 of 16 bits, k16 of tf32 | 2s + group / 4 | group mod 4, + 4 in rows 8 to 15 |
/// | 1 | k32 of 8 bits (not confirmed) | 2s + 1 in rows 8 to 15, else 2s | group |
/// | 2 | k64 of 8 bits | 2 · (group / 8), + 1 in rows 8 to 15 | group mod 8 |
fn metadata_at(form: &Form, selector: usize, row: usize, group: usize) -> (usize, usize) {
    let low_half = row / 8 % 2;
    let (t, nibble) = match (form.element.bits(), form.k) {
        (16, 16) | (32, 8) => (selector, group + 4 * low_half),
        (16, 32) | (32, 16) => (2 * selector + group / 4, group % 4 + 4 * low_half),
        (8, 32) => (2 * selector + low_half, group),
        (8, 64) => (2 * (group / 8) + low_half, group % 8),
        (bits, k) => panic!("{}: no metadata map for {bits} bits, k = {k}", form.name),
    };
    (lane(row, t), nibble)
}

/// The integer that an element's bits are. Inputs are integers; another value would be a fault of the
/// sweep.
fn integer(element: Element, bits: u32) -> i64 {
    let value = match element {
        Element::S8 => return bits as u8 as i8 as i64,
        Element::F16 => half::f16::from_bits(bits as u16).to_f32(),
        Element::Bf16 => f32::from_bits(bits << 16),
        Element::Tf32 => f32::from_bits(bits),
        // OCP 8-bit formats: bias 7 and 15; no input is infinite or NaN
        Element::E4m3 => small_float(bits, 3, 7),
        Element::E5m2 => small_float(bits, 2, 15),
    };
    assert_eq!(value.fract(), 0.0, "{element:?} {bits:#x} is no integer");
    value as i64
}

fn small_float(bits: u32, mantissa_bits: i32, bias: i32) -> f32 {
    let sign = if bits & 0x80 != 0 { -1.0 } else { 1.0 };
    let exponent = (bits & 0x7F) as i32 >> mantissa_bits;
    let mantissa = (bits & ((1 << mantissa_bits) - 1)) as f32 / (1 << mantissa_bits) as f32;
    sign * match exponent {
        0 => mantissa * 2f32.powi(1 - bias),
        _ => (1.0 + mantissa) * 2f32.powi(exponent - bias),
    }
}

/// D[row, n] = C[row, n] + Σ A[row, j] · B[k(row, j), n] over the stored columns j of A, where k is j
/// itself in a dense form, and what the metadata says in a sparse one. All sums are exact.
pub fn multiply(form: &Form, selector: u32, inputs: &Inputs) -> Result<Vec<u32>, String> {
    let element = form.element;
    let number = |words: &[u32], (word, place): At| {
        let bits = element.bits();
        let mask = u32::MAX >> (32 - bits);
        integer(element, words[word] >> (place as u32 * bits) & mask)
    };
    // positions of two kept of four columns, or of one of two
    let (width, kept) = if element == Element::Tf32 { (2, 1) } else { (4, 2) };
    let logical = |row: usize, j: usize| -> Result<usize, String> {
        if !form.is_sparse() {
            return Ok(j);
        }
        let group = j / kept;
        let (lane, nibble) = metadata_at(form, selector as usize, row, group);
        let code = inputs.metadata[lane] >> (4 * nibble) & 15;
        let position = match (element, code) {
            (Element::Tf32, 0x4) => 0,
            (Element::Tf32, 0xE) => 1,
            (Element::Tf32, _) => return Err(format!("code {code:#x} in row {row} is undefined")),
            _ if code & 3 < code >> 2 => [code & 3, code >> 2][j % 2] as usize,
            _ => return Err(format!("code {code:#x} in row {row} is undefined")),
        };
        Ok(width * group + position)
    };
    // B once, not once per row
    let b: Vec<Vec<i64>> = (0..form.k)
        .map(|k| (0..form.n).map(|n| number(&inputs.b, b_at(form, k, n))).collect())
        .collect();
    let mut d = vec![0; form.d_words()];
    for row in 0..form.m {
        let mut sums = vec![0; form.n];
        for j in 0..form.a_columns() {
            let (a, k) = (number(&inputs.a, a_at(form, row, j)), logical(row, j)?);
            sums.iter_mut().zip(&b[k]).for_each(|(sum, b)| *sum += a * b);
        }
        for (n, sum) in sums.into_iter().enumerate() {
            let at = d_at(form, row, n);
            d[at] = match element {
                Element::S8 => (inputs.c[at] as i32 + sum as i32) as u32,
                _ => (f32::from_bits(inputs.c[at]) + sum as f32).to_bits(),
            };
        }
    }
    Ok(d)
}

/// Every element of every operand has a place of its own, and fragments have no place besides.
#[test]
fn maps_are_one_to_one() {
    use std::collections::HashSet;
    for form in quickpick_tests::vectors::FORMS {
        let e = form.element.per_word();
        let a: HashSet<At> = (0..form.m)
            .flat_map(|row| (0..form.a_columns()).map(move |j| a_at(form, row, j)))
            .collect();
        let b: HashSet<At> =
            (0..form.k).flat_map(|k| (0..form.n).map(move |n| b_at(form, k, n))).collect();
        let d: HashSet<usize> =
            (0..form.m).flat_map(|row| (0..form.n).map(move |n| d_at(form, row, n))).collect();
        assert_eq!(a.len(), form.m * form.a_columns(), "A of {}", form.name);
        assert_eq!(b.len(), form.k * form.n, "B of {}", form.name);
        assert_eq!(d.len(), form.m * form.n, "D of {}", form.name);
        assert!(a.iter().all(|at| at.0 < form.a_words() && at.1 < e), "A of {}", form.name);
        assert!(b.iter().all(|at| at.0 < form.b_words() && at.1 < e), "B of {}", form.name);
        if form.a == Place::Registers {
            assert_eq!(a.len(), form.a_words() * e, "A of {}", form.name);
        }
        for selector in 0..form.selectors as usize {
            let groups = form.a_columns() / if form.element == Element::Tf32 { 1 } else { 2 };
            let codes: HashSet<At> = (0..form.m)
                .flat_map(|row| (0..groups).map(move |i| metadata_at(form, selector, row, i)))
                .collect();
            assert_eq!(codes.len(), form.m * groups, "metadata of {}", form.name);
            assert!(codes.iter().all(|at| at.0 < form.lanes() && at.1 < 8), "{}", form.name);
        }
    }
}
