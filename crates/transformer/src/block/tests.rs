use super::*;
use crate::Weights;
use crate::score::{largest_difference, reference};

fn weights(tied: bool) -> Weights {
    let config = Config {
        dim: 64,
        layers: 2,
        ffn: 96,
        max_seq: 160,
        tie_word_embeddings: tied,
        ..Config::tiny()
    };
    Weights::init(config, 3).unwrap()
}

fn tokens(n: usize) -> Vec<u32> {
    (0..n as u64).map(|i| crate::corpus::splitmix64(i) as u32 % 256).collect()
}

/// Logits, and the inputs of the last block's sites.
fn run(weights: &Weights, ids: &[u32], len: usize) -> (Vec<f32>, Vec<(Site, Vec<f32>)>) {
    let config = weights.config();
    let get = |name: &str| weights.get(name).cloned();
    let forward = Forward::new(config, len).unwrap();
    let mut x = forward.embed(&weights.get(config::EMBEDDING).unwrap().data, ids).unwrap();
    let mut seen = Vec::new();
    for layer in 0..config.layers {
        let block = Block::load(config, layer, get).unwrap();
        seen.clear();
        let mut observe = |site, h: &[f32]| {
            seen.push((site, h.to_vec()));
            Ok(())
        };
        forward.block(&block, &mut x, &mut observe).unwrap();
    }
    (Head::load(config, get).unwrap().logits(&x).unwrap(), seen)
}

/// Against candle's operations, which the operations' tests and f64 hold; two sequences, longer
/// than two blocks of queries and no multiple of one.
#[test]
fn logits_are_those_of_the_trainers_forward() {
    for tied in [false, true] {
        let weights = weights(tied);
        let ids = tokens(2 * 150);
        let (have, _) = run(&weights, &ids, 150);
        let windows: Vec<Vec<u32>> = ids.chunks(150).map(|w| [w, &[0]].concat()).collect();
        let want = reference(&weights, &windows).unwrap();
        let distance = largest_difference(&have, &want);
        let largest = want.iter().fold(0f32, |m, x| m.max(x.abs()));
        assert!(distance <= 2e-5 * f64::from(largest), "{distance:e} of {largest}");
    }
}

#[test]
fn losses_are_those_of_the_logits() {
    let weights = weights(true);
    let ids = tokens(150);
    let (logits, _) = run(&weights, &ids, 150);
    let forward = Forward::new(weights.config(), 150).unwrap();
    let get = |name: &str| weights.get(name).cloned();
    let mut x = forward.embed(&weights.get(config::EMBEDDING).unwrap().data, &ids).unwrap();
    for layer in 0..2 {
        let block = Block::load(weights.config(), layer, get).unwrap();
        forward.block(&block, &mut x, |_, _| Ok(())).unwrap();
    }
    let head = Head::load(weights.config(), get).unwrap();
    let targets: Vec<u32> = (0..150).map(|i| (i * 7) % 256).collect();
    let losses = head.losses(&x, &targets).unwrap();
    let mean = losses.iter().sum::<f64>() / 150.0 / std::f64::consts::LN_2;
    let windows = [[&[0], &targets[..]].concat()];
    let want = crate::score::bits(&logits, &windows, 256).unwrap();
    assert!((mean - want).abs() < 1e-5 * want, "{mean} {want}");
    assert!(head.losses(&x, &targets[1..]).is_err());
    assert!(head.losses(&x, &vec![256; 150]).unwrap_err().to_string().contains("token 256"));
}

/// What each site's inputs are, by the block's own weights.
#[test]
fn stages_see_replaced_weights_and_sites_see_the_layers_inputs() {
    let weights = weights(false);
    let config = weights.config();
    let mut block = Block::load(config, 0, |name| weights.get(name).cloned()).unwrap();
    let forward = Forward::new(config, 30).unwrap();
    let mut x = forward.embed(&weights.get(config::EMBEDDING).unwrap().data, &tokens(30)).unwrap();
    let before = x.clone();
    let h = forward.attention_inputs(&block, &x).unwrap();
    let y = forward.output_inputs(&block, &h).unwrap();
    block.replace(config::V, vec![0.0; config.kv_dim() * config.dim]).unwrap();
    let zero = forward.output_inputs(&block, &h).unwrap();
    assert!(y.iter().any(|y| *y != 0.0) && zero.iter().all(|y| *y == 0.0));
    let h = forward.feed_forward_inputs(&block, &mut x, &zero).unwrap();
    assert_eq!(x, before, "nothing was added");
    let a = forward.down_inputs(&block, &h).unwrap();
    assert_eq!(a.len(), 30 * config.ffn);
    forward.finish(&block, &mut x, &a).unwrap();
    assert_ne!(x, before);

    // the same through `block`, and each site once
    let mut again = before;
    let mut sites = Vec::new();
    let mut observe = |site, _: &[f32]| {
        sites.push(site);
        Ok(())
    };
    forward.block(&block, &mut again, &mut observe).unwrap();
    assert_eq!((again, &sites[..]), (x, &Site::ALL[..]));
    let layers: Vec<_> = Site::ALL.iter().flat_map(|s| s.layers()).collect();
    assert!(layers.iter().all(|part| block.weight(part).is_some()) && layers.len() == 7);
}

#[test]
fn bad_sizes_are_refused() {
    let weights = weights(false);
    let config = weights.config();
    let get = |name: &str| weights.get(name).cloned();
    let mut block = Block::load(config, 0, get).unwrap();
    let forward = Forward::new(config, 30).unwrap();
    assert!(Forward::new(config, 161).is_err() && Forward::new(config, 0).is_err());
    assert!(forward.attention_inputs(&block, &[0.0; 29 * 64]).is_err());
    assert!(forward.finish(&block, &mut [0.0; 30 * 64], &[0.0; 60 * 96]).is_err());
    assert!(forward.embed(&[0.0; 64], &[0; 30]).is_err());
    let table = &weights.get(config::EMBEDDING).unwrap().data;
    assert!(forward.embed(table, &[0; 29]).is_err());
    assert!(forward.embed(table, &[256; 30]).unwrap_err().to_string().contains("token 256"));
    let why = block.replace(config::ATTN_NORM, vec![]).unwrap_err().to_string();
    assert!(why.contains("no linear layer"), "{why}");
    assert!(block.replace(config::Q, vec![0.0; 3]).is_err());
    assert!(block.replace(config::Q, vec![f32::NAN; 64 * 64]).is_err());
    let wide = Config { ffn: 128, ..*config };
    let why = Block::load(&wide, 0, get).unwrap_err().to_string();
    assert!(why.contains("the configuration calls for [128, 64]"), "{why}");
}
