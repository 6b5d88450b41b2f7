//! From activations to the output of an 8-bit layer: two steps, of which the first makes what the second reads.

#[cfg(feature = "wgpu")]
use crate::skip::unless_open;
use quickpick::format::Element;
use quickpick::kernels::{Activation, DType, select};
use quickpick::{Backend, LinearLayer, Operands};

const M: usize = 24;
const K: usize = 96;
/// Tokens: of numbers, of zeros, with an infinity, and of small numbers.
const N: usize = 4;
const W_SCALE: f32 = 0.25;

/// What a weight of `T` makes of f32 activations, each of which rounding to T may move by `half` of its row's
/// largest.
fn quantised<T: Element, B: Backend>(backend: &B, half: f64) {
    let w = Vec::from_iter((0..M * K).map(|i| T::from_f32((i * 5 % 13) as f32 - 6.0)));
    let mut x = Vec::from_iter((0..N * K).map(|i| (i * 7 % 31) as f32 / 8.0 - 2.0));
    x[K..2 * K].fill(0.0);
    x[2 * K + 5] = f32::NEG_INFINITY;
    x[3 * K..].iter_mut().for_each(|x| *x *= 1e-3);

    let layer = LinearLayer::dense(backend, &w, K, None).unwrap();
    let mut layer = layer.with_scales(backend, &[W_SCALE; M]).unwrap();
    let quantize = select(&layer.quantize(N as u32, DType::F32), backend.caps()).unwrap().plan;
    let plan = layer.select(backend, N as u32, DType::F32, Activation::None, false).unwrap().plan;
    let (q, scale) =
        (backend.buffer((N * K) as u64).unwrap(), backend.buffer(4 * N as u64).unwrap());
    let y = backend.buffer((4 * N * M) as u64).unwrap();
    let from = backend.upload(bytemuck::cast_slice(&x)).unwrap();
    let slices = [from.into(), q.clone().into(), scale.clone().into()].map(Some);
    let operands = Operands {
        x: q.into(),
        x_scale: Some(scale.into()),
        residual: None,
        y: y.clone().into(),
        workspace: None,
        sum: None,
    };
    let first = backend.step(&quantize, &slices).unwrap();
    let second = layer.step(backend, &plan, &operands).unwrap();
    backend.run(&[first, second]).unwrap();

    let y: Vec<f32> =
        bytemuck::pod_collect_to_vec(&backend.read(&y, 0, (4 * N * M) as u64).unwrap());
    for (t, (x, y)) in x.chunks_exact(K).zip(y.chunks_exact(M)).enumerate() {
        if t == 2 {
            assert!(y.iter().all(|y| y.is_nan()), "a row with an infinity: {y:?}");
            continue;
        }
        let largest = f64::from(x.iter().fold(0f32, |a, x| a.max(x.abs())));
        for (w, y) in w.chunks_exact(K).zip(y) {
            let w = w.iter().map(|w| f64::from(w.to_f32() * W_SCALE));
            let (want, weight) = w.zip(x).fold((0.0, 0.0), |(sum, weight), (w, x)| {
                (sum + w * f64::from(*x), weight + w.abs())
            });
            let (got, bound) = (f64::from(*y), 1.001 * half * largest * weight);
            assert!((got - want).abs() <= bound, "row {t}: {got}, not {want} ± {bound}");
        }
    }
}

/// Half a step of I8, half an ulp of E4M3, of E5M2.
const HALVES: [f64; 3] = [0.5 / 127.0, 1.0 / 16.0, 1.0 / 8.0];

#[cfg(feature = "cpu")]
#[test]
fn on_the_cpu() {
    quantised::<i8, _>(&quickpick::Cpu::new(), HALVES[0]);
    quantised::<quickpick::format::E4m3, _>(&quickpick::Cpu::new(), HALVES[1]);
    quantised::<quickpick::format::E5m2, _>(&quickpick::Cpu::new(), HALVES[2]);
}

#[cfg(feature = "wgpu")]
#[test]
fn on_wgpu() {
    if let Some(wgpu) = unless_open("wgpu", quickpick::Wgpu::open()) {
        quantised::<i8, _>(&wgpu, HALVES[0]);
    }
}
