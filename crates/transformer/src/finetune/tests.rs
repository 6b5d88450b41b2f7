//! Layers stay sparse, the loss falls, a resumed run ends in the same bytes, bad input is named.

use super::*;
use crate::checkpoint::{Checkpoint, Planned, Raw, ShardWriter, Source};
use crate::config::{EMBEDDING, FINAL_NORM};
use quickpick_format::StoredType;
use std::fs;
use std::path::PathBuf;

const SR_STE: Sparsity = Sparsity::SrSte { lambda: 2e-4 };

fn config() -> Config {
    Config { dim: 32, layers: 2, ffn: 64, max_seq: 24, tie_word_embeddings: true, ..Config::tiny() }
}

/// Half of every block linear is zero, in pairs that differ from group to group.
fn pruned() -> Weights {
    let mut tensors = Weights::init(config(), 5).unwrap().into_tensors();
    for slot in config().slots().iter().filter(|slot| slot.kind == Kind::Linear) {
        let data = &mut tensors.get_mut(&slot.name).unwrap().data;
        for (i, w) in data.iter_mut().enumerate() {
            *w = if (i + i / 4) % 4 > 1 { 0.0 } else { half::f16::from_f32(*w).to_f32() };
        }
    }
    Weights::new(config(), tensors).unwrap()
}

fn text() -> Text {
    let words = ["salt ", "and ", "other ", "stories, "];
    let text: String = (0..800).map(|i| words[crate::corpus::splitmix64(i) as usize % 4]).collect();
    Text::new(&text, "words", &crate::tokenizer::tests::bytes()).unwrap()
}

fn settings(sparsity: Sparsity, distill: f32) -> Settings {
    let adam = AdamW {
        lr: 1e-2,
        final_lr: 0.1,
        warmup: 2,
        steps: 12,
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        weight_decay: 0.0,
        clip: 1.0,
    };
    let (batch, length, shards, seed, held_out) = (4, 24, 2, 1, 4);
    Settings { adam, batch, length, shards, seed, held_out, distill, temperature: 1.5, sparsity }
}

fn all_masks() -> Masks {
    masks(&pruned(), Pattern::TWO_OF_FOUR).unwrap()
}

fn tuner(settings: Settings) -> Result<FineTuner, Error> {
    let teacher = Weights::init(config(), 9).unwrap();
    FineTuner::new(pruned(), &all_masks(), Some(teacher), &text(), settings)
}

fn steps(trainer: &mut FineTuner, count: usize) -> Vec<f64> {
    (0..count).map(|_| trainer.step().unwrap()).collect()
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("quickpick-tune-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn zeros(tensors: &Tensors) -> Vec<(&String, Vec<usize>)> {
    let at = |t: &Tensor| (0..t.data.len()).filter(|&i| t.data[i] == 0.0).collect();
    tensors.iter().map(|(name, t)| (name, at(t))).collect()
}

#[test]
fn frozen_masks_survive_and_kept_weights_move() {
    let mut trainer = tuner(settings(Sparsity::Frozen, 0.5)).unwrap();
    let before = trainer.trained().unwrap();
    assert!(!before.contains_key(EMBEDDING) && before.contains_key(FINAL_NORM));
    steps(&mut trainer, 4);
    let after = trainer.trained().unwrap();
    assert_eq!(zeros(&after), zeros(&before));
    for (name, tensor) in &after {
        assert_ne!(tensor.data, before[name].data, "{name}");
    }
}

#[test]
fn sr_ste_stays_sparse_and_changes_its_masks() {
    let mut trainer = tuner(settings(SR_STE, 0.0)).unwrap();
    let first = trainer.trained().unwrap();
    assert_eq!(first, {
        let mut all = pruned().into_tensors();
        all.remove(EMBEDDING);
        all
    });
    steps(&mut trainer, 6);
    let mut all = trainer.trained().unwrap();
    assert_ne!(zeros(&all), zeros(&first));
    all.insert(EMBEDDING.into(), pruned().get(EMBEDDING).unwrap().clone());
    let after = masks(&Weights::new(config(), all).unwrap(), Pattern::TWO_OF_FOUR).unwrap();
    assert_eq!(after.len(), all_masks().len());
    // what is dropped is trained all the same
    let name = after.keys().next().unwrap();
    assert!(trainer.weight(name).unwrap().iter().all(|w| *w != 0.0));
    assert!(trainer.hold(&after).unwrap_err().to_string().contains("SR-STE"));
}

/// The words are learnt: from the 5.5 nats of 256 equal bytes, plain and beside a teacher that knows
/// nothing.
#[test]
fn the_loss_falls_either_way() {
    for sparsity in [Sparsity::Frozen, SR_STE] {
        for distill in [0.0, 0.3] {
            let mut trainer = tuner(settings(sparsity, distill)).unwrap();
            let before = trainer.evaluate().unwrap();
            let losses = steps(&mut trainer, 12);
            let (first, last) = (losses[0], losses[11]);
            let after = trainer.evaluate().unwrap();
            assert!(last < 0.9 * first, "{sparsity:?}: loss {first} to {last}");
            assert!(after < 0.8 * before, "{sparsity:?}: held out {before} to {after}");
            assert_eq!(trainer.evaluate().unwrap(), after);
        }
    }
}

/// A student that is its own dense teacher has nothing to learn: KL 0, and no gradient moves it.
#[test]
fn a_teacher_that_is_the_student_is_matched() {
    let new = |share| {
        let settings = settings(Sparsity::Frozen, share);
        FineTuner::new(pruned(), &all_masks(), Some(pruned()), &text(), settings).unwrap()
    };
    assert!(new(1.0).step().unwrap().abs() < 1e-5);
    assert!(new(0.5).step().unwrap() > 1.0);
}

#[test]
fn a_resumed_run_ends_in_the_same_bytes() {
    for sparsity in [Sparsity::Frozen, SR_STE] {
        let scratch = Scratch::new(&format!("{sparsity:?}"));
        let path = |name: &str| scratch.0.join(name);
        let settings = settings(sparsity, 0.5);
        let mut whole = tuner(settings).unwrap();
        steps(&mut whole, 3);
        whole.save(&path("early")).unwrap();
        let losses = steps(&mut whole, 3);
        whole.save(&path("late")).unwrap();

        let mut resumed = tuner(settings).unwrap();
        resumed.load(&path("early")).unwrap();
        if sparsity == Sparsity::Frozen {
            resumed.hold(&all_masks()).unwrap();
        }
        resumed.threads = Threads::new(1).unwrap(); // the number of threads changes no bit
        assert_eq!(resumed.steps(), 3);
        assert_eq!(steps(&mut resumed, 3), losses);
        resumed.save(&path("again")).unwrap();
        assert_eq!(fs::read(path("again")).unwrap(), fs::read(path("late")).unwrap());

        let mut other = tuner(Settings { seed: 2, ..settings }).unwrap();
        let why = other.load(&path("early")).unwrap_err().to_string();
        assert!(why.contains("other settings"), "{why}");
        let mut other =
            FineTuner::new(pruned(), &all_masks(), Some(pruned()), &text(), settings).unwrap();
        assert!(other.load(&path("early")).is_err(), "another teacher");
    }
}

/// A batch is the next sequences, none twice before all were read, and never a held-out one.
#[test]
fn sequences_come_in_turn() {
    let mut trainer = tuner(settings(Sparsity::Frozen, 0.0)).unwrap();
    let held_out: Vec<Vec<u32>> =
        trainer.text.chunks_exact(25).take(4).map(<[u32]>::to_vec).collect();
    let mut seen = Vec::new();
    while seen.len() + 4 <= trainer.sequences() {
        seen.extend(trainer.rows().iter().map(|row| row.to_vec()));
        trainer.step += 1;
    }
    assert!(seen.len() > 50 && seen.iter().all(|row| row.len() == 25));
    let all: Vec<u32> = [held_out, seen.clone()].concat().concat();
    assert_eq!(all, trainer.text[..all.len()]);
    let wrapped = trainer.rows();
    assert!(wrapped.iter().any(|row| *row == seen[0]), "and again from the start");
}

#[test]
fn bad_input_is_named() {
    let good = settings(Sparsity::Frozen, 0.5);
    let refused = |settings: Settings| tuner(settings).err().unwrap().to_string();
    assert!(refused(Settings { shards: 3, ..good }).contains("4 does not divide into 3"));
    assert!(refused(Settings { length: 25, ..good }).contains("25 exceed the model's 24"));
    assert!(refused(Settings { distill: 1.5, ..good }).contains("1.5"));
    assert!(refused(Settings { temperature: 0.0, ..good }).contains("temperature"));
    assert!(refused(Settings { batch: 0, ..good }).contains("above 0"));
    assert!(refused(Settings { held_out: 1 << 20, ..good }).contains("sequences of 25 tokens"));
    let sparsity = Sparsity::SrSte { lambda: -1.0 };
    assert!(refused(Settings { sparsity, ..good }).contains("-1"));
    let adam = AdamW { lr: f32::NAN, ..good.adam };
    assert!(refused(Settings { adam, ..good }).contains("lr NaN"));

    let new = |masks: &Masks, teacher| {
        FineTuner::new(pruned(), masks, teacher, &text(), good).err().unwrap().to_string()
    };
    assert!(new(&all_masks(), None).contains("needs a teacher"));
    let other = Weights::init(Config { vocab: 300, ..config() }, 1).unwrap();
    let why = new(&all_masks(), Some(other));
    assert!(why.contains("teacher's vocabulary is 300, the student's 256"), "{why}");
    let short = Weights::init(Config { max_seq: 16, ..config() }, 1).unwrap();
    assert!(new(&all_masks(), Some(short)).contains("the teacher's 16"));
    let (name, mask) = all_masks().pop_first().unwrap();
    let why = new(&Masks::from([("rogue".to_owned(), mask.clone())]), Some(pruned()));
    assert!(why.contains("no rogue is trained"), "{why}");
    let wide = crate::config::in_block(0, crate::config::GATE);
    assert_ne!(name, wide);
    let down = crate::config::in_block(0, crate::config::DOWN);
    let why = new(&Masks::from([(wide, all_masks()[&down].clone())]), Some(pruned()));
    assert!(why.contains("32×64, the tensor [64, 32]"), "{why}");
    let mut trainer = tuner(good).unwrap();
    assert!(trainer.init(1).unwrap_err().to_string().contains("seed"));
}

/// Types and fixed tensors stay, trained ones are what `round` said, and their pattern holds.
#[test]
fn a_checkpoint_ships_as_it_came() {
    let scratch = Scratch::new("ship");
    let (from, to) = (scratch.0.join("from"), scratch.0.join("to"));
    let stored = |kind| if kind == Kind::Norm { StoredType::F32 } else { StoredType::F16 };
    let slots = config().slots();
    let plan: Vec<Planned> = slots
        .iter()
        .map(|s| Planned::Dense {
            name: s.name.clone(),
            dtype: stored(s.kind),
            shape: s.shape.clone(),
        })
        .collect();
    let mut writer = ShardWriter::create(&from, &plan, 1 << 20).unwrap();
    let weights = pruned();
    for slot in &slots {
        let raw = Raw::from(weights.get(&slot.name).unwrap().clone());
        writer.raw(&slot.name, &raw.cast(stored(slot.kind)).unwrap().bytes).unwrap();
    }
    writer.finish().unwrap();
    let source = Checkpoint::open(&from).unwrap();

    let mut trainer = tuner(settings(SR_STE, 0.0)).unwrap();
    steps(&mut trainer, 3);
    let mut tensors = trainer.trained().unwrap();
    round(&source, &mut tensors).unwrap();
    write(&to, &source, &tensors, &[("note.txt".into(), b"hello".to_vec())], 1 << 20).unwrap();
    assert_eq!(fs::read(to.join("note.txt")).unwrap(), b"hello");

    let written = Checkpoint::open(&to).unwrap();
    let forms = |source: &Checkpoint| -> Vec<_> {
        source.entries().iter().map(|e| (e.name.clone(), e.stored.clone())).collect()
    };
    assert_eq!(forms(&written), forms(&source));
    assert_eq!(written.raw(EMBEDDING).unwrap(), source.raw(EMBEDDING).unwrap());
    for (name, tensor) in &tensors {
        assert_eq!(written.tensor(name).unwrap(), *tensor, "{name}");
        assert_ne!(source.tensor(name).unwrap(), *tensor, "{name}");
    }
    let read = slots.iter().map(|s| (s.name.clone(), written.tensor(&s.name).unwrap()));
    let read = Weights::new(config(), read.collect()).unwrap();
    assert_eq!(masks(&read, Pattern::TWO_OF_FOUR).unwrap().len(), all_masks().len());

    tensors.get_mut(FINAL_NORM).unwrap().shape = vec![16, 2];
    let why = round(&source, &mut tensors).unwrap_err().to_string();
    assert!(why.contains("trained as [16, 2], held as [32]"), "{why}");
}
