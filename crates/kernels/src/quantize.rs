//! Activations to 8 bits, a scale for each token.

use crate::DType;

/// Rows to 8 bits, symmetric, each by a scale of its own: `x ≈ q·scale`, x `n×d` of `dtype`, q `n×d` of
/// `out`, scale f32 `n`. So it makes the X and the `x_scale` of an 8-bit linear layer
/// ([`Epilogue::scales`](crate::Epilogue::scales)).
///
/// For each row, L being 127 for I8, 448 for E4M3 and 57344 for E5M2:
///
/// ```text
/// a       = max(|x[0]|, …, |x[d−1]|, 2⁻¹⁰⁰)
/// scale   = a / L             the nearest f32
/// inverse = L / a             the nearest f32
/// q[j]    = x[j] · inverse    to the nearest f32, then to the nearest of `out`, ties to even
/// ```
///
/// The bytes of q and scale are the same on every backend, but for a device of WGSL that does not round
/// products to nearest, as WGSL lets it: there q may be the neighbour where `x·inverse` lies within an ulp
/// of a tie. All of it is normal or rounds to 0, so nothing depends on how a device treats subnormals.
///
/// Each of scale, inverse and product is off by `u = 2⁻²⁴` relative, so with s = scale
/// `|x − q·s| ≤ (1/2 + 2⁻¹⁵)·s` for I8: half a step, and 127 times 4u. For E4M3 it is
/// `(2⁻⁴ + 2⁻²¹)·|x| + 2⁻¹⁰·s`, for E5M2 `(2⁻³ + 2⁻²¹)·|x| + 2⁻¹⁷·s`: half an ulp of q, relative, or where that is subnormal absolute.
///
/// - **A row of zeros** gives zeros and the scale 2⁻¹⁰⁰/L: a normal number, and still one when a weight's
///   scale of 2⁻¹⁷ (E5M2: 2⁻¹⁰) or more multiplies it. So does whatever is below 2⁻¹⁰⁰/2L.
/// - **A row that holds a NaN or an infinity** gives the scale NaN, so that no layer that scales takes it for
///   a good one, and for q zeros (I8) or NaNs (floats, `0x7F`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quantize {
    /// Rows: tokens.
    pub n: u32,
    /// Columns, a multiple of 32.
    pub d: u32,
    /// The type of x: F32, F16 or BF16.
    pub dtype: DType,
    /// The type of q: I8, E4M3 or E5M2.
    pub out: DType,
}

impl Quantize {
    /// What a row's largest magnitude is taken for if it is less: 2⁻¹⁰⁰.
    pub const LEAST: f32 = f32::from_bits((127 - 100) << 23);

    /// The largest value of `out`, to which a row's largest magnitude goes.
    pub const fn largest(out: DType) -> f32 {
        match out {
            DType::E4M3 => 448.0,
            DType::E5M2 => 57344.0,
            _ => 127.0,
        }
    }

    /// The parameter that tells a kernel the type of x: 0 for F32, 1 for F16, 2 for BF16; there is no other.
    pub(crate) const fn code(dtype: DType) -> Option<u32> {
        match dtype {
            DType::F32 => Some(0),
            DType::F16 => Some(1),
            DType::BF16 => Some(2),
            DType::I8 | DType::E4M3 | DType::E5M2 => None,
        }
    }
}
