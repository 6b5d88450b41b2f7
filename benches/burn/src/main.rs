//! burn's wgpu matmul beside Quickpick's linear layers, dense and 2:4, in turn on one adapter.
//!
//! Y = X·Wᵀ with W m × k and X n × k, random; W is 2:4, and the dense contenders have its zeros. burn
//! multiplies X by W's transpose, stored k × m, as its linear layer does, in f16 and in f32. A sample
//! is one product and the wait for it, by the host's clock; the first of each is not counted. Nothing
//! is timed whose answer is far from the f64 sums of a sample of Y.

use burn::tensor::{DType, Device, DeviceKind, Tensor, TensorData};
use half::f16;
use quickpick::format::Matrix24;
use quickpick::kernels::Activation;
use quickpick::{Backend, LinearLayer, Operands, Wgpu};
use std::error::Error;
use std::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A contender: its name, and one product with the wait for it, by way of which it can tell Y.
struct Contender<'a> {
    name: String,
    multiply: Box<dyn FnMut() -> Result<()> + 'a>,
    answer: Box<dyn FnMut() -> Result<Vec<f32>> + 'a>,
    times: Vec<f64>,
}

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let samples: usize = args.next().map_or(Ok(11), |text| text.parse())?;
    let wgpu = Wgpu::open()?;
    println!("{}; {samples} samples in turn, median ms", wgpu.describe());
    println!("shape,contender,ms,min,max,over the dense twin");
    for (m, n, k) in [(1024, 1024, 1024), (4096, 1, 4096)] {
        shape(&wgpu, (m, n, k), samples)?;
    }
    Ok(())
}

fn shape(wgpu: &Wgpu, (m, n, k): (usize, usize, usize), samples: usize) -> Result<()> {
    let mut random = Random(1);
    let w = weight(m, k, &mut random);
    let x = Vec::from_iter((0..n * k).map(|_| random.element()));
    // burn takes a software adapter only by name
    let device = Device::wgpu(DeviceKind::DefaultDevice);
    let mut contenders = vec![
        ours(wgpu, LinearLayer::dense(wgpu, &w, k, None)?, &x, n)?,
        ours(wgpu, LinearLayer::sparse(wgpu, Matrix24::compress(&w, m, k)?, None)?, &x, n)?,
        burns(&device, DType::F16, &w, &x, (m, n, k)),
        burns(&device, DType::F32, &w, &x, (m, n, k)),
    ];
    for c in &mut contenders {
        (c.multiply)().map_err(|why| format!("{}: {why}", c.name))?;
        check(&c.name, &(c.answer)()?, &w, &x, (m, n, k))?;
    }
    for _ in 0..samples {
        for c in &mut contenders {
            let start = Instant::now();
            (c.multiply)()?;
            c.times.push(1e3 * start.elapsed().as_secs_f64());
        }
    }
    let mut twin = None;
    for c in &mut contenders {
        c.times.sort_by(f64::total_cmp);
        let (median, least, most) = (c.times[samples / 2], c.times[0], c.times[samples - 1]);
        let ratio = *twin.get_or_insert(median) / median;
        println!("{m}x{n}x{k},{},{median:.2},{least:.2},{most:.2},{ratio:.2}", c.name);
    }
    Ok(())
}

fn ours<'a>(
    wgpu: &'a Wgpu,
    mut layer: LinearLayer<Wgpu>,
    x: &[f16],
    n: usize,
) -> Result<Contender<'a>> {
    let selection =
        layer.select(wgpu, n as u32, quickpick::kernels::DType::F32, Activation::None, false)?;
    let bytes = 4 * (n * layer.m() as usize) as u64;
    let y = wgpu.buffer(bytes)?;
    let operands = Operands {
        x: wgpu.upload(&Vec::from_iter(x.iter().flat_map(|v| v.to_le_bytes())))?.into(),
        x_scale: None,
        residual: None,
        y: y.clone().into(),
        workspace: None,
        sum: None,
    };
    let steps = [layer.step(wgpu, &selection.plan, &operands)?];
    let read = move |len| -> Result<Vec<f32>> {
        let bytes = wgpu.read(&y, 0, len)?;
        Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    };
    let wait = read.clone();
    Ok(Contender {
        name: selection.plan.spec.to_string(),
        multiply: Box::new(move || {
            wgpu.run(&steps)?;
            wait(4).map(drop)
        }),
        answer: Box::new(move || read(bytes)),
        times: Vec::new(),
    })
}

fn burns<'a>(
    device: &Device,
    dtype: DType,
    w: &[f16],
    x: &[f16],
    (m, n, k): (usize, usize, usize),
) -> Contender<'a> {
    let wide = |v: &[f16]| Vec::from_iter(v.iter().map(|v| v.to_f32()));
    let transposed = Vec::from_iter((0..k * m).map(|i| w[i % m * k + i / m]));
    let tensor = |values: &[f16], shape: [usize; 2]| {
        Tensor::<2>::from_data(TensorData::new(wide(values), shape), device).cast(dtype)
    };
    let (x, w) = (tensor(x, [n, k]), tensor(&transposed, [k, m]));
    let (x2, w2) = (x.clone(), w.clone());
    let device = device.clone();
    Contender {
        name: format!("burn {dtype:?}").to_lowercase(),
        multiply: Box::new(move || {
            let y = x.clone().matmul(w.clone());
            // one element, so that nothing is left undone; and the wait for it
            let first = y.slice([0..1, 0..1]).cast(DType::F32);
            first.try_into_data()?;
            device.sync()?;
            Ok(())
        }),
        answer: Box::new(move || {
            let y = x2.clone().matmul(w2.clone()).cast(DType::F32);
            Ok(y.try_into_data()?.try_to_vec::<f32>().map_err(|why| format!("{why:?}"))?)
        }),
        times: Vec::new(),
    }
}

/// Y at some places against f64 sums. f16 answers are rounded, and so may sums be on the way: 2 %.
fn check(
    name: &str,
    y: &[f32],
    w: &[f16],
    x: &[f16],
    (m, n, k): (usize, usize, usize),
) -> Result<()> {
    let scale = (k as f64 / 2.0).sqrt() / 3.0;
    for i in 0..997 {
        let (token, feature) = (i * 7919 % n, i * 104_729 % m);
        let products = (0..k).map(|c| x[token * k + c].to_f64() * w[feature * k + c].to_f64());
        let (want, got) = (products.sum::<f64>(), f64::from(y[token * m + feature]));
        // NaN is far from everything
        if !((want - got).abs() <= 0.02 * scale.max(want.abs())) {
            return Err(format!("{name}: y[{token}][{feature}] is {got}, not {want}").into());
        }
    }
    Ok(())
}

/// 2:4, with every pair of positions.
fn weight(m: usize, k: usize, random: &mut Random) -> Vec<f16> {
    const PAIRS: [[usize; 2]; 6] = [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]];
    let mut w = vec![f16::ZERO; m * k];
    for group in w.chunks_exact_mut(4) {
        for i in PAIRS[random.next() as usize % 6] {
            group[i] = random.element();
        }
    }
    w
}

/// xorshift64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32
    }
    /// -1 to 1.
    fn element(&mut self) -> f16 {
        f16::from_f32(self.next() as f32 / u32::MAX as f32 * 2.0 - 1.0)
    }
}
