//! The decoder through every backend of this machine, against f64 and against itself.

mod common;

use common::{CONFIG, model, oracle, recovered, tokens};
use quickpick::Backend;
use quickpick::kernels::Caps;
use quickpick_transformer::score::{largest_difference, reference};
use quickpick_transformer::{Compact, Decoder, Error, Sampler, Stored, Weights, generate};

/// One suite for each backend; a backend that is not there is reported, or fails if it is required.
macro_rules! suite {
    ($name:ident, $open:expr) => {
        mod $name {
            use super::*;

            #[test]
            fn agrees_with_f64() {
                on(stringify!($name), $open, |b| {
                    for (kind, model) in models(&b, 3) {
                        super::agrees_with_f64(&b, kind, &model);
                    }
                });
            }

            #[test]
            fn chunks_do_not_matter() {
                on(stringify!($name), $open, |b| {
                    for (_, model) in models(&b, 5).iter().skip(1) {
                        super::chunks_do_not_matter(&b, model);
                    }
                });
            }

            #[test]
            fn writes_what_the_cpu_writes() {
                on(stringify!($name), $open, |b| super::writes_what_the_cpu_writes(&b));
            }

            #[test]
            fn the_likeliest_token_is_that_of_the_logits() {
                on(stringify!($name), $open, |b| {
                    super::the_likeliest_token_is_that_of_the_logits(&b);
                });
            }

            #[test]
            fn refuses_bad_tokens() {
                on(stringify!($name), $open, |b| super::refuses_bad_tokens(&b));
            }
        }
    };
}

suite!(cpu, Ok(quickpick::Cpu::new()));
#[cfg(feature = "wgpu")]
suite!(wgpu, quickpick::Wgpu::open());
#[cfg(feature = "cuda")]
suite!(cuda, quickpick::Cuda::open());

fn on<B: Backend>(name: &str, open: quickpick::Result<B>, test: impl FnOnce(B)) {
    match open {
        Ok(backend) => test(backend),
        Err(why) => {
            let required = std::env::var("QUICKPICK_REQUIRE").unwrap_or_default();
            let required = required.split(',').any(|r| r == name || r == "all");
            assert!(!required, "{name} is required: {why}");
            eprintln!("skipped: {why}");
        }
    }
}

/// What a backend can run: a dense model, a 2:4 one, one with residuals. CUDA has no kernel for these
/// yet, and must say so.
fn models<B: Backend>(backend: &B, seed: u64) -> Vec<(&'static str, Compact)> {
    let mut models = vec![("dense", model(seed, false)), ("2:4", model(seed, true))];
    match (backend.caps(), recovered(seed)) {
        (Caps::Cuda(_), recovered) => {
            let error = Decoder::new(backend, &recovered).err();
            let none = matches!(error, Some(Error::Backend(quickpick::Error::NoKernel(_))));
            assert!(none, "{error:?}");
        }
        (_, recovered) => models.push(("recovered", recovered)),
    }
    models
}

/// 150 tokens go through chunks of 128, 8 and 1; the bound is the model's own.
#[track_caller]
fn agrees_with_f64<B: Backend>(backend: &B, kind: &str, model: &Compact) {
    let ids = tokens(150);
    let want = oracle(&model.widen().unwrap(), &ids);
    let have = Decoder::new(backend, model).unwrap().logits(&ids).unwrap();
    let (distance, bound) = (largest_difference(&have, &want), model.logit_bound().unwrap());
    println!("{} {kind}: {distance:.2e} of {bound:.2e}", backend.describe());
    assert!(distance <= bound, "{distance:e} > {bound:e}");
    // the bound can fail: another token before the last moves its logits by more
    let mut other = ids;
    other[148] ^= 1;
    let row = |all: &[f32]| all[149 * CONFIG.vocab..].to_vec();
    let moved = largest_difference(&row(&oracle(&model.widen().unwrap(), &other)), &row(&have));
    assert!(moved > 2.0 * bound, "one token moves {moved:e}, the bound is {bound:e}");
}

/// What lies beside the 2:4 weights is more than the bound: whoever drops it fails.
#[test]
fn a_residual_moves_logits() {
    let model = recovered(3);
    let whole = model.widen().unwrap();
    let mut tensors = whole.clone().into_tensors();
    for (name, tensor) in &mut tensors {
        if let Stored::Recovered { matrix, .. } = model.tensor(name).unwrap() {
            tensor.data = matrix.expand().iter().map(|w| w.to_f32()).collect();
        }
    }
    let ids = tokens(20);
    let moved = largest_difference(
        &oracle(&Weights::new(CONFIG, tensors).unwrap(), &ids),
        &oracle(&whole, &ids),
    );
    let bound = model.logit_bound().unwrap();
    assert!(moved > 2.0 * bound, "the residuals move {moved:e}, the bound is {bound:e}");
}

/// Kernels, tiles and the order of sums differ between chunk sizes; what is computed does not.
fn chunks_do_not_matter<B: Backend>(backend: &B, model: &Compact) {
    let bound = model.logit_bound().unwrap();
    let mut decoder = Decoder::new(backend, model).unwrap();
    let ids = tokens(CONFIG.max_seq);
    let whole = decoder.logits(&ids).unwrap();
    decoder.restart();
    let mut parts = Vec::new();
    for id in &ids {
        parts.extend(decoder.logits(&[*id]).unwrap());
    }
    let distance = largest_difference(&whole, &parts);
    assert!(distance <= bound, "prefill and decode: {distance:e} > {bound:e}");

    decoder.restart();
    decoder.feed(&ids[..45]).unwrap();
    let last = decoder.last_logits().unwrap();
    let distance = largest_difference(&last, &whole[44 * CONFIG.vocab..45 * CONFIG.vocab]);
    assert!(distance <= bound, "last row: {distance:e} > {bound:e}");
    assert_eq!(decoder.tokens(), 45);

    // the same steps on the same numbers, after another sequence lay in the caches
    let once = decoder.logits(&ids[45..60]).unwrap();
    decoder.restart();
    decoder.feed(&ids[..45]).unwrap();
    assert_eq!(once, decoder.logits(&ids[45..60]).unwrap());
}

/// What the device finds is what the host finds in the logits that it reads back.
fn the_likeliest_token_is_that_of_the_logits<B: Backend>(backend: &B) {
    for (_, model) in models(backend, 5) {
        let mut decoder = Decoder::new(backend, &model).unwrap();
        let ids = tokens(57);
        // chunks of 32 and 8, of 1, of 8 twice
        for part in [&ids[..40], &ids[40..41], &ids[41..]] {
            let token = decoder.feed_greedy(part).unwrap();
            assert_eq!(token, Sampler::Greedy.next(&decoder.last_logits().unwrap()).unwrap());
        }
        assert_eq!(decoder.tokens(), ids.len());
        assert!(decoder.feed_greedy(&[]).is_err(), "nothing was fed");
    }
}

/// Greedy text is the same, but for a place where two tokens are closer than the arithmetic.
fn writes_what_the_cpu_writes<B: Backend>(backend: &B) {
    let cpu = quickpick::Cpu::new();
    let prompt = tokens(20);
    for (_, model) in models(backend, 7) {
        let bound = model.logit_bound().unwrap();
        let mut here = Decoder::new(backend, &model).unwrap();
        let mut there = Decoder::new(&cpu, &model).unwrap();
        let a = generate(&mut here, &prompt, 64, &mut Sampler::Greedy).unwrap().tokens;
        let b = generate(&mut there, &prompt, 64, &mut Sampler::Greedy).unwrap().tokens;
        let Some(at) = a.iter().zip(&b).position(|(a, b)| a != b) else { continue };
        there.restart();
        there.feed(&[&prompt[..], &b[..at]].concat()).unwrap();
        let logits = there.last_logits().unwrap();
        let gap = f64::from(logits[b[at] as usize] - logits[a[at] as usize]);
        assert!(gap <= 2.0 * bound, "token {at} differs, though {gap:e} > 2·{bound:e}");
    }
}

/// A decode step hands over once: a token and a position go up, the next token comes down.
#[cfg(feature = "wgpu")]
#[test]
fn a_token_is_one_submission_and_four_bytes() {
    on("wgpu", quickpick::Wgpu::open(), |wgpu| {
        let mut decoder = Decoder::new(&wgpu, &model(2, true)).unwrap();
        let mut token = decoder.feed_greedy(&tokens(11)).unwrap();
        let before = wgpu.traffic();
        for _ in 0..5 {
            token = decoder.feed_greedy(&[token]).unwrap();
        }
        let after = wgpu.traffic();
        assert_eq!(after.submissions - before.submissions, 5);
        assert_eq!(after.bytes_read - before.bytes_read, 5 * 4);
        assert_eq!(after.bytes_written - before.bytes_written, 5 * 8);
    });
}

/// Infinities of both signs meet in the head: no token is the likeliest, whichever way it is asked for.
#[test]
fn what_is_no_number_has_no_likeliest_token() {
    let mut tensors = model(4, false).widen().unwrap().into_tensors();
    tensors.get_mut(quickpick_transformer::config::FINAL_NORM).unwrap().data.fill(65504.0);
    let broken =
        Compact::new(&Weights::new(CONFIG, tensors).unwrap(), &Default::default()).unwrap();
    let cpu = quickpick::Cpu::new();
    let mut decoder = Decoder::new(&cpu, &broken).unwrap();
    for mut sampler in [Sampler::Greedy, Sampler::new(0.7, 1).unwrap()] {
        let why = generate(&mut decoder, &tokens(5), 3, &mut sampler).unwrap_err().to_string();
        assert!(why.contains("is not a number"), "{why}");
    }
}

fn refuses_bad_tokens<B: Backend>(backend: &B) {
    let mut decoder = Decoder::new(backend, &model(1, true)).unwrap();
    assert!(decoder.last_logits().is_err(), "nothing was fed");
    let why = decoder.feed(&[1, 256]).unwrap_err().to_string();
    assert!(why.contains("token 256 is outside the vocabulary of 256"), "{why}");
    let why = decoder.feed(&tokens(CONFIG.max_seq + 1)).unwrap_err().to_string();
    assert!(why.contains("193 tokens exceed the model's 192"), "{why}");
    assert_eq!(decoder.tokens(), 0, "a refused call changes nothing");
    decoder.feed(&tokens(CONFIG.max_seq)).unwrap();
    assert!(decoder.feed(&[0]).is_err());
    assert!(generate(&mut decoder, &[], 4, &mut Sampler::Greedy).is_err(), "an empty prompt");
}

/// The trainer's forward rounds to f32 (2⁻²⁴) at more places than a backend rounds to f16 (2⁻¹¹),
/// sums of up to 160 terms among them; 2⁶ of the 2¹³ between the two roundoffs allow for that.
#[test]
fn candle_agrees_with_f64() {
    for sparse in [false, true] {
        let model = model(3, sparse);
        let weights = model.widen().unwrap();
        let window = tokens(151);
        let have = reference(&weights, std::slice::from_ref(&window)).unwrap();
        let distance = largest_difference(&have, &oracle(&weights, &window[..150]));
        let bound = model.logit_bound().unwrap() / 128.0;
        println!("candle, sparse {sparse}: {distance:.2e} of {bound:.2e}");
        assert!(distance <= bound, "{distance:e} > {bound:e}");
    }
}
