//! Scalars of PTX, from text and to text.

use half::{bf16, f16};

/// A scalar type, by its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Unsigned(usize),
    Signed(usize),
    F16,
    BF16,
    F32,
    F64,
}

impl Type {
    /// `u32`, `b64`, `f16` and so on.
    pub fn named(name: &str) -> Option<Self> {
        let bytes = |bits: &str| match bits {
            "8" => Some(1),
            "16" => Some(2),
            "32" => Some(4),
            "64" => Some(8),
            _ => None,
        };
        Some(match name {
            "f16" => Self::F16,
            "bf16" => Self::BF16,
            "f32" => Self::F32,
            "f64" => Self::F64,
            _ => match name.split_at_checked(1)? {
                ("u" | "b", bits) => Self::Unsigned(bytes(bits)?),
                ("s", bits) => Self::Signed(bytes(bits)?),
                _ => return None,
            },
        })
    }

    /// Bytes of a value.
    pub fn bytes(self) -> usize {
        match self {
            Self::Unsigned(bytes) | Self::Signed(bytes) => bytes,
            Self::F16 | Self::BF16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    pub fn is_float(self) -> bool {
        !matches!(self, Self::Unsigned(_) | Self::Signed(_))
    }

    /// A number as text, decimal or, if it is an integer, `0x…`, to its bytes.
    pub fn parse(self, text: &str) -> Result<Vec<u8>, String> {
        let bits = 8 * self.bytes() as u32;
        let wrong = || format!("`{text}` is no number of {bits} bits");
        if self.is_float() {
            return text.parse().map(|value| self.encode(value)).map_err(|_| wrong());
        }
        let value = match text.strip_prefix("0x") {
            Some(digits) => i128::from_str_radix(digits, 16),
            None => text.parse(),
        }
        .map_err(|_| wrong())?;
        let range = match self {
            Self::Signed(_) => -(1i128 << (bits - 1))..1 << (bits - 1),
            _ => 0..1 << bits,
        };
        match range.contains(&value) {
            true => Ok(value.to_le_bytes()[..self.bytes()].to_vec()),
            false => Err(wrong()),
        }
    }

    /// The nearest value's bytes.
    pub fn encode(self, value: f64) -> Vec<u8> {
        match self {
            Self::Unsigned(bytes) | Self::Signed(bytes) => {
                (value as i128).to_le_bytes()[..bytes].to_vec()
            }
            Self::F16 => f16::from_f64(value).to_le_bytes().to_vec(),
            Self::BF16 => bf16::from_f64(value).to_le_bytes().to_vec(),
            Self::F32 => (value as f32).to_le_bytes().to_vec(),
            Self::F64 => value.to_le_bytes().to_vec(),
        }
    }

    /// A value of its bytes, which must be as many or more; integers beyond 2⁵³ are rounded.
    pub fn decode(self, bytes: &[u8]) -> f64 {
        let bits = bytes.iter().take(self.bytes()).rev().fold(0, |v, b| v << 8 | u64::from(*b));
        match self {
            Self::Unsigned(_) => bits as f64,
            Self::Signed(bytes) => {
                let unused = 64 - 8 * bytes as u32;
                ((bits << unused) as i64 >> unused) as f64
            }
            Self::F16 => f16::from_bits(bits as u16).to_f64(),
            Self::BF16 => bf16::from_bits(bits as u16).to_f64(),
            Self::F32 => f64::from(f32::from_bits(bits as u32)),
            Self::F64 => f64::from_bits(bits),
        }
    }
}

/// A float in few characters.
pub fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if (1e-3..1e6).contains(&size) => format!("{value:.5}"),
        _ if value.is_finite() => format!("{value:.4e}"),
        _ => value.to_string(),
    }
}

/// A label and values in a row.
pub fn row(label: String, values: impl Iterator<Item = String>) -> String {
    values.fold(label, |row, value| format!("{row} {value:>10}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_cut_to_their_type() {
        let parse = |ty: &str, text: &str| Type::named(ty).unwrap().parse(text);
        assert_eq!(parse("u32", "7").unwrap(), [7, 0, 0, 0]);
        assert_eq!(parse("b16", "0xBEEF").unwrap(), [0xEF, 0xBE]);
        assert_eq!(parse("s8", "-1").unwrap(), [0xFF]);
        assert_eq!(parse("u64", "18446744073709551615").unwrap(), [0xFF; 8]);
        assert_eq!(parse("f32", "1.5").unwrap(), 1.5f32.to_le_bytes());
        assert_eq!(parse("f16", "-inf").unwrap(), [0x00, 0xFC]);
        for (ty, text) in
            [("u8", "256"), ("u32", "-1"), ("s8", "128"), ("u32", "1.5"), ("f32", "x")]
        {
            assert!(parse(ty, text).unwrap_err().contains(text), "{ty}:{text}");
        }
        assert_eq!((Type::named("i32"), Type::named("u7"), Type::named("")), (None, None, None));
    }

    #[test]
    fn values_go_there_and_back() {
        for ty in ["u8", "s16", "u32", "s64", "f16", "bf16", "f32", "f64"] {
            let ty = Type::named(ty).unwrap();
            assert_eq!(ty.decode(&ty.encode(96.0)), 96.0);
        }
        assert_eq!(Type::Signed(2).decode(&Type::Signed(2).encode(-3.0)), -3.0);
    }

    #[test]
    fn numbers_are_short() {
        let shorts = [0.0, 1.0 / 3.0, -1e-9, 1e300, f64::INFINITY].map(short);
        assert_eq!(shorts, ["0", "0.33333", "-1.0000e-9", "1.0000e300", "inf"]);
        assert_eq!(short(f64::NAN), "NaN");
    }
}
