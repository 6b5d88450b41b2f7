//! Random numbers that are the same on every machine and in every version.

/// SplitMix64 (Steele, Lea, Flood 2014). A control is only a control if its seed can be quoted, and
/// the generators of the usual crates may change between versions.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Of a layer: another stream for another name (FNV-1a), whatever the order of layers.
    pub(crate) fn of_layer(seed: u64, name: &str) -> Self {
        let hash = name
            .bytes()
            .fold(0xCBF2_9CE4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01B3));
        let mut rng = Self(seed);
        Self(rng.next() ^ hash)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    /// Uniform below `n` (at least 1): the high half of a product, redrawn where it would be biased
    /// (Lemire 2019).
    pub(crate) fn below(&mut self, n: usize) -> usize {
        let n = n as u64;
        let biased = n.wrapping_neg() % n;
        loop {
            let product = u128::from(self.next()) * u128::from(n);
            if product as u64 >= biased {
                return (product >> 64) as usize;
            }
        }
    }

    /// Fisher–Yates.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}
