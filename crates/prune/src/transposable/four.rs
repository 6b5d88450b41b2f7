//! 2:4 both ways: 90 patterns of a 4 × 4 tile.

/// The six choices of two of four, as bits.
const PAIRS: [u8; 6] = [0b0011, 0b0101, 0b1001, 0b0110, 0b1010, 0b1100];

/// Every choice of a pair for each of four rows by which each column occurs twice; indices of [`PAIRS`].
const PATTERNS: [[u8; 4]; 90] = patterns();

const fn patterns() -> [[u8; 4]; 90] {
    let mut patterns = [[0; 4]; 90];
    let (mut found, mut at) = (0, 0);
    while at < 6 * 6 * 6 * 6 {
        let rows = [at / 216, at / 36 % 6, at / 6 % 6, at % 6];
        let mut twice = true;
        let mut column = 0;
        while column < 4 {
            let mut count = 0;
            let mut row = 0;
            while row < 4 {
                count += PAIRS[rows[row]] >> column & 1;
                row += 1;
            }
            twice = twice && count == 2;
            column += 1;
        }
        if twice {
            patterns[found] = [rows[0] as u8, rows[1] as u8, rows[2] as u8, rows[3] as u8];
            found += 1;
        }
        at += 1;
    }
    assert!(found == 90);
    patterns
}

/// The best pattern of a tile, 4 × 4; of equal ones the first.
pub(super) fn solve(tile: &[f32]) -> Vec<bool> {
    let mut pairs = [[0.0; 6]; 4];
    for (sums, row) in pairs.iter_mut().zip(tile.chunks_exact(4)) {
        for (sum, bits) in sums.iter_mut().zip(PAIRS) {
            *sum = (0..4).filter(|j| bits >> j & 1 == 1).map(|j| f64::from(row[j])).sum();
        }
    }
    let mut best = (f64::NEG_INFINITY, PATTERNS[0]);
    for pattern in PATTERNS {
        let kept: f64 = pairs.iter().zip(pattern).map(|(sums, pair)| sums[usize::from(pair)]).sum();
        if kept > best.0 {
            best = (kept, pattern);
        }
    }
    (0..16).map(|i| PAIRS[usize::from(best.1[i / 4])] >> (i % 4) & 1 == 1).collect()
}
