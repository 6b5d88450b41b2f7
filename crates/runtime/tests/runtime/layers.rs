//! Linear layers: packing, copies per order, selection, and every way to misuse them.

#[cfg(any(feature = "wgpu", feature = "cuda"))]
use crate::skip::unless_open;
use half::{bf16, f16};
use quickpick::format::{E4m3, Element, Matrix24};
use quickpick::kernels::reference::LinearInputs;
use quickpick::kernels::{
    Activation, DType, Epilogue, Linear, Plan, Problem, RmsNorm, Weights, bound, reference, select,
};
use quickpick::{Backend, Error, LinearLayer, Operands, pad_columns};

/// m, and columns that are no multiple of 32.
const M: u32 = 70;
const COLS: u32 = 100;
const K: u32 = 128;

struct Case {
    w: Vec<f64>,
    bias: Vec<f64>,
    x: Vec<f64>,
}

/// Multiples of 1/8 in −2..2, exact in f16; the weight keeps columns 1 and 2 of each four.
fn case(n: u32, weights: Weights) -> Case {
    let matrix = |rows: u32, cols: u32, step: u32| {
        Vec::from_iter((0..rows * cols).map(|i| f64::from(step * i % 31) / 8.0 - 2.0))
    };
    let mut w = matrix(M, COLS, 7);
    if weights == Weights::Sparse24 {
        for group in w.chunks_exact_mut(4) {
            (group[0], group[3]) = (0.0, 0.0);
        }
    }
    Case { w, bias: matrix(1, M, 11), x: matrix(n, COLS, 5) }
}

fn halves(numbers: &[f64]) -> Vec<f16> {
    numbers.iter().map(|&x| f16::from_f64(x)).collect()
}

fn layer<B: Backend>(backend: &B, case: &Case, weights: Weights) -> LinearLayer<B> {
    let (w, cols) = (halves(&case.w), COLS as usize);
    let bias = Vec::from_iter(case.bias.iter().map(|&b| b as f32));
    match weights {
        Weights::Sparse24 => {
            let matrix = Matrix24::compress(&w, M as usize, cols).unwrap();
            LinearLayer::sparse(backend, matrix, Some(&bias)).unwrap()
        }
        Weights::Dense => LinearLayer::dense(backend, &w, cols, Some(&bias)).unwrap(),
    }
}

fn operands<B: Backend>(backend: &B, plan: &Plan, x: &[f64]) -> Operands<B::Buffer> {
    let padded = pad_columns(&halves(x), COLS as usize).unwrap();
    let y = plan.bindings.iter().find(|b| b.name == "y").unwrap();
    let workspace = Some(plan.workspace_bytes()).filter(|&bytes| bytes > 0);
    Operands {
        x: backend.upload(bytemuck::cast_slice(&padded)).unwrap().into(),
        x_scale: None,
        residual: None,
        y: backend.buffer(y.bytes).unwrap().into(),
        workspace: workspace.map(|bytes| backend.buffer(bytes).unwrap().into()),
    }
}

/// The result for any number of tokens, from one layer, equals the oracle's on unpadded operands.
fn any_number_of_tokens<B: Backend>(backend: &B) {
    for weights in [Weights::Sparse24, Weights::Dense] {
        let mut layer = layer(backend, &case(1, weights), weights);
        assert_eq!((layer.m(), layer.k()), (M, K));
        for (n, out) in [(1, DType::F16), (5, DType::F32), (80, DType::F16)] {
            let case = case(n, weights);
            let selection = layer.select(backend, n, out, Activation::Silu, false).unwrap();
            let operands = operands(backend, &selection.plan, &case.x);
            let step = layer.step(backend, &selection.plan, &operands).unwrap();
            backend.run(&[step]).unwrap();
            let epilogue = Epilogue { bias: true, activation: Activation::Silu, ..Epilogue::NONE };
            let p = Linear { m: M, n, k: COLS, weights, dtype: DType::F16, out, epilogue };
            let inputs =
                LinearInputs { w: &case.w, x: &case.x, bias: &case.bias, ..Default::default() };
            let want = reference::linear(&p, &inputs);
            let bound = bound::linear(&p, &inputs);
            let bytes = (want.len() * out.bytes()) as u64;
            let got = backend.read(&operands.y.buffer, 0, bytes).unwrap();
            let got = match out {
                DType::F16 => Vec::from_iter(
                    got.chunks_exact(2).map(|b| f16::from_ne_bytes([b[0], b[1]]).to_f64()),
                ),
                _ => {
                    bytemuck::pod_collect_to_vec(&got).into_iter().map(|x: f32| x.into()).collect()
                }
            };
            assert_eq!(got.len(), want.len());
            for (i, got) in got.iter().enumerate() {
                let (want, bound) = (want[i], bound[i]);
                assert!(
                    (got - want).abs() <= bound,
                    "{selection}\n{i}: {got}, not {want} ± {bound}"
                );
            }
        }
    }
}

fn misuse<B: Backend>(backend: &B) {
    let weights = Weights::Sparse24;
    let case = case(2, weights);
    let mut layer = layer(backend, &case, weights);
    let plan = layer.select(backend, 2, DType::F16, Activation::None, false).unwrap().plan;
    let operands = operands(backend, &plan, &case.x);
    let said = |layer: &mut LinearLayer<B>, plan: &Plan, operands: &Operands<B::Buffer>| {
        layer.step(backend, plan, operands).err().map(|e| e.to_string()).unwrap_or_default()
    };

    // a plan for something else
    let norm = Problem::RmsNorm(RmsNorm { n: 2, d: 32, eps: 0.0, out: DType::F16 });
    let norm = select(&norm, backend.caps()).unwrap().plan;
    assert!(said(&mut layer, &norm, &operands).contains("linear layers in the plan"));
    let wide = LinearLayer::dense(backend, &[f16::ONE; 64], 64, None).unwrap();
    let wide = wide.select(backend, 2, DType::F16, Activation::None, false).unwrap().plan;
    assert!(said(&mut layer, &wide, &operands).contains("m of a plan for this layer: 1 given, 70"));

    // operands that do not fit
    let mut short = operands.clone();
    short.x = backend.buffer(2 * u64::from(K)).unwrap().into();
    assert!(said(&mut layer, &plan, &short).contains("bytes of x: 256 given, 512 expected"));
    let mut aliased = operands.clone();
    aliased.y = operands.x.clone();
    assert!(said(&mut layer, &plan, &aliased).contains("y and x share a buffer, and one of them"));
    let adds = layer.select(backend, 2, DType::F16, Activation::None, true).unwrap().plan;
    assert!(
        said(&mut layer, &adds, &operands).contains("bytes of residual: 0 given, 280 expected")
    );

    // the host's copy is gone before its order was read
    layer.release_host();
    assert!(said(&mut layer, &plan, &operands).is_empty(), "this order is on the device already");
    let mut fresh = self::layer(backend, &case, weights);
    fresh.release_host();
    assert!(said(&mut fresh, &plan, &operands).contains("it was released"));

    let matrix = Matrix24::compress(&halves(&case.w), M as usize, COLS as usize).unwrap();
    let bias = LinearLayer::sparse(backend, matrix, Some(&[0.0; 3])).err().unwrap();
    assert_eq!(bias.to_string(), "elements of the bias: 3 given, 70 expected");
    let ragged = LinearLayer::dense(backend, &[f16::ONE; 33], 16, None).err().unwrap();
    assert!(ragged.to_string().contains("past the last whole row of 16 columns: 1 given"));
    let none = layer.select(backend, 0, DType::F16, Activation::None, false).unwrap_err();
    assert!(matches!(&none, Error::NoKernel(_)) && none.to_string().contains("n = 0"), "{none}");
}

#[test]
fn padding_adds_zeros_to_each_row() {
    let padded = pad_columns(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], 3).unwrap();
    assert_eq!(
        (padded.len(), &padded[..4], &padded[32..36]),
        (64, &[1.0, 2.0, 3.0, 0.0][..], &[4.0, 5.0, 6.0, 0.0][..])
    );
    assert!(pad_columns(&[1.0f32], 0).is_err());
    assert!(pad_columns::<f32>(&[], 0).is_err());
    assert_eq!(pad_columns(&[1.0f32; 64], 32).unwrap(), [1.0; 64]);
}

/// A quantised layer: 8-bit values, a scale for each feature and each token, features × tokens.
fn scaled<T: Element, B: Backend>(backend: &B) {
    let (m, n, k) = (3, 2, 32);
    let mut w = vec![T::from_f32(0.0); m * k];
    for (r, row) in w.chunks_exact_mut(k).enumerate() {
        (row[r], row[k - 1]) = (T::from_f32(2.0), T::from_f32(-(r as f32)));
    }
    let x = Vec::from_iter((0..n * k).map(|i| T::from_f32(if i < k { 1.0 } else { 4.0 })));
    let (bias, w_scale, x_scale) = ([1.0, 2.0, 3.0], [1.0, 10.0, 100.0], [0.5f32, 2.0]);
    let matrix = Matrix24::compress(&w, m, k).unwrap();
    let layer = LinearLayer::sparse(backend, matrix, Some(&bias)).unwrap();
    let wrong = layer.with_scales(backend, &[1.0; 2]).err().unwrap();
    assert_eq!(wrong.to_string(), "elements of w_scale: 2 given, 3 expected");

    let layer = LinearLayer::dense(backend, &w, k, Some(&bias)).unwrap();
    let mut layer = layer.with_scales(backend, &w_scale).unwrap().transposed();
    let plan = layer.select(backend, n as u32, DType::F32, Activation::None, false).unwrap().plan;
    let y = backend.buffer(4 * (m * n) as u64).unwrap();
    let operands = Operands {
        x: backend.upload(bytemuck::cast_slice(&x)).unwrap().into(),
        x_scale: Some(backend.upload(bytemuck::cast_slice(&x_scale)).unwrap().into()),
        residual: None,
        y: y.clone().into(),
        workspace: None,
    };
    let missing = Operands { x_scale: None, ..operands.clone() };
    let missing = layer.step(backend, &plan, &missing).err().unwrap().to_string();
    assert!(missing.contains("bytes of x_scale: 0 given, 8 expected"), "{missing}");
    let step = layer.step(backend, &plan, &operands).unwrap();
    backend.run(&[step]).unwrap();
    let y: Vec<f32> = bytemuck::pod_collect_to_vec(&backend.read(&y, 0, 24).unwrap());
    // (2 − r)·x, x 1 or 4, by w_scale and ½ or 2; a row for each feature
    assert_eq!(y, [2.0, 17.0, 2.0 + 5.0, 2.0 + 80.0, 3.0, 3.0]);

    // as many bytes, but other numbers
    let twin = match T::DTYPE {
        DType::I8 => LinearLayer::dense(backend, &[E4m3::MAX; 96], k, None),
        DType::E4M3 => LinearLayer::dense(backend, &[1i8; 96], k, None),
        _ => LinearLayer::dense(backend, &[bf16::ONE; 96], k, None),
    };
    let twin = twin.unwrap().select(backend, 2, DType::F32, Activation::None, false).unwrap();
    let other = layer.step(backend, &twin.plan, &operands).err().unwrap().to_string();
    assert!(other.contains(&format!("plans for weights of {}", T::DTYPE)), "{other}");
}

/// Where no kernel scales, each says so.
#[cfg(feature = "wgpu")]
fn unscaled<B: Backend>(backend: &B) {
    let layer = LinearLayer::dense(backend, &[f16::ONE; 32], 32, None).unwrap();
    let layer = layer.with_scales(backend, &[1.0]).unwrap();
    let none = layer.select(backend, 1, DType::F16, Activation::None, false).unwrap_err();
    assert!(none.to_string().contains("has no scales in its epilogue"), "{none}");
}

#[cfg(feature = "cpu")]
#[test]
fn on_the_cpu() {
    any_number_of_tokens(&quickpick::Cpu::new());
    misuse(&quickpick::Cpu::new());
    scaled::<i8, _>(&quickpick::Cpu::new());
    scaled::<E4m3, _>(&quickpick::Cpu::new());
    scaled::<f16, _>(&quickpick::Cpu::new());
}

#[cfg(feature = "wgpu")]
#[test]
fn on_wgpu() {
    if let Some(wgpu) = unless_open("wgpu", quickpick::Wgpu::open()) {
        any_number_of_tokens(&wgpu);
        misuse(&wgpu);
        unscaled(&wgpu);
    }
}

#[cfg(feature = "cuda")]
#[test]
fn on_cuda() {
    if let Some(cuda) = unless_open("cuda", quickpick::Cuda::open()) {
        any_number_of_tokens(&cuda);
        misuse(&cuda);
    }
}
