//! The decoder in f64, naive on purpose, and small models to try it on.

use quickpick_prune::{Mask, Masks, Pattern};
use quickpick_transformer::config::{self, Config, Kind, in_block};
use quickpick_transformer::{Compact, Stored, Weights};

/// Two blocks, grouped-query attention, a width that is no power of two.
pub const CONFIG: Config = Config {
    dim: 96,
    layers: 2,
    heads: 6,
    kv_heads: 2,
    ffn: 160,
    vocab: 256,
    max_seq: 192,
    rope_theta: 10_000.0,
    eps: 1e-5,
    tie_word_embeddings: false,
    rope_scaling: None,
};

/// Fresh weights with gains around one; dense, or with every block linear 2:4 by a mask that takes
/// each of the six pairs in turn.
pub fn model(seed: u64, sparse: bool) -> Compact {
    let mut tensors = Weights::init(CONFIG, seed).unwrap().into_tensors();
    let mut masks = Masks::new();
    let mut state = seed;
    for slot in CONFIG.slots() {
        let data = &mut tensors.get_mut(&slot.name).unwrap().data;
        // our own numbers, so that a change of the trainer's initialisation changes nothing here;
        // a small embedding, so that the blocks' part of the stream is the larger one
        let std = match slot.kind {
            Kind::Norm => 0.0,
            Kind::Embedding | Kind::Head => 0.02,
            Kind::Linear => 1.0 / (slot.shape[1] as f32).sqrt(),
        };
        for x in data.iter_mut() {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            *x = std * 3f32.sqrt() * ((state >> 40) as f32 / (1 << 23) as f32 - 1.0);
        }
        match slot.kind {
            Kind::Norm => {
                for (i, gain) in data.iter_mut().enumerate() {
                    *gain = 1.0 + 0.5 * (i as f32 * 0.7 + seed as f32).sin();
                }
            }
            Kind::Linear if sparse => {
                let kept = (0..data.len()).map(|i| keeps(i / 4 + i / 96, i % 4)).collect();
                let (rows, cols) = (slot.shape[0], slot.shape[1]);
                let mask = Mask::new(kept, rows, cols, Pattern::TWO_OF_FOUR).unwrap();
                masks.insert(slot.name, mask);
            }
            _ => {}
        }
    }
    Compact::new(&Weights::new(CONFIG, tensors).unwrap(), &masks).unwrap()
}

/// [`model`], 2:4, with a few of the dropped weights beside each block linear, a row of whose groups here
/// and there none, one or two.
pub fn recovered(seed: u64) -> Compact {
    let whole = model(seed, false).widen().unwrap().into_tensors();
    let mut tensors = model(seed, true).widen().unwrap().into_tensors();
    for slot in CONFIG.slots().into_iter().filter(|slot| slot.kind == Kind::Linear) {
        let data = &mut tensors.get_mut(&slot.name).unwrap().data;
        for i in (0..data.len()).filter(|i| i * 29 % 31 < 2) {
            data[i] = whole[&slot.name].data[i];
        }
    }
    let model = Compact::from_tensors(CONFIG, 0.05, |name| Ok(tensors[name].clone())).unwrap();
    for slot in CONFIG.slots() {
        let beside = matches!(model.tensor(&slot.name).unwrap(), Stored::Recovered { .. });
        assert_eq!(beside, slot.kind == Kind::Linear, "{}", slot.name);
    }
    model
}

fn keeps(group: usize, place: usize) -> bool {
    const PAIRS: [(usize, usize); 6] = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)];
    let (a, b) = PAIRS[group * 7 % 6];
    place == a || place == b
}

/// Tokens without a period.
pub fn tokens(n: usize) -> Vec<u32> {
    (0..n as u32).map(|i| i.wrapping_mul(2654435761) >> 24).collect()
}

/// Logits `ids.len() × vocab`, in f64 from the f32 weights.
pub fn oracle(weights: &Weights, ids: &[u32]) -> Vec<f32> {
    let c = *weights.config();
    let (hd, group) = (c.head_dim(), c.heads / c.kv_heads);
    let get = |name: &str| -> Vec<f64> {
        weights.tensors()[name].data.iter().map(|&x| f64::from(x)).collect()
    };
    let linear = |name: &str, x: &[f64]| -> Vec<f64> {
        let w = get(name);
        w.chunks(x.len()).map(|row| row.iter().zip(x).map(|(a, b)| a * b).sum()).collect()
    };
    let norm = |name: &str, x: &[f64]| -> Vec<f64> {
        let mean = x.iter().map(|a| a * a).sum::<f64>() / x.len() as f64;
        let scale = 1.0 / (mean + f64::from(c.eps)).sqrt();
        x.iter().zip(get(name)).map(|(a, g)| a * scale * g).collect()
    };
    let rotate = |x: &mut [f64], pos: usize| {
        for head in x.chunks_mut(hd) {
            for i in 0..hd / 2 {
                let angle = pos as f64 * f64::from(c.rope_theta).powf(-2.0 * i as f64 / hd as f64);
                let (a, b) = (head[i], head[i + hd / 2]);
                head[i] = a * angle.cos() - b * angle.sin();
                head[i + hd / 2] = b * angle.cos() + a * angle.sin();
            }
        }
    };
    let table = get(config::EMBEDDING);
    let mut stream: Vec<Vec<f64>> =
        ids.iter().map(|&id| table[id as usize * c.dim..][..c.dim].to_vec()).collect();
    for layer in 0..c.layers {
        let name = |part| in_block(layer, part);
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for (pos, x) in stream.iter_mut().enumerate() {
            let h = norm(&name(config::ATTN_NORM), x);
            let mut q = linear(&name(config::Q), &h);
            let mut k = linear(&name(config::K), &h);
            rotate(&mut q, pos);
            rotate(&mut k, pos);
            keys.push(k);
            values.push(linear(&name(config::V), &h));
            let mut y = vec![0.0; c.dim];
            for head in 0..c.heads {
                let q = &q[head * hd..][..hd];
                let at = head / group * hd;
                let dot =
                    |k: &Vec<f64>| -> f64 { q.iter().zip(&k[at..]).map(|(a, b)| a * b).sum() };
                let odds: Vec<f64> =
                    keys.iter().map(|k| (dot(k) / (hd as f64).sqrt()).exp()).collect();
                let sum: f64 = odds.iter().sum();
                for (odd, v) in odds.iter().zip(&values) {
                    for i in 0..hd {
                        y[head * hd + i] += odd / sum * v[at + i];
                    }
                }
            }
            for (x, o) in x.iter_mut().zip(linear(&name(config::O), &y)) {
                *x += o;
            }
            let h = norm(&name(config::FFN_NORM), x);
            let gate = linear(&name(config::GATE), &h);
            let up = linear(&name(config::UP), &h);
            let gated: Vec<f64> =
                gate.iter().zip(&up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect();
            for (x, d) in x.iter_mut().zip(linear(&name(config::DOWN), &gated)) {
                *x += d;
            }
        }
    }
    let logits = stream.iter().flat_map(|x| linear(c.head(), &norm(config::FINAL_NORM, x)));
    logits.map(|l| l as f32).collect()
}
