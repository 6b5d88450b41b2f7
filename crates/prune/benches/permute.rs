//! What orders of columns bring, and what they cost: `cargo bench -p quickpick-prune --bench permute`.
//!
//! Efficacy is `Retained::efficacy`. The first rows search the very matrix of ASP's permutation README
//! (128 × 64, `numpy.random.rand`, seed 1), for which that page gives: two stripes 35.5 % in 60.7 s by
//! NumPy, in 0.013 s on a V100; three stripes 36.6 % in 0.86 s on a V100; swaps with 1000 bounded
//! regressions 36.0 % in 20.2 s. The others are means over seeds; random matrices have no structure
//! that an order could find, only chance.
//!
//! Arguments, if any, are a file of f32 scores, its columns, and how many of its rows the search sees.

use quickpick_prune::{OrderSearch, Pattern};
use std::time::Instant;

/// MT19937 as NumPy seeds and reads it (Matsumoto and Nishimura 1998).
struct Twister {
    state: [u32; 624],
    at: usize,
}

impl Twister {
    fn new(seed: u32) -> Self {
        let mut state = [seed; 624];
        for i in 1..624u32 {
            let before = state[i as usize - 1];
            state[i as usize] = (before ^ before >> 30).wrapping_mul(1_812_433_253).wrapping_add(i);
        }
        Self { state, at: 624 }
    }

    fn next(&mut self) -> u32 {
        if self.at == 624 {
            for i in 0..624 {
                let y = self.state[i] & 1 << 31 | self.state[(i + 1) % 624] & 0x7FFF_FFFF;
                let odd = if y & 1 == 1 { 0x9908_B0DF } else { 0 };
                self.state[i] = self.state[(i + 397) % 624] ^ y >> 1 ^ odd;
            }
            self.at = 0;
        }
        let mut y = self.state[self.at];
        self.at += 1;
        y ^= y >> 11;
        y ^= y << 7 & 0x9D2C_5680;
        y ^= y << 15 & 0xEFC6_0000;
        y ^ y >> 18
    }

    /// In [0, 1), 53 bits.
    fn uniform(&mut self) -> f64 {
        let (high, low) = (self.next() >> 5, self.next() >> 6);
        (f64::from(high) * f64::from(1 << 26) + f64::from(low)) / (1u64 << 53) as f64
    }
}

fn uniform(seed: u32, len: usize) -> Vec<f32> {
    let mut twister = Twister::new(seed);
    (0..len).map(|_| twister.uniform() as f32).collect()
}

/// Magnitudes of Gaussian numbers, by Box and Muller.
fn gaussian(seed: u32, len: usize) -> Vec<f32> {
    let mut twister = Twister::new(seed);
    let mut one = || {
        let radius = (-2.0 * (1.0 - twister.uniform()).ln()).sqrt();
        (radius * (std::f64::consts::TAU * twister.uniform()).cos()).abs() as f32
    };
    (0..len).map(|_| one()).collect()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    match arguments.as_slice() {
        [] => random(),
        [file, cols, seen] => from_file(file, cols.parse().unwrap(), seen.parse().unwrap()),
        _ => panic!("arguments: none, or FILE COLUMNS ROWS-SEEN"),
    }
}

type Draw = fn(u32, usize) -> Vec<f32>;

fn random() {
    println!("{} threads", std::thread::available_parallelism().map_or(1, usize::from));
    let asp = uniform(1, 128 * 64);
    let none =
        OrderSearch { assignments: 0, swaps: 0, ..OrderSearch::new(Pattern::TWO_OF_FOUR, 64) };
    let retained = none.search(&[&asp], 64).unwrap().retained;
    println!("ASP's matrix: {:.3} kept, {:.3} at best", retained.before, retained.best);
    let published = (2852.376, 3042.332);
    assert!((retained.before - published.0).abs() < 0.002, "another matrix");
    assert!((retained.best - published.1).abs() < 0.002, "another matrix");

    let columns = ["matrices", "rows × cols", "search", "efficacy", "ms"];
    println!(
        "{:>12} {:>12}  {:28} {:>9} {:>10}",
        columns[0], columns[1], columns[2], columns[3], columns[4]
    );
    let draws: [(&str, Draw, u32); 3] =
        [("ASP's", uniform, 1), ("8 uniform", uniform, 8), ("8 gaussian", gaussian, 8)];
    for (name, draw, matrices) in draws {
        let row = |what: &str, search: &dyn Fn(&[f32], u64) -> f64| {
            mean((name, draw, matrices), (128, 64), what, search);
        };
        row("exhaustive pairs of stripes", &|scores, _| two_stripes(scores, 128, 64));
        for swaps in [0, 300, 1500, 6000, 24_000, 100_000, 400_000] {
            row(&format!("{swaps} swaps a column"), &|scores, seed| {
                let search =
                    OrderSearch { seed, swaps, ..OrderSearch::new(Pattern::TWO_OF_FOUR, 64) };
                search.search(&[scores], 64).unwrap().retained.efficacy()
            });
        }
    }
    for (rows, cols) in [(576, 1536), (20_000, 576)] {
        for assignments in [6, 12, 24, 48] {
            let what = format!("{assignments} assignments");
            mean(("gaussian", gaussian, 1), (rows, cols), &what, &|scores, seed| {
                let default = OrderSearch::new(Pattern::TWO_OF_FOUR, cols);
                let search = OrderSearch { seed, assignments, swaps: 0, ..default };
                search.search(&[scores], cols).unwrap().retained.efficacy()
            });
        }
    }
}

fn mean(
    (name, draw, matrices): (&str, Draw, u32),
    (rows, cols): (usize, usize),
    what: &str,
    search: &dyn Fn(&[f32], u64) -> f64,
) {
    let (mut efficacy, mut seconds) = (0.0, 0.0);
    for seed in 1..=matrices {
        let scores = draw(seed, rows * cols);
        let start = Instant::now();
        efficacy += search(&scores, seed.into()) / f64::from(matrices);
        seconds += start.elapsed().as_secs_f64() / f64::from(matrices);
    }
    let (shape, percent, ms) = (format!("{rows} × {cols}"), 100.0 * efficacy, 1e3 * seconds);
    println!("{name:>12} {shape:>12}  {what:28} {percent:8.2}% {ms:10.2}");
}

fn from_file(file: &str, cols: usize, seen: usize) {
    let bytes = std::fs::read(file).unwrap();
    let scores: Vec<f32> = bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    for (assignments, swaps) in [(0, 0), (6, 0), (12, 0), (24, 0), (48, 0), (96, 0), (48, 6000)] {
        let search = OrderSearch {
            assignments,
            swaps,
            rows: seen,
            ..OrderSearch::new(Pattern::TWO_OF_FOUR, cols)
        };
        let start = Instant::now();
        let retained = search.search(&[&scores], cols).unwrap().retained;
        let ms = 1e3 * start.elapsed().as_secs_f64();
        println!(
            "{assignments:3} assignments, {swaps:5} swaps a column: kept {:.4} -> {:.4} of the best, efficacy {:.2}%, {ms:.1} ms",
            retained.before / retained.best,
            retained.after / retained.best,
            100.0 * retained.efficacy()
        );
    }
}

/// Pool and Yu's search with two stripes: of all pairs of groups the one whose best deal of eight
/// columns gains most, again until none gains. Gains of untouched pairs are remembered.
fn two_stripes(scores: &[f32], rows: usize, cols: usize) -> f64 {
    let column: Vec<Vec<f32>> =
        (0..cols).map(|c| (0..rows).map(|r| scores[r * cols + c]).collect()).collect();
    let kept = |c: [usize; 4]| -> f32 {
        let c = c.map(|c| &column[c]);
        let row = |r: usize| {
            let (a, b, c, d) = (c[0][r], c[1][r], c[2][r], c[3][r]);
            let (high, low, other, less) = (a.max(b), a.min(b), c.max(d), c.min(d));
            high.max(other) + high.min(other).max(low.max(less))
        };
        (0..rows).map(row).sum()
    };
    // the first of eight columns stays; three of seven join it: 35 deals
    let deals: Vec<u32> =
        (0u32..256).filter(|bits| bits & 1 == 1 && bits.count_ones() == 4).collect();
    let best_deal = |eight: [usize; 8]| {
        let part = |bits: u32| {
            let mut side = (0..8).filter(|i| bits >> i & 1 == 1).map(|i| eight[i]);
            std::array::from_fn::<usize, 4, _>(|_| side.next().unwrap())
        };
        let now = kept(part(0b1111)) + kept(part(0b1111_0000));
        let deal = |&bits: &u32| (kept(part(bits)) + kept(part(!bits & 255)) - now, bits);
        let (gain, bits) = deals.iter().map(deal).max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
        (gain, [part(bits), part(!bits & 255)].concat())
    };
    let mut order: Vec<usize> = (0..cols).collect();
    let groups = cols / 4;
    let eight = |order: &[usize], a: usize, b: usize| {
        std::array::from_fn(|i| order[if i < 4 { 4 * a + i } else { 4 * b + i - 4 }])
    };
    let mut gains = std::collections::BTreeMap::new();
    let mut changed: Vec<usize> = (0..groups).collect();
    loop {
        for a in 0..groups {
            for b in a + 1..groups {
                if changed.contains(&a) || changed.contains(&b) {
                    gains.insert((a, b), best_deal(eight(&order, a, b)));
                }
            }
        }
        let (&(a, b), (gain, deal)) = gains.iter().max_by(|x, y| x.1.0.total_cmp(&y.1.0)).unwrap();
        if *gain <= 1e-3 {
            break;
        }
        order[4 * a..][..4].copy_from_slice(&deal[..4]);
        order[4 * b..][..4].copy_from_slice(&deal[4..]);
        changed = vec![a, b];
    }
    let moved: Vec<f32> =
        (0..rows * cols).map(|i| scores[i / cols * cols + order[i % cols]]).collect();
    let untouched = |s: &[f32]| {
        let none = OrderSearch {
            assignments: 0,
            swaps: 0,
            ..OrderSearch::new(Pattern::TWO_OF_FOUR, cols)
        };
        none.search(&[s], cols).unwrap().retained
    };
    let (before, after) = (untouched(scores), untouched(&moved));
    (after.before - before.before) / (before.best - before.before)
}
