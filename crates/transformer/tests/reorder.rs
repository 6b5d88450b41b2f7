//! Reordered weights compute what they computed, and keep more under 2:4.

use quickpick_prune::{Order, Pattern, project};
use quickpick_transformer::config::{self, Config, EMBEDDING, HEAD, Kind, in_block};
use quickpick_transformer::reorder::{Found, search};
use quickpick_transformer::score::{largest_difference, reference};
use quickpick_transformer::{Orders, Tensors, Weights};

/// Three query heads share a key-value head.
const CONFIG: Config = Config {
    dim: 96,
    layers: 2,
    heads: 6,
    kv_heads: 2,
    ffn: 160,
    vocab: 256,
    max_seq: 64,
    rope_theta: 10_000.0,
    eps: 1e-5,
    tie_word_embeddings: false,
    rope_scaling: None,
};

/// Fresh weights whose gains differ, and whose blocks matter beside the embedding.
fn model() -> Weights {
    let mut tensors = Weights::init(CONFIG, 5).unwrap().into_tensors();
    for slot in CONFIG.slots() {
        let data = &mut tensors.get_mut(&slot.name).unwrap().data;
        match slot.kind {
            Kind::Norm => (0..data.len()).for_each(|i| data[i] = 1.0 + 0.5 * (i as f32).sin()),
            Kind::Linear => data.iter_mut().for_each(|w| *w *= 2.0),
            _ => {}
        }
    }
    Weights::new(CONFIG, tensors).unwrap()
}

fn logits(weights: &Weights) -> Vec<f32> {
    let windows: Vec<Vec<u32>> =
        (0..3).map(|w| (0..33).map(|i| (i * 71 + w * 13) % 256).collect()).collect();
    reference(weights, &windows).unwrap()
}

/// An order without fixed points.
fn turned(len: usize, by: usize) -> Order {
    Order::new((0..len).rev().map(|j| (j + 2 * by) % len).collect()).unwrap()
}

fn all_turned() -> Orders {
    let mut orders = Orders::identity(&CONFIG);
    orders.residual = turned(CONFIG.dim, 11);
    for (layer, block) in orders.blocks.iter_mut().enumerate() {
        block.ffn = turned(CONFIG.ffn, 3 + layer);
        for (head, order) in block.values.iter_mut().enumerate() {
            *order = turned(CONFIG.head_dim(), 1 + layer + head);
        }
    }
    orders
}

fn reordered(weights: &Weights, orders: &Orders) -> Weights {
    let mut tensors = weights.clone().into_tensors();
    orders.apply(&CONFIG, &mut tensors).unwrap();
    Weights::new(CONFIG, tensors).unwrap()
}

/// f32's rounding, grown over two blocks; a feature in a wrong place moves logits by tenths.
const ROUNDING: f64 = 2e-5;

#[test]
fn logits_stay_whatever_is_reordered() {
    let weights = model();
    let before = logits(&weights);
    let all = all_turned();
    let none = Orders::identity(&CONFIG);
    let mut inner = [none.clone(), none.clone()];
    for (layer, (from, [values, ffn])) in
        all.blocks.iter().zip([[0, 1]; 2].map(|_| [0usize, 1])).enumerate()
    {
        inner[values].blocks[layer].values = from.values.clone();
        inner[ffn].blocks[layer].ffn = from.ffn.clone();
    }
    let [values, ffn] = inner;
    let residual = Orders { residual: all.residual.clone(), ..none.clone() };
    assert_eq!(reordered(&weights, &none), weights);
    for orders in [values, ffn, residual, all] {
        let moved = reordered(&weights, &orders);
        assert_ne!(moved, weights);
        let difference = largest_difference(&before, &logits(&moved));
        assert!(difference < ROUNDING, "{difference}");
    }
}

/// The tolerance above sees every part of an order: leave one tensor as it was, and logits move.
#[test]
fn every_tensor_must_move() {
    let weights = model();
    let before = logits(&weights);
    let moved = reordered(&weights, &all_turned());
    for slot in CONFIG.slots() {
        let mut tensors = moved.clone().into_tensors();
        tensors.insert(slot.name.clone(), weights.get(&slot.name).unwrap().clone());
        let difference =
            largest_difference(&before, &logits(&Weights::new(CONFIG, tensors).unwrap()));
        assert!(difference > 100.0 * ROUNDING, "{}: {difference}", slot.name);
    }
}

fn magnitudes(weights: &Weights, name: &str) -> Vec<f32> {
    weights.get(name).unwrap().data.iter().map(|w| w.abs()).collect()
}

/// What 2:4 keeps of the magnitudes of such tensors of all blocks.
fn kept(weights: &Weights, parts: &[&str]) -> f64 {
    let mut sum = 0.0;
    for part in (0..CONFIG.layers).flat_map(|layer| parts.iter().map(move |p| in_block(layer, p))) {
        let scores = magnitudes(weights, &part);
        let cols = weights.get(&part).unwrap().shape[1];
        let mask = project(&scores, scores.len() / cols, cols, Pattern::TWO_OF_FOUR).unwrap();
        let pairs = scores.iter().zip(mask.kept());
        sum += pairs.filter(|(_, k)| **k).map(|(&s, _)| f64::from(s)).sum::<f64>();
    }
    sum
}

#[test]
fn a_search_keeps_more_of_every_kind() {
    let weights = model();
    let find = |seed| -> Found {
        let score = |name: &str| Ok(magnitudes(&weights, name));
        search(&CONFIG, Pattern::TWO_OF_FOUR, seed, score).unwrap()
    };
    let found = find(1);
    assert_eq!(find(1), found);
    let moved = reordered(&weights, &found.orders);
    assert!(largest_difference(&logits(&weights), &logits(&moved)) < ROUNDING);
    let residual: &[&str] = &[config::Q, config::K, config::V, config::GATE, config::UP];
    let sum =
        |all: &[quickpick_prune::Retained]| all.iter().copied().reduce(|a, b| a.plus(b)).unwrap();
    for (parts, retained) in [
        (residual, found.residual),
        (&[config::O][..], sum(&found.values)),
        (&[config::DOWN][..], sum(&found.ffn)),
    ] {
        let (before, after) = (kept(&weights, parts), kept(&moved, parts));
        assert!(after > 1.005 * before, "{parts:?}: {before} -> {after}");
        assert!((before / retained.before - 1.0).abs() < 1e-9);
        assert!((after / retained.after - 1.0).abs() < 1e-9);
    }
}

#[test]
fn a_tied_head_moves_with_the_embedding_and_bad_orders_change_nothing() {
    let whole = model().into_tensors();
    let orders = all_turned();
    let mut tied = whole.clone();
    tied.remove(HEAD);
    orders.apply(&CONFIG, &mut tied).unwrap();
    assert!(!tied.contains_key(HEAD));
    assert_eq!(tied[EMBEDDING].data, orders.residual.columns(&whole[EMBEDDING].data).unwrap());

    let refusal = |orders: &Orders, change: &dyn Fn(&mut Tensors)| {
        let mut tensors = whole.clone();
        change(&mut tensors);
        let before = tensors.clone();
        let error = orders.apply(&CONFIG, &mut tensors).unwrap_err().to_string();
        assert_eq!(tensors, before);
        error
    };
    let down = in_block(1, config::DOWN);
    assert!(refusal(&orders, &|t| drop(t.remove(&down))).contains("down_proj.weight is missing"));
    let shape = |t: &mut Tensors| t.get_mut(&down).unwrap().shape = vec![160, 96];
    assert!(refusal(&orders, &shape).contains("[160, 96]"));
    let mut bad = orders.clone();
    bad.residual = Order::identity(95);
    assert!(refusal(&bad, &|_| ()).contains("95 features, not 96"));
    bad = orders.clone();
    bad.blocks[1].values.pop();
    assert!(refusal(&bad, &|_| ()).contains("orders of 1 key-value heads, not 2"));
    bad = orders.clone();
    bad.blocks.pop();
    assert!(refusal(&bad, &|_| ()).contains("1 blocks for 2"));

    let score = |_: &str| Ok(vec![1.0; 5]);
    let error = search(&CONFIG, Pattern::TWO_OF_FOUR, 0, score).unwrap_err().to_string();
    assert!(error.contains("5 scores for [96, 96]"), "{error}");
}
