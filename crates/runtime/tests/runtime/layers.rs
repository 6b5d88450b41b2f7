//! Linear layers: packing, copies per order, selection, and every way to misuse them.

#[cfg(any(feature = "wgpu", feature = "cuda"))]
use crate::skip::unless_open;
use half::{bf16, f16};
use quickpick::format::{Csr, E4m3, E5m2, Element, Matrix24, interleave_gate_up};
use quickpick::kernels::reference::{LinearInputs, SpmmCsrInputs};
use quickpick::kernels::{
    Activation, DType, Epilogue, Linear, Plan, Problem, RmsNorm, SpmmCsr, Weights, bound,
    reference, select,
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
        sum: None,
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

/// A dense weight, what 2:4 keeps of it, and what is recovered of the rest: nothing of row 3, all of
/// row 5, a seventh of the others.
fn split() -> [Vec<f64>; 3] {
    let dense = Vec::from_iter((0..M * COLS).map(|i| f64::from(7 * i % 31 + 1) / 8.0));
    let kept = |i: usize| (1..3).contains(&(i % 4));
    let back = |i: usize| match i / COLS as usize {
        3 => false,
        5 => true,
        _ => i.is_multiple_of(7),
    };
    let part = |takes: &dyn Fn(usize) -> bool| {
        Vec::from_iter(dense.iter().enumerate().map(|(i, &w)| if takes(i) { w } else { 0.0 }))
    };
    let sum = part(&|i| kept(i) || back(i));
    [part(&kept), part(&|i| !kept(i) && back(i)), sum]
}

fn recovered_layer<B: Backend>(backend: &B) -> LinearLayer<B> {
    let [w, r, _] = split().map(|w| halves(&w));
    let w = Matrix24::compress(&w, M as usize, COLS as usize).unwrap();
    let r = Csr::from_dense(&r, M as usize, COLS as usize).unwrap();
    let bias = Vec::from_iter(case(1, Weights::Dense).bias.iter().map(|&b| b as f32));
    LinearLayer::recovered(backend, w, &r, Some(&bias)).unwrap()
}

/// Two launches are the dense layer of the sum, within the bounds of both: the oracle's, and what the
/// same backend makes of it.
fn recovered<B: Backend>(backend: &B) {
    let [w, r, sum] = split();
    let csr = Csr::from_dense(&halves(&r), M as usize, COLS as usize).unwrap();
    let values = Vec::from_iter(csr.values().iter().map(|v| v.to_f64()));
    let mut layer = recovered_layer(backend);
    for (n, adds) in [(1, false), (1, true), (5, true), (80, false), (80, true)] {
        let Case { x, bias, .. } = case(n, Weights::Dense);
        let third = |v: &f64| f16::from_f64(v / 3.0).to_f64();
        let x = Vec::from_iter(x.iter().map(third));
        let residual = Vec::from_iter((0..n * M).map(|i| f64::from(13 * i % 29) / 4.0));
        let wide = Vec::from_iter(residual.iter().map(|&v| v as f32));

        let selections = layer.launches(backend, n, DType::F32, Activation::None, adds).unwrap();
        let [first, second] = &selections[..] else { panic!("{} launches", selections.len()) };
        let sum_bytes = layer.sum_bytes(n);
        assert_eq!(first.plan.bindings.last().unwrap().bytes, sum_bytes);
        let mut bound_to = operands(backend, &second.plan, &x);
        bound_to.sum = Some(backend.buffer(sum_bytes).unwrap().into());
        let uploaded = backend.upload(bytemuck::cast_slice(&wide)).unwrap();
        bound_to.residual = Some(uploaded.into()).filter(|_| adds);
        let steps = selections.iter().map(|s| layer.step(backend, &s.plan, &bound_to).unwrap());
        let steps = Vec::from_iter(steps);

        let p = Linear {
            m: M,
            n,
            k: COLS,
            weights: Weights::Dense,
            dtype: DType::F16,
            out: DType::F32,
            epilogue: Epilogue { bias: true, residual: adds, ..Epilogue::NONE },
        };
        let whole =
            LinearInputs { w: &sum, x: &x, bias: &bias, residual: &residual, ..Default::default() };
        let want = reference::linear(&p, &whole);
        let of_dense = bound::linear(&p, &whole);
        let k = COLS;
        let nnz = values.len() as u32;
        let part = SpmmCsr { m: M, n, k, nnz, dtype: DType::F16, residual: adds };
        let (rows, columns) = (csr.pointers(), csr.columns());
        let inputs = SpmmCsrInputs { rows, columns, values: &values, x: &x, residual: &residual };
        let (sums, of_first) =
            (reference::spmm_csr(&part, &inputs), bound::spmm_csr(&part, &inputs));
        let epilogue = Epilogue { residual: true, ..p.epilogue };
        let rest = Linear { weights: Weights::Sparse24, epilogue, ..p };
        let of_second = bound::linear(&rest, &LinearInputs { w: &w, residual: &sums, ..whole });

        let mut dense = LinearLayer::dense(
            backend,
            &halves(&sum),
            COLS as usize,
            Some(&Vec::from_iter(bias.iter().map(|&b| b as f32))),
        )
        .unwrap();
        let plan = dense.launches(backend, n, DType::F32, Activation::None, adds).unwrap();
        let plan = &plan[0].plan;
        assert_eq!(dense.sum_bytes(n), 0);
        let mut of_dense_layer = operands(backend, plan, &x);
        of_dense_layer.residual = bound_to.residual.clone();
        backend.run(&[dense.step(backend, plan, &of_dense_layer).unwrap()]).unwrap();
        let read = |operands: &Operands<B::Buffer>| -> Vec<f32> {
            let bytes = 4 * u64::from(n * M);
            bytemuck::pod_collect_to_vec(&backend.read(&operands.y.buffer, 0, bytes).unwrap())
        };
        let same = read(&of_dense_layer);
        // what one run leaves behind must not matter to the next
        for run in 0..2 {
            backend.run(&steps).unwrap();
            for (i, got) in read(&bound_to).into_iter().map(f64::from).enumerate() {
                // the second launch rounds a sum that is off by the first one's error
                let bound = of_second[i] + of_first[i] * (1.0 + f64::from(f32::EPSILON));
                let at = format!("{n} tokens, run {run}, element {i}: {got}");
                assert!((got - want[i]).abs() <= bound, "{at}, not {} ± {bound}", want[i]);
                let off = (got - f64::from(same[i])).abs();
                assert!(off <= bound + of_dense[i], "{at}, but {} of a dense layer", same[i]);
            }
        }
    }
}

fn recovered_misuse<B: Backend>(backend: &B) {
    let mut layer = recovered_layer(backend);
    let no = Activation::None;
    let said = |layer: &LinearLayer<B>, out, activation| {
        layer.launches(backend, 2, out, activation, false).err().unwrap().to_string()
    };
    let one = layer.select(backend, 2, DType::F32, no, false).err().unwrap().to_string();
    assert_eq!(one, "launches selected for a recovered layer: 1 given, 2 expected");
    assert!(said(&layer, DType::F32, Activation::Silu).contains("activation's number"));
    assert!(said(&layer, DType::F16, no).contains("an element of Y, f32"));
    assert!(said(&recovered_layer(backend).transposed(), DType::F32, no).contains("transposed"));
    let scaled = recovered_layer(backend).with_scales(backend, &[1.0; M as usize]).err().unwrap();
    assert_eq!(scaled.to_string(), "scales of a recovered layer: 70 given, 0 expected");

    let selections = layer.launches(backend, 2, DType::F32, no, false).unwrap();
    let plans = Vec::from_iter(selections.into_iter().map(|selection| selection.plan));
    let operands = operands(backend, &plans[1], &case(2, Weights::Dense).x);
    let sum = |buffer: B::Buffer| Operands { sum: Some(buffer.into()), ..operands.clone() };
    let mut step = |plan: &Plan, operands: &Operands<B::Buffer>| {
        layer.step(backend, plan, operands).err().map(|e| e.to_string()).unwrap_or_default()
    };
    for plan in &plans {
        let said = step(plan, &operands);
        let names = "bytes of sum, an operand of a recovered layer: 0 given, 560 expected";
        assert!(said.contains(names), "{said}");
    }
    let aliased = step(&plans[1], &sum(operands.y.buffer.clone()));
    assert!(aliased.contains("share a buffer"), "{aliased}");
    let Problem::Linear(p) = plans[1].problem else { panic!("{}", plans[1]) };
    let Problem::SpmmCsr(r) = plans[0].problem else { panic!("{}", plans[0]) };
    for (problem, why) in [
        (
            Problem::Linear(Linear { epilogue: Epilogue { residual: false, ..p.epilogue }, ..p }),
            "residuals",
        ),
        (Problem::SpmmCsr(SpmmCsr { nnz: r.nnz - 1, ..r }), "nnz of a plan for this layer"),
    ] {
        let other = select(&problem, backend.caps()).unwrap().plan;
        let said = step(&other, &sum(backend.buffer(560).unwrap()));
        assert!(said.contains(why), "{said}");
    }
    let mut plain = self::layer(backend, &case(2, Weights::Sparse24), Weights::Sparse24);
    let foreign = plain.step(backend, &plans[0], &operands).err().unwrap().to_string();
    assert!(foreign.contains("linear layers in the plan"), "{foreign}");

    let w = Matrix24::compress(&[f16::ZERO; 4], 1, 4).unwrap();
    let other = Csr::from_dense(&[f16::ONE; 8], 1, 8).unwrap();
    let shape = LinearLayer::recovered(backend, w, &other, None).err().unwrap();
    assert_eq!(shape.to_string(), "columns of a residual for this weight: 8 given, 4 expected");
    let w = Matrix24::compress(&[0.0f32; 4], 1, 4).unwrap();
    let wide = Csr::from_dense(&[1.0f32; 4], 1, 4).unwrap();
    let wide = LinearLayer::recovered(backend, w, &wide, None).err().unwrap().to_string();
    assert!(wide.contains("a packed entry holds f16 or bf16"), "{wide}");
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
        sum: None,
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
        DType::E4M3 | DType::E5M2 => LinearLayer::dense(backend, &[1i8; 96], k, None),
        _ => LinearLayer::dense(backend, &[bf16::ONE; 96], k, None),
    };
    let twin = twin.unwrap().select(backend, 2, DType::F32, Activation::None, false).unwrap();
    let other = layer.step(backend, &twin.plan, &operands).err().unwrap().to_string();
    assert!(other.contains(&format!("plans for weights of {}", T::DTYPE)), "{other}");
}

/// Gate and up of eight features in one launch, on numbers that f16 holds: relu((f − 3)·x)·((10 + f)·x + ½).
fn gated<B: Backend>(backend: &B) {
    let (features, n, k) = (8, 2, 32);
    let diagonal = |of: fn(f32) -> f32| {
        let mut w = vec![f16::ZERO; features * k];
        (0..features).for_each(|f| w[f * k + f] = f16::from_f32(of(f as f32)));
        Matrix24::compress(&w, features, k).unwrap()
    };
    let both = Matrix24::gate_up(&diagonal(|f| f - 3.0), &diagonal(|f| 10.0 + f)).unwrap();
    let bias = interleave_gate_up(&[0.0; 8], &[0.5; 8], 1).unwrap();
    let mut layer = LinearLayer::sparse(backend, both, Some(&bias)).unwrap().gated().unwrap();
    let plan = layer.select(backend, n as u32, DType::F32, Activation::Relu, false).unwrap().plan;
    let x = Vec::from_iter((0..n * k).map(|i| f16::from_f32((1 + i / k) as f32)));
    let y = backend.buffer(4 * (n * features) as u64).unwrap();
    let workspace = plan.workspace_bytes();
    let operands = Operands {
        x: backend.upload(bytemuck::cast_slice(&x)).unwrap().into(),
        x_scale: None,
        residual: None,
        y: y.clone().into(),
        workspace: (workspace > 0).then(|| backend.buffer(workspace).unwrap().into()),
        sum: None,
    };
    let step = layer.step(backend, &plan, &operands).unwrap();
    backend.run(&[step]).unwrap();
    let y: Vec<f32> = bytemuck::pod_collect_to_vec(&backend.read(&y, 0, 4 * 16).unwrap());
    let of = |x: f32, f: f32| ((f - 3.0) * x).max(0.0) * ((10.0 + f) * x + 0.5);
    let want = Vec::from_iter((0..16).map(|i| of((1 + i / 8) as f32, (i % 8) as f32)));
    assert_eq!(y, want);

    let odd = LinearLayer::dense(backend, &[f16::ONE; 24 * 32], 32, None).unwrap().gated();
    let why = odd.err().unwrap().to_string();
    assert_eq!(why, "rows of a gated weight past the last multiple of 16: 8 given, 0 expected");
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
    recovered(&quickpick::Cpu::new());
    recovered_misuse(&quickpick::Cpu::new());
    misuse(&quickpick::Cpu::new());
    gated(&quickpick::Cpu::new());
    scaled::<i8, _>(&quickpick::Cpu::new());
    scaled::<E4m3, _>(&quickpick::Cpu::new());
    scaled::<E5m2, _>(&quickpick::Cpu::new());
    scaled::<f16, _>(&quickpick::Cpu::new());
}

#[cfg(feature = "wgpu")]
#[test]
fn on_wgpu() {
    if let Some(wgpu) = unless_open("wgpu", quickpick::Wgpu::open()) {
        any_number_of_tokens(&wgpu);
        recovered(&wgpu);
        recovered_misuse(&wgpu);
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
        gated(&cuda);
    }
}
