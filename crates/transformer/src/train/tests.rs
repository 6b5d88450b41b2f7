//! What a trainer promises: exact resumption, masks held, evaluation that repeats.

use super::*;
use quickpick_prune::{Magnitude, Pattern, Score, project};
use std::fs;
use std::path::PathBuf;

/// Text that a small model learns soon: words in a random order.
fn text(seed: u64, len: usize) -> Vec<u8> {
    const WORDS: [&str; 8] = ["let ", "mut ", "x ", "= ", "tensor", "(y)", ";\n", "return "];
    (0..).flat_map(|i| WORDS[(splitmix64(seed + i) % 8) as usize].bytes()).take(len).collect()
}

fn trainer() -> DecoderTrainer {
    let corpus = Corpus::new(text(1, 1 << 16), text(1 << 32, 1 << 13), "toy").unwrap();
    let config = Config { dim: 32, layers: 2, ffn: 64, max_seq: 32, ..Config::tiny() };
    let tiny = Settings::tiny();
    let adam = AdamW { warmup: 5, steps: 40, lr: 1e-2, ..tiny.adam };
    let settings = Settings { adam, batch: 8, seq: 32, shards: 4, eval_windows: 32, ..tiny };
    DecoderTrainer::new(config, settings, Arc::new(corpus)).unwrap()
}

fn masks(trainer: &DecoderTrainer) -> Masks {
    let linear = trainer.params.iter().filter(|p| p.slot.kind == crate::Kind::Linear);
    linear
        .map(|p| {
            let (rows, cols) = (p.slot.shape[0], p.slot.shape[1]);
            let layer = LayerInfo::new(p.slot.name.clone(), p.slot.shape.clone());
            let scores = Magnitude.score(&layer, &p.value);
            let mask = project(&scores, rows, cols, Pattern::TWO_OF_FOUR).unwrap();
            (p.slot.name.clone(), mask)
        })
        .collect()
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("quickpick-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn it_learns_the_toy_text() {
    let mut trainer = trainer();
    let before = trainer.evaluation(32).unwrap().bits_per_byte();
    assert!((before - 8.0).abs() < 0.5, "untrained, {before} bits of 8");
    for _ in 0..40 {
        trainer.step().unwrap();
    }
    let after = trainer.evaluation(32).unwrap();
    assert!(after.bits_per_byte() < 2.5, "{} bits", after.bits_per_byte());
    assert_eq!(after.bytes(), 32 * 32);
    assert_eq!(trainer.evaluation(32).unwrap(), after);
    let (difference, error) = after.minus(&after).unwrap();
    assert_eq!((difference, error), (0.0, 0.0));
}

#[test]
fn a_restored_run_takes_the_same_steps() {
    let scratch = Scratch::new("restore");
    let path = |name: &str| scratch.0.join(name);
    let mut whole = trainer();
    whole.init(3).unwrap();
    for _ in 0..3 {
        whole.step().unwrap();
    }
    whole.save(&path("early")).unwrap();
    let losses: Vec<f64> = (0..3).map(|_| whole.step().unwrap()).collect();
    whole.save(&path("late")).unwrap();

    let mut restored = trainer();
    restored.load(&path("early")).unwrap();
    assert_eq!(restored.steps(), 3);
    // Another number of threads changes no bit either.
    restored.threads = Threads::new(1).unwrap();
    let again: Vec<f64> = (0..3).map(|_| restored.step().unwrap()).collect();
    assert_eq!(again, losses);
    restored.save(&path("again")).unwrap();
    assert_eq!(fs::read(path("again")).unwrap(), fs::read(path("late")).unwrap());

    let bytes = fs::read(path("early")).unwrap();
    fs::write(path("cut"), &bytes[..bytes.len() / 2]).unwrap();
    assert!(matches!(restored.load(&path("cut")), Err(Error::File { .. })));
    restored.weights().unwrap().save(&path("weights")).unwrap();
    let foreign = restored.load(&path("weights")).unwrap_err().to_string();
    assert!(foreign.contains("no training state"), "{foreign}");
}

#[test]
fn masks_are_held_exactly() {
    let mut trainer = trainer();
    trainer.step().unwrap();
    let masks = masks(&trainer);
    trainer.hold(&masks).unwrap();
    let mut moved = false;
    for _ in 0..4 {
        let before = trainer.params.clone();
        trainer.step().unwrap();
        for (param, before) in trainer.params.iter().zip(&before) {
            let Some(mask) = masks.get(&param.slot.name) else { continue };
            for (i, kept) in mask.kept().iter().enumerate() {
                let all = [param.value[i], param.mean[i], param.square[i]];
                assert!(*kept || all == [0.0; 3], "{}[{i}]: {all:?}", param.slot.name);
                moved |= param.value[i] != before.value[i];
            }
        }
    }
    assert!(moved, "kept weights are trained");
    let weights = trainer.weights().unwrap();
    let zeros = |name: &str| weights.get(name).unwrap().data.iter().filter(|x| **x == 0.0).count();
    for (name, mask) in &masks {
        assert_eq!(zeros(name), mask.rows() * mask.cols() / 2, "{name}");
    }

    trainer.hold(&Masks::new()).unwrap();
    let name = masks.keys().next().unwrap();
    trainer.step().unwrap();
    assert!(trainer.weight(name).unwrap().iter().all(|x| *x != 0.0), "let go");
    let wrong = Masks::from([("rogue".to_owned(), masks[name].clone())]);
    assert!(trainer.hold(&wrong).is_err());
    let wrong = Masks::from([(crate::config::HEAD.to_owned(), masks[name].clone())]);
    assert!(trainer.hold(&wrong).unwrap_err().to_string().contains("[256, 32]"));
}

#[test]
fn logits_give_the_loss_of_an_evaluation() {
    let mut trainer = trainer();
    trainer.step().unwrap();
    let row = trainer.corpus.held_out_windows(32, 33)[0];
    let logits = trainer.logits(&row[..32]).unwrap();
    let nats = |(logits, target): (&[f32], &u8)| {
        let sum: f64 = logits.iter().map(|x| f64::from(*x).exp()).sum();
        sum.ln() - f64::from(logits[usize::from(*target)])
    };
    let mean = logits.chunks(256).zip(&row[1..]).map(nats).sum::<f64>() / 32.0;
    let bits = trainer.evaluation(32).unwrap().windows[0];
    assert!((mean / std::f64::consts::LN_2 - bits).abs() < 1e-5, "{mean} nats, {bits} bits");
    // Causal: what comes later changes no earlier logit.
    let short = trainer.logits(&row[..7]).unwrap();
    for (a, b) in short.iter().zip(&logits) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
}

#[test]
fn impossible_settings_are_refused() {
    let good = trainer();
    let refused = |settings: Settings| {
        DecoderTrainer::new(good.config, settings, good.corpus.clone()).is_err()
    };
    assert!(!refused(good.settings));
    assert!(refused(Settings { shards: 3, ..good.settings }));
    assert!(refused(Settings { seq: 33, ..good.settings }));
    assert!(refused(Settings { batch: 0, ..good.settings }));
    let adam = AdamW { lr: f32::NAN, ..good.settings.adam };
    assert!(refused(Settings { adam, ..good.settings }));
}
