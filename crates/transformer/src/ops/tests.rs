use super::*;
use crate::corpus::splitmix64;
use candle_core::{D, Var};

fn var(seed: u64, shape: &[usize]) -> Var {
    let n: usize = shape.iter().product();
    let value = |i| (splitmix64(seed << 32 | i) >> 40) as f32 / (1 << 23) as f32 - 1.0;
    let values = (0..n as u64).map(value).collect();
    Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
}

/// Holds an operation against the same formula in candle's own operations: its result, and its
/// gradients under a loss that weighs every element differently.
#[track_caller]
fn check(inputs: &[Var], ours: Result<Tensor>, formula: Result<Tensor>) {
    let (ours, formula) = (ours.unwrap(), formula.unwrap());
    let close = |what: &str, a: &Tensor, b: &Tensor| {
        let (a, b) = (to_vec(a).unwrap(), to_vec(b).unwrap());
        assert_eq!(a.len(), b.len(), "{what}");
        let largest = b.iter().fold(0f32, |m, x| m.max(x.abs()));
        for (i, (a, b)) in a.iter().zip(&b).enumerate() {
            assert!((a - b).abs() <= 2e-5 * largest, "{what}[{i}]: {a}, but {b} by the formula");
        }
        assert!(largest > 1e-3, "{what} is zero: nothing was compared");
    };
    close("result", &ours, &formula);
    let weights = var(99, ours.dims());
    let gradients = |y: &Tensor| (y * weights.as_tensor())?.sum_all()?.backward();
    let (ours, formula) = (gradients(&ours).unwrap(), gradients(&formula).unwrap());
    for (i, x) in inputs.iter().enumerate() {
        close(&format!("gradient {i}"), ours.get(x).unwrap(), formula.get(x).unwrap());
    }
}

#[test]
fn linear_is_its_formula() {
    let (x, w) = (var(1, &[5, 8]), var(2, &[3, 8]));
    check(&[x.clone(), w.clone()], linear(&x, &w), x.matmul(&w.t().unwrap()));
}

#[test]
fn rms_norm_is_its_formula() {
    let (x, gain) = (var(1, &[5, 8]), var(2, &[8]));
    let formula = || {
        let square = (x.sqr()?.mean_keepdim(D::Minus1)? + 0.1)?;
        x.broadcast_div(&square.sqrt()?)?.broadcast_mul(&gain)
    };
    check(&[x.clone(), gain.clone()], rms_norm(&x, &gain, 0.1), formula());
}

#[test]
fn swiglu_is_its_formula() {
    let (gate, up) = (var(1, &[5, 8]), var(2, &[5, 8]));
    let formula = || candle_nn::ops::silu(&gate)?.mul(&up);
    check(&[gate.clone(), up.clone()], swiglu(&gate, &up), formula());
}

#[test]
fn cross_entropy_is_its_formula() {
    let logits = var(1, &[3, 8]);
    let targets = Tensor::new(&[[7u32], [0], [4]], &Device::Cpu).unwrap();
    let formula =
        || candle_nn::ops::log_softmax(&logits, 1)?.gather(&targets, 1)?.neg()?.flatten_all();
    check(&[logits.clone()], cross_entropy(&logits, vec![7, 0, 4]), formula());
    assert!(cross_entropy(&logits, vec![7, 0, 8]).is_err());
    assert!(cross_entropy(&logits, vec![7, 0]).is_err());
}

#[test]
fn attention_is_its_formula() {
    let (rows, len, heads, kv_heads, head_dim) = (2, 5, 4, 2, 8);
    let config = crate::Config { dim: 32, max_seq: len, ..crate::Config::tiny() };
    let rotary: Arc<[f32]> = config.rotary_table().into();
    let q = var(1, &[rows * len, heads * head_dim]);
    let (k, v) =
        (var(2, &[rows * len, kv_heads * head_dim]), var(3, &[rows * len, kv_heads * head_dim]));
    let table = Tensor::from_slice(&rotary, (len, head_dim), &Device::Cpu).unwrap();
    let turned = |x: &Tensor| {
        let (cos, sin) = (table.narrow(1, 0, 4)?, table.narrow(1, 4, 4)?);
        let (a, b) = (x.narrow(D::Minus1, 0, 4)?, x.narrow(D::Minus1, 4, 4)?);
        let left = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
        let right = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
        Tensor::cat(&[left, right], D::Minus1)
    };
    // Each key-value head repeated for the query heads that share it.
    let split = |x: &Tensor, of: usize| {
        let x = x.reshape((rows, len, of, 1, head_dim))?;
        let x = x.broadcast_as((rows, len, of, heads / of, head_dim))?;
        x.reshape((rows, len, heads, head_dim))?.transpose(1, 2)?.contiguous()
    };
    let formula = || {
        let q = turned(&split(&q, heads)?)?;
        let k = turned(&split(&k, kv_heads)?)?;
        let hidden: Vec<f32> = (0..len * len)
            .map(|i| if i % len > i / len { f32::NEG_INFINITY } else { 0.0 })
            .collect();
        let hidden = Tensor::from_vec(hidden, (len, len), &Device::Cpu)?;
        let scores = (q.matmul(&k.t()?)? / (head_dim as f64).sqrt())?.broadcast_add(&hidden)?;
        let y = candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&split(&v, kv_heads)?)?;
        y.transpose(1, 2)?.reshape((rows * len, heads * head_dim))
    };
    let ours = Attention { rows, len, heads, kv_heads, head_dim, rotary: rotary.clone() };
    check(&[q.clone(), k.clone(), v.clone()], q.apply_op3(&k, &v, ours), formula());
}
