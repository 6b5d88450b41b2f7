//! The rival that every Rust user has: candle's matmul (the `gemm` crate underneath) on the CPU.

use crate::clock::MOST_LAUNCHES;
use crate::contender::{About, Contender, Method};
use crate::error::{Error, Result};
use crate::oracle::Oracle;
use crate::weights::{Weight, activations};
use candle_core::{DType as CandleType, Device, Tensor};
use quickpick::kernels::{DType, Linear};
use std::time::Instant;

/// candle on a shape.
pub struct Candle {
    inputs: Vec<(Tensor, Tensor)>,
    next: usize,
    about: About,
}

impl Candle {
    /// Copies of W and X, and a calibrated number of runs. How far its answer is from the oracle is
    /// told, not judged: its bound is not ours to set.
    pub fn new(weight: &dyn Weight, problem: &Linear, method: Method) -> Result<Self> {
        let ty = match weight.dtype() {
            DType::F16 => CandleType::F16,
            DType::BF16 => CandleType::BF16,
            DType::F32 => CandleType::F32,
            DType::I8 | DType::E4M3 | DType::E5M2 => {
                return Err(Error::Absent(format!("candle multiplies no {}", weight.dtype())));
            }
        };
        let (m, n, k) = (problem.m as usize, problem.n as usize, problem.k as usize);
        let (w, x) = (weight.dense(), activations(weight.dtype(), problem.n, problem.k, 2));
        let tensor = |bytes: &[u8], rows| {
            Tensor::from_raw_buffer(bytes, ty, &[rows, k], &Device::Cpu).map_err(failed)
        };
        let mut inputs = Vec::new();
        for _ in 0..method.copies((w.len() + x.len()) as u64) {
            inputs.push((tensor(&x, n)?, tensor(&w, m)?.t().map_err(failed)?));
        }
        let kernel = format!("candle {} matmul", ty.as_str());
        let (rival, copies) = ("candle".into(), inputs.len() as u32);
        let about = About { rival, kernel, copies, launches: copies, ..About::default() };
        let mut this = Self { inputs, next: 0, about };
        this.sample()?; // warm
        let one = this.sample()? / 1e6;
        this.about.launches =
            ((method.sample.as_secs_f64() / one).ceil() as u32).clamp(1, MOST_LAUNCHES);
        let y = this.inputs[0].0.matmul(&this.inputs[0].1).map_err(failed)?;
        let row = |token| {
            let row = y.get(token as usize).and_then(|row| row.to_dtype(CandleType::F32));
            let row = row.and_then(|row| row.to_vec1::<f32>()).map_err(failed)?;
            Ok(row.into_iter().map(f64::from).collect())
        };
        this.about.error = Oracle::new(problem, weight, &x).share(row)?.largest;
        Ok(this)
    }
}

impl Contender for Candle {
    fn about(&self) -> &About {
        &self.about
    }

    fn sample(&mut self) -> Result<f64> {
        let start = Instant::now();
        for _ in 0..self.about.launches {
            let (x, w) = &self.inputs[self.next];
            std::hint::black_box(x.matmul(w).map_err(failed)?);
            self.next = (self.next + 1) % self.inputs.len();
        }
        Ok(start.elapsed().as_secs_f64() * 1e6 / f64::from(self.about.launches))
    }
}

fn failed(why: candle_core::Error) -> Error {
    Error::Peer { peer: "candle".into(), why: why.to_string() }
}
