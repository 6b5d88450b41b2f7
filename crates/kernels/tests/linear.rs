//! Linear layers as they are described: types, flags, bindings, refusals, and the oracle on numbers
//! that a reader can check.

use quickpick_kernels::reference::LinearInputs;
use quickpick_kernels::{
    Activation, Caps, CudaCaps, DType, Epilogue, Form, KERNELS, KernelSpec, Linear, OpKind,
    Problem, Target, Unsupported, Weights, WgpuCaps, bound, reference,
};

const ALL: Epilogue = Epilogue {
    scales: true,
    bias: true,
    activation: Activation::Relu,
    residual: true,
    transposed: true,
    gated: false,
};

fn problem(spec: &KernelSpec, epilogue: Epilogue) -> Option<Linear> {
    let OpKind::Linear(weights) = spec.op else { return None };
    let (dtype, out) = (spec.dtype, Linear::narrow_out(spec.dtype));
    Some(Linear { m: 5, n: 3, k: 64, weights, dtype, out, epilogue })
}

/// A device that runs the kernel.
fn caps(spec: &KernelSpec) -> Caps {
    let limits = WgpuCaps {
        name: None,
        f16: true,
        subgroup: 8,
        cooperative: spec.target.cooperative(),
        software: true,
        workgroup_bytes: 16 << 10,
        invocations: 256,
        workgroups: 65535,
        binding_bytes: 1 << 27,
        storage_buffers: 8,
    };
    match spec.target {
        Target::Cpu => Caps::Cpu,
        Target::Sm80 | Target::Sm90a => Caps::Cuda(CudaCaps::least(spec, 108)),
        _ => Caps::Wgpu(limits),
    }
}

fn host(dtype: DType, weights: Weights) -> &'static KernelSpec {
    let is =
        |s: &&KernelSpec| (s.form, s.dtype, s.op) == (Form::Host, dtype, OpKind::Linear(weights));
    KERNELS.iter().find(is).expect("a row")
}

#[test]
fn each_flag_has_its_bit() {
    assert_eq!(Epilogue::NONE.flags(DType::BF16), 0);
    assert_eq!(ALL.flags(DType::F32), 0b111_1101);
    assert_eq!(Epilogue { scales: true, ..Epilogue::NONE }.flags(DType::BF16), 1 << 5);
    assert_eq!(Epilogue { transposed: true, ..Epilogue::NONE }.flags(DType::BF16), 1 << 6);
}

#[test]
fn scales_lie_between_x_and_bias_or_are_refused() {
    for spec in KERNELS {
        // rows of Y are multiples of 16 bytes, for the sake of tensor copies
        let eight = |epilogue| problem(spec, epilogue).map(|p| Linear { m: 8, n: 8, ..p });
        let (Some(all), Some(none)) = (eight(ALL), eight(Epilogue::NONE)) else { continue };
        let caps = caps(spec);
        let bindings = |p: &Linear| -> Vec<(&str, u64)> {
            let plan = spec.plan(&Problem::Linear(*p), &caps).unwrap();
            let from = plan.bindings.iter().position(|b| b.name == "x").unwrap();
            plan.bindings[from..].iter().map(|b| (b.name, b.bytes)).collect()
        };
        let (x, y) = (64 * 8 * spec.dtype.bytes() as u64, 64 * all.out.bytes() as u64);
        let transposes = matches!(spec.form, Form::Host | Form::Wgmma(_) | Form::Skinny { .. });
        let scales = matches!(spec.form, Form::Host | Form::Wgmma(_)) || spec.dtype.bytes() == 1;
        if scales {
            let all = Linear { epilogue: Epilogue { transposed: transposes, ..ALL }, ..all };
            let want = [("x", x), ("w_scale", 32), ("x_scale", 32), ("bias", 32), ("residual", y)];
            assert_eq!(bindings(&all)[..5], want, "{spec}");
            let want = [("x", x), ("w_scale", 0), ("x_scale", 0), ("bias", 0), ("residual", 0)];
            assert_eq!(bindings(&none)[..5], want, "{spec}");
        } else {
            assert_eq!(bindings(&none)[..3], [("x", x), ("bias", 0), ("residual", 0)], "{spec}");
        }
        let gates = match spec.form {
            Form::Tiled { .. } => spec.target == Target::Sm80,
            form => matches!(form, Form::Host | Form::Skinny { .. }),
        };
        let parts = [
            (scales, Epilogue { scales: true, ..Epilogue::NONE }, "scales"),
            (transposes, Epilogue { transposed: true, ..Epilogue::NONE }, "transposed"),
            (gates, Epilogue { gated: true, ..Epilogue::NONE }, "gated"),
        ];
        for (_, epilogue, what) in parts.into_iter().filter(|(has, ..)| !has) {
            let p = Linear { epilogue, ..none };
            let why = spec.plan(&Problem::Linear(p), &caps).unwrap_err();
            assert_eq!(why, Unsupported::Epilogue(what), "{spec}");
            assert!(why.to_string().contains(what), "{why}");
        }
    }
}

/// A gated layer has half as many features as W has rows, which fall into turns of eight.
#[test]
fn gates_and_ups_make_one_feature() {
    let spec = host(DType::F32, Weights::Dense);
    let gated = Epilogue { gated: true, residual: true, bias: true, ..Epilogue::NONE };
    let p = Linear { m: 32, n: 3, ..problem(spec, gated).unwrap() };
    let plan = |p| spec.plan(&Problem::Linear(p), &Caps::Cpu);
    let bytes = |name| {
        let plan = plan(p).unwrap();
        plan.bindings.iter().find(|b| b.name == name).unwrap().bytes
    };
    assert_eq!((bytes("bias"), bytes("residual"), bytes("y")), (4 * 32, 4 * 3 * 16, 4 * 3 * 16));
    assert_eq!(gated.flags(DType::F32), 1 << 8 | 1 << 4 | 1 << 3 | 1 << 2);
    let why = plan(Linear { m: 24, ..p }).unwrap_err();
    assert_eq!(why, Unsupported::Multiple { dim: "m", size: 24, of: 16 });

    // gates are their features' numbers, ups 100 more; then 1 for each
    let p = Linear { epilogue: Epilogue { gated: true, ..Epilogue::NONE }, n: 1, ..p };
    let (mut w, mut x) = (vec![0.0; 32 * 64], vec![0.0; 64]);
    x[3] = 1.0;
    for f in 0..16 {
        let gate = if f < 8 { f } else { f + 8 };
        (w[gate * 64 + 3], w[(gate + 8) * 64 + 3]) = (f as f64, 100.0 + f as f64);
    }
    let inputs = LinearInputs { w: &w, x: &x, ..LinearInputs::default() };
    let y = reference::linear(&p, &inputs);
    assert_eq!(y, Vec::from_iter((0..16).map(|f| f64::from(f * (100 + f)))));
}

#[test]
fn eight_bits_come_out_as_bf16_f16_or_f32() {
    for weights in [Weights::Sparse24, Weights::Dense] {
        for dtype in DType::ALL {
            let spec = host(dtype, weights);
            let narrow = Linear::narrow_out(dtype);
            for out in DType::ALL {
                let p = Linear { out, ..problem(spec, Epilogue::NONE).unwrap() };
                let plan = spec.plan(&Problem::Linear(p), &Caps::Cpu).map(|_| ());
                let refused = Unsupported::Type { what: "Y", kernel: narrow, asked: out };
                let eight_bits = dtype.bytes() == 1;
                let half = out == narrow || (out == DType::F16 && eight_bits);
                let served = out == DType::F32 || half;
                assert_eq!(plan, if served { Ok(()) } else { Err(refused) }, "{dtype} to {out}");
            }
        }
    }
    assert_eq!(Linear::narrow_out(DType::I8), DType::BF16);
    assert_eq!(Linear::narrow_out(DType::E4M3), DType::BF16);
    assert_eq!(Linear::narrow_out(DType::E5M2), DType::BF16);
    let flags = [DType::BF16, DType::F16, DType::F32].map(|out| Epilogue::NONE.flags(out));
    assert_eq!(flags, [0, 1 << 7, 1 << 4]);
}

/// An infinity of f16 is right from half an ulp below 2¹⁶ on, and nowhere else.
#[test]
fn f16_overflows_to_infinity() {
    let half_an_ulp = 32.0;
    let holds = |got: f64, want| bound::holds(DType::F16, got, want, half_an_ulp);
    assert!(holds(f64::INFINITY, 1e9) && holds(f64::NEG_INFINITY, -1e9));
    assert!(holds(f64::INFINITY, 65520.0) && holds(65504.0, 65519.0));
    assert!(!holds(f64::INFINITY, 65503.0) && !holds(f64::NEG_INFINITY, 1e9));
    assert!(!holds(65504.0, 1e9) && !holds(f64::NAN, 1e9) && !holds(f64::INFINITY, f64::NAN));
    let unbounded = bound::holds(DType::BF16, f64::INFINITY, 1e9, half_an_ulp);
    assert!(!unbounded, "bf16 holds 1e9");
}

#[test]
fn sums_of_i8_fit_an_i32() {
    let spec = host(DType::I8, Weights::Dense);
    let plan = |k| {
        let p = Linear { k, ..problem(spec, Epilogue::NONE).unwrap() };
        spec.plan(&Problem::Linear(p), &Caps::Cpu)
    };
    let largest = (1 << 17) - 32;
    assert!(plan(largest).is_ok() && i64::from(largest) << 14 <= i64::from(i32::MAX));
    let why = plan(1 << 17).unwrap_err();
    assert!(matches!(why, Unsupported::Range { dim: "k", size: 131_072, .. }), "{why}");
}

/// Two features, three tokens: y = relu(scale·acc + bias) + residual, features × tokens.
#[test]
fn the_oracle_scales_and_transposes() {
    let spec = host(DType::I8, Weights::Dense);
    let mut p = Linear { m: 2, n: 3, k: 32, ..problem(spec, ALL).unwrap() };
    let (mut w, mut x) = (vec![0.0; 2 * 32], vec![0.0; 3 * 32]);
    (w[0], w[32]) = (2.0, -3.0);
    (x[0], x[32], x[64]) = (1.0, 10.0, 100.0);
    let inputs = LinearInputs {
        w: &w,
        x: &x,
        w_scale: &[0.5, 4.0],
        x_scale: &[1.0, 2.0, 0.25],
        bias: &[1.0, 130.0],
        residual: &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
    };
    // feature 0: 2·½·(1, 20, 25) + 1; feature 1: −3·4·(1, 20, 25) + 130
    let want = [2.0, 22.0, 28.0, 121.0, 4.0, 5.0];
    assert_eq!(reference::linear(&p, &inputs), want);
    p.epilogue.transposed = false;
    let inputs = LinearInputs { residual: &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0], ..inputs };
    assert_eq!(reference::linear(&p, &inputs), [2.0, 121.0, 22.0, 4.0, 28.0, 5.0]);
    p.epilogue.scales = false;
    assert_eq!(reference::linear(&p, &inputs), [3.0, 130.0, 22.0, 104.0, 203.0, 5.0]);
}

/// Without an epilogue nothing may be lost below 2²⁴, and half an ulp beyond.
#[test]
fn the_bound_of_i8_is_half_an_ulp() {
    let spec = host(DType::I8, Weights::Dense);
    let k = 2048;
    let p = Linear { m: 1, n: 1, k, out: DType::F32, ..problem(spec, Epilogue::NONE).unwrap() };
    let x = vec![-128.0; k as usize];
    let bound_of = |w: f64| {
        let w = vec![w; k as usize];
        bound::linear(&p, &LinearInputs { w: &w, x: &x, ..LinearInputs::default() })[0]
    };
    assert_eq!(bound_of(63.0), 0.0, "16 515 072");
    assert_eq!(bound_of(-128.0), 2.0, "2²⁵: ulps of 4");
}
