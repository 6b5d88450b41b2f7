//! Rounding by definition: exact numbers are integers in a small unit, the numbers of a type are
//! looked for between zero and infinity by their order, and a neighbour is chosen.

/// A type with so many bits of fraction, and where its numbers become units: code e of the exponent
/// stands for 2^(e − 1 − base) units in the last place. Numbers below `base` are not looked at.
#[derive(Clone, Copy)]
pub(super) struct Format {
    pub fraction: u32,
    pub exponent: u32,
    pub base: u32,
}

/// A unit is 2^-24, the least subnormal number.
pub(super) const F16: Format = Format { fraction: 10, exponent: 5, base: 0 };
/// A unit is 2^-40.
pub(super) const BF16: Format = Format { fraction: 7, exponent: 8, base: 93 };
/// A unit is 2^-40.
pub(super) const F32: Format = Format { fraction: 23, exponent: 8, base: 109 };
/// A unit is 2^-54.
pub(super) const F64: Format = Format { fraction: 52, exponent: 11, base: 1020 };

impl Format {
    pub fn bits(self) -> u32 {
        1 + self.exponent + self.fraction
    }

    /// Units of 1.0, as a power of two.
    pub fn scale(self) -> u32 {
        let bias = (1 << (self.exponent - 1)) - 1;
        bias + self.fraction - 1 - self.base
    }

    pub fn infinity(self) -> u64 {
        ((1 << self.exponent) - 1) << self.fraction
    }

    fn sign(self) -> u64 {
        1 << (self.bits() - 1)
    }

    /// The units of a magnitude; those of infinity are the next power of two.
    fn magnitude(self, code: u64) -> i128 {
        let (e, m) = ((code >> self.fraction) as u32, code & ((1 << self.fraction) - 1));
        let hidden = u64::from(e > 0) << self.fraction;
        i128::from(m | hidden) << (e.max(1) - 1 - self.base)
    }

    pub fn units(self, bits: u64) -> i128 {
        let magnitude = self.magnitude(bits & !self.sign());
        if bits & self.sign() != 0 { -magnitude } else { magnitude }
    }

    /// The least magnitude that is looked at, in units.
    pub fn least(self) -> i128 {
        if self.base == 0 { 0 } else { 1 << (self.fraction + 1) }
    }

    /// The number for `value` · 2^-`extra` units: `n`earest, towards `z`ero, down to `m`inus or up to
    /// `p`lus infinity. Zero is positive.
    pub fn round(self, value: i128, extra: u32, toward: char) -> u64 {
        if value == 0 {
            return 0;
        }
        let (negative, value) = (value < 0, value.abs());
        assert!(value >> extra >= self.least(), "below what is looked at");
        let at = |code: u64| self.magnitude(code) << extra;
        let mut low = if self.base == 0 { 0 } else { u64::from(self.base + 1) << self.fraction };
        // no further than i128 holds
        let above = u64::from(self.base + 126 - self.fraction - extra) << self.fraction;
        let mut high = above.min(self.infinity());
        // the largest code that is not above the value
        while low < high {
            let middle = (low + high).div_ceil(2);
            if at(middle) <= value { low = middle } else { high = middle - 1 }
        }
        let infinite = low == self.infinity();
        let outward = match toward {
            _ if !infinite && at(low) == value => false,
            'n' if infinite => false,
            'n' => {
                let twice = 2 * value - at(low) - at(low + 1);
                twice > 0 || twice == 0 && low % 2 == 1
            }
            'z' => false,
            'm' => negative,
            _ => !negative,
        };
        // what overflows is the greatest number in the directions of zero
        let code = match (infinite, toward) {
            (true, 'n') => low,
            (true, _) => low - u64::from(!outward),
            _ => low + u64::from(outward),
        };
        code | if negative { self.sign() } else { 0 }
    }
}

/// The reference itself, against numbers that everyone knows.
#[test]
fn known_numbers() {
    let one = |f: Format| 1i128 << f.scale();
    for (format, bits) in
        [(F16, 0x3C00), (BF16, 0x3F80), (F32, 1f32.to_bits().into()), (F64, 1f64.to_bits())]
    {
        assert_eq!(format.units(bits), one(format));
        for toward in ['n', 'z', 'm', 'p'] {
            assert_eq!(format.round(one(format), 0, toward), bits);
            assert_eq!(format.round(-one(format) << 9, 9, toward), bits | format.sign());
        }
    }
    // 1/3 of f16 is 0x3555 and a bit; 65519 is below, 65520 at half way to infinity
    let third = (1i128 << (F16.scale() + 9)) / 3;
    assert_eq!(
        ['n', 'z', 'm', 'p'].map(|t| F16.round(third, 9, t)),
        [0x3555, 0x3555, 0x3555, 0x3556]
    );
    let big = [65519, 65520].map(|x| F16.round(x << 24, 0, 'n'));
    assert_eq!(big, [0x7BFF, 0x7C00]);
    assert_eq!(['z', 'm', 'p'].map(|t| F16.round(70000 << 24, 0, t)), [0x7BFF, 0x7BFF, 0x7C00]);
    assert_eq!(['z', 'm', 'p'].map(|t| F16.round(-70000 << 24, 0, t)), [0xFBFF, 0xFC00, 0xFBFF]);
}
