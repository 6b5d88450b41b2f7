//! Layers to solve: random weights, and inputs that share causes and differ in size.

use quickpick_prune::{Gram, LayerProblem};

/// A layer with all that a problem borrows.
pub struct Layer {
    pub weight: Vec<f32>,
    pub rows: usize,
    pub cols: usize,
    pub gram: Gram,
}

impl Layer {
    pub fn problem(&self) -> LayerProblem<'_> {
        LayerProblem::new(&self.weight, self.rows, self.cols, &self.gram).unwrap()
    }

    /// The error with what damping adds to it, λ·mean(diag H)·‖W − Ŵ‖²: what solvers minimise.
    pub fn damped_error(&self, weight: &[f32], damping: f64) -> f64 {
        let (diagonal, h) = (self.gram.diagonal(), self.gram.matrix());
        let live = diagonal.iter().filter(|&&d| d > 0.0).count();
        let ridge = damping * diagonal.iter().sum::<f64>() / live as f64;
        let energy = |d: &[f64]| -> f64 {
            let image = |i: usize| h[i * d.len()..].iter().zip(d).map(|(h, d)| h * d).sum::<f64>();
            (0..d.len()).map(|i| d[i] * image(i)).sum()
        };
        let (mut lost, mut all) = (0.0, 0.0);
        for (old, new) in self.weight.chunks(self.cols).zip(weight.chunks(self.cols)) {
            let old: Vec<f64> = old.iter().map(|&w| f64::from(w)).collect();
            let d: Vec<f64> = old.iter().zip(new).map(|(w, &v)| w - f64::from(v)).collect();
            let live = d.iter().zip(&diagonal).filter(|(_, h)| **h > 0.0);
            lost += energy(&d) + ridge * live.map(|(d, _)| d * d).sum::<f64>();
            all += energy(&old);
        }
        lost / all
    }

    /// The same, but one input is always zero.
    pub fn with_dead(self, dead: usize) -> Self {
        let cols = self.cols;
        let mut matrix = self.gram.matrix();
        for j in 0..cols {
            (matrix[dead * cols + j], matrix[j * cols + dead]) = (0.0, 0.0);
        }
        let gram = Gram::from_matrix(&matrix, cols, self.gram.tokens()).unwrap();
        Self { gram, ..self }
    }
}

/// Nearly normal numbers of a seed: SplitMix64, four 16-bit parts summed.
pub fn normals(seed: u64) -> impl Iterator<Item = f32> {
    let mut state = seed ^ 0x5DEE_CE66;
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        let z = z ^ z >> 31;
        let sum: u64 = (0..4).map(|i| z >> (16 * i) & 0xFFFF).sum();
        (sum as f32 / 65536.0 - 2.0) * 3f32.sqrt()
    })
}

/// Each input is a few common causes and noise of its own, in sizes that spread over an order.
pub fn correlated(rows: usize, cols: usize, tokens: usize, seed: u64) -> Layer {
    let mut draw = normals(seed);
    let mut take = |count: usize| draw.by_ref().take(count).collect::<Vec<f32>>();
    let causes = 1 + cols / 8;
    let (weight, mix, size) = (take(rows * cols), take(cols * causes), take(cols));
    let mut gram = Gram::new(cols);
    for _ in 0..tokens {
        let (common, own) = (take(causes), take(cols));
        let input = |j: usize| {
            let shared = mix[j * causes..].iter().zip(&common).map(|(m, c)| m * c).sum::<f32>();
            size[j].exp() * (shared / (causes as f32).sqrt() + 0.5 * own[j])
        };
        gram.add(&(0..cols).map(input).collect::<Vec<_>>()).unwrap();
    }
    Layer { weight, rows, cols, gram }
}
