//! Functions that compilers vectorise: no branches, no calls.

/// eˣ to about one ulp where the result is normal and below 2¹²⁷; 0 below, infinity above.
///
/// eˣ = 2ⁿ·eʳ with n = round(x/ln 2), |r| ≤ ln 2/2, n·ln 2 in two parts (Cody and Waite), eʳ by its
/// Taylor polynomial of degree 7, whose remainder is below 2⁻²⁷.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4; // 355/512: n·LN2_HIGH is exact
    const LN2_LOW: f32 = -2.121_944_4e-4;
    const ROUND: f32 = 12_582_912.0; // 1.5·2²³: adding it rounds to an integer, in the low bits
    let shifted = x.clamp(-87.3, 88.0) * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x.clamp(-87.3, 88.0) - n * LN2_HIGH) - n * LN2_LOW;
    let tail = r * (1.0 / 120.0 + r * (1.0 / 720.0 + r * (1.0 / 5040.0)));
    let p = 1.0 + (r + r * r * (0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + tail))));
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    let y = if x < -87.3 { 0.0 } else { p * power };
    if x > 88.0 { f32::INFINITY } else { y }
}

/// x / (1 + e⁻ˣ).
#[inline(always)]
pub(super) fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// The tanh form of GELU. x/2·(1 + tanh s) = x / (1 + e⁻²ˢ), which does not cancel.
#[inline(always)]
pub(super) fn gelu(x: f32) -> f32 {
    const ROOT: f32 = 0.797_884_6; // √(2/π)
    let s = ROOT * (x + 0.044715 * x * x * x);
    x / (1.0 + exp(-2.0 * s))
}

#[cfg(test)]
mod tests {
    #[test]
    fn exp_is_good_to_two_ulps() {
        for i in -87_000..88_000 {
            let x = i as f32 / 1000.0 + 1e-4;
            let (got, want) = (super::exp(x) as f64, (x as f64).exp());
            assert!(((got - want) / want).abs() < 2.5e-7, "exp({x}) = {got}, not {want}");
        }
        assert_eq!(super::exp(0.0), 1.0);
        assert_eq!(super::exp(-200.0), 0.0);
    }
}
