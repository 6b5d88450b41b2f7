//! Time and layer error of each method on the linear layers of a SmolLM2-135M block, with random
//! weights and random inputs that share causes and differ in size, as a language model's do.
//!
//! `cargo run --release -p quickpick-prune --example solve -- [METHOD…]`

use quickpick_prune::{Gram, LayerProblem, Method, Pattern, Prepared};
use std::error::Error;
use std::time::Instant;

/// Input features, and the output features of the layers that share them.
const INPUTS: [(&str, usize, &[usize]); 4] = [
    ("q k v", 576, &[576, 192, 192]),
    ("o", 576, &[576]),
    ("gate up", 576, &[1536, 1536]),
    ("down", 1536, &[576]),
];

const METHODS: [&str; 9] = [
    "magnitude",
    "wanda",
    "ria",
    "magnitude+reconstruct",
    "wanda+reconstruct",
    "sparsegpt",
    "sparsegpt+reconstruct",
    "alps",
    "alps+recover=0.2",
];

/// Tokens of calibration.
const TOKENS: usize = 4096;

/// Causes that inputs share.
const CAUSES: usize = 24;

fn main() -> Result<(), Box<dyn Error>> {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let methods: Vec<Method> = match asked.is_empty() {
        true => METHODS.iter().map(|m| m.parse()).collect::<Result<_, _>>()?,
        false => asked.iter().map(|m| m.parse()).collect::<Result<_, _>>()?,
    };
    let mut draw = Draw(1);
    let mut totals = vec![0.0; methods.len()];
    for (name, k, layers) in INPUTS {
        let gram = inputs(k, &mut draw)?;
        let weights: Vec<Vec<f32>> =
            layers.iter().map(|m| (0..m * k).map(|_| draw.normal()).collect()).collect();
        for (method, total) in methods.iter().zip(&mut totals) {
            let start = Instant::now();
            let mut prepared = Prepared::new(&gram, Prepared::DAMPING)?;
            let (mut errors, mut steps) = (String::new(), String::new());
            for (m, weight) in layers.iter().zip(&weights) {
                let problem = LayerProblem::new(weight, *m, k, &gram)?;
                let solution = method.solve(&problem, &mut prepared, Pattern::TWO_OF_FOUR)?;
                errors += &format!(" {:.5}", solution.error);
                steps += &format!(" {}", solution.iterations);
            }
            let seconds = start.elapsed().as_secs_f64();
            *total += seconds;
            println!("{name:8} k {k:4}  {method:30} {seconds:7.3} s  error{errors}  steps{steps}");
        }
    }
    println!("\na block of all:");
    for (method, total) in methods.iter().zip(totals) {
        println!("{:30} {total:7.3} s", method.to_string());
    }
    Ok(())
}

/// Each input is a few common causes and noise of its own, in sizes that spread over two orders.
fn inputs(k: usize, draw: &mut Draw) -> Result<Gram, Box<dyn Error>> {
    let mix: Vec<f32> = (0..k * CAUSES).map(|_| draw.normal()).collect();
    let size: Vec<f32> = (0..k).map(|_| (1.2 * draw.normal()).exp()).collect();
    let mut gram = Gram::new(k);
    for _ in 0..TOKENS / 256 {
        let mut x = Vec::with_capacity(256 * k);
        for _ in 0..256 {
            let causes: [f32; CAUSES] = std::array::from_fn(|_| draw.normal() / 5.0);
            x.extend((0..k).map(|j| {
                let common: f32 = mix[j * CAUSES..].iter().zip(&causes).map(|(m, c)| m * c).sum();
                size[j] * (common + 0.7 * draw.normal())
            }));
        }
        gram.add(&x)?;
    }
    Ok(gram)
}

/// SplitMix64, and sums of its numbers that are nearly normal.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    /// Four 16-bit numbers: mean 0, variance 1.
    fn normal(&mut self) -> f32 {
        let bits = self.next();
        let sum: u64 = (0..4).map(|i| bits >> (16 * i) & 0xFFFF).sum();
        (sum as f32 / 65536.0 - 2.0) * 3f32.sqrt()
    }
}
