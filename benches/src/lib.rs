//! Shapes as data, and a linear layer with its dense twin on any backend.
//!
//! Both twins hold the same weights (the dense one with zeros where the sparse one keeps nothing), so
//! their answers must agree: [`Twins::new`] checks that before anything is timed.
#![forbid(unsafe_code)]

use half::f16;
use quickpick::format::Matrix24;
use quickpick::kernels::{Activation, DType};
use quickpick::{Backend, LinearLayer, Operands, Result};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// A linear layer: its name, output features m, input features k.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Where it comes from.
    pub name: &'static str,
    /// Output features.
    pub m: usize,
    /// Input features.
    pub k: usize,
}

/// The layers that are timed: squares, and the widest of Llama-2-7B.
pub const SHAPES: &[Shape] = &[
    Shape { name: "square", m: 1024, k: 1024 },
    Shape { name: "llama-2-7b o_proj", m: 4096, k: 4096 },
    Shape { name: "llama-2-7b up_proj", m: 11008, k: 4096 },
];

/// Tokens: decode, a small batch, a prompt.
pub const TOKENS: &[u32] = &[1, 16, 128];

/// Copies of a layer with different weights, run in turn so that no cache holds the next one.
const COPIES: u64 = 4;

/// A layer, bound and ready.
pub struct Twin<B: Backend> {
    /// The kernel's name.
    pub name: String,
    /// One step per copy.
    steps: Vec<B::Step>,
    y: B::Buffer,
}

/// A sparse layer and its dense twin.
pub struct Twins<B: Backend> {
    /// 2:4.
    pub sparse: Twin<B>,
    /// The same weights, with their zeros.
    pub dense: Twin<B>,
}

impl<B: Backend> Twin<B> {
    fn new(backend: &B, m: usize, n: u32) -> Result<Self> {
        let y = backend.buffer(4 * n as u64 * m as u64)?;
        Ok(Self { name: String::new(), steps: Vec::new(), y })
    }

    fn add(&mut self, backend: &B, mut layer: LinearLayer<B>, n: u32, x: &B::Buffer) -> Result<()> {
        let selection = layer.select(backend, n, DType::F32, Activation::None, false)?;
        let workspace = match selection.plan.workspace_bytes() {
            0 => None,
            bytes => Some(backend.buffer(bytes)?.into()),
        };
        let (x, y) = (x.clone().into(), self.y.clone().into());
        let operands = Operands { x, residual: None, y, workspace };
        self.steps.push(layer.step(backend, &selection.plan, &operands)?);
        self.name = selection.plan.spec.to_string();
        Ok(())
    }

    /// Runs the `i`-th copy, modulo their number, and waits for it.
    pub fn run(&self, backend: &B, i: usize) -> Result<()> {
        let i = i % self.steps.len();
        backend.run(&self.steps[i..=i])?;
        backend.read(&self.y, 0, 4).map(drop)
    }

    fn answer(&self, backend: &B, i: usize) -> Result<Vec<f32>> {
        backend.run(&self.steps[i..=i])?;
        let bytes = backend.len(&self.y);
        Ok(bytemuck::pod_collect_to_vec(&backend.read(&self.y, 0, bytes)?))
    }
}

impl<B: Backend> Twins<B> {
    /// Random weights and inputs from fixed seeds; every copy of both runs once, and their answers
    /// are compared.
    ///
    /// # Panics
    ///
    /// If the twins disagree by more than the rounding of their sums: a wrong kernel's time means
    /// nothing.
    pub fn new(backend: &B, shape: Shape, n: u32) -> Result<Self> {
        let Shape { m, k, .. } = shape;
        let (mut sparse, mut dense) = (Twin::new(backend, m, n)?, Twin::new(backend, m, n)?);
        let x = random(0, n as usize * k, |_| true);
        let x = backend.upload(bytemuck::cast_slice(&x))?;
        for copy in 1..=COPIES {
            // of each four columns the first, and one of the others, which changes by the group
            let kept = |i: usize| i % 4 == 0 || i % 4 == i / 4 % 3 + 1;
            let weight = random(copy, m * k, kept);
            let matrix = Matrix24::compress(&weight, m, k)?;
            sparse.add(backend, LinearLayer::sparse(backend, matrix, None)?, n, &x)?;
            dense.add(backend, LinearLayer::dense(backend, &weight, k, None)?, n, &x)?;
        }
        // a sum of k products below 1 is off by k·2⁻²⁴·k at most, on either side
        let bound = (k * k) as f32 * f32::EPSILON;
        for copy in 0..COPIES as usize {
            let (a, b) = (sparse.answer(backend, copy)?, dense.answer(backend, copy)?);
            for (i, (a, b)) in a.iter().zip(&b).enumerate() {
                assert!((a - b).abs() <= bound, "element {i}: sparse {a}, dense {b}");
            }
            assert!(a.iter().any(|y| *y != 0.0), "the answer is all zeros");
        }
        Ok(Self { sparse, dense })
    }
}

/// Numbers in −1..1 where `kept`, zero elsewhere.
fn random(seed: u64, len: usize, kept: impl Fn(usize) -> bool) -> Vec<f16> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut draw = |i| if kept(i) { random.random_range(-1.0..1.0f32) } else { 0.0 };
    (0..len).map(|i| f16::from_f32(draw(i))).collect()
}
