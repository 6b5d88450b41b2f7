//! Graphs: what the child does with them, and what must reach the driver then.

use crate::child::{is_hoppers, is_tiled, plan, stage, step};
use crate::fake::Fake;
use crate::{Outcome, balanced, expect};
use quickpick::cuda::api::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use quickpick::{Backend, Cuda, Result};
use quickpick_prune::{Mask, Pattern};
use quickpick_transformer::{Compact, Config, Decoder, Error, Kind, Weights};
use std::collections::{BTreeMap, BTreeSet};
use std::slice::from_ref;
use std::sync::Barrier;

/// Decode steps of a test.
const STEPS: usize = 6;

const CONFIG: Config = Config {
    dim: 64,
    layers: 2,
    heads: 4,
    kv_heads: 2,
    ffn: 128,
    vocab: 256,
    max_seq: 64,
    rope_theta: 10_000.0,
    eps: 1e-5,
    tie_word_embeddings: false,
    rope_scaling: None,
};

/// Captures what the backend runs, as an embedder does; once with a wait in the midst, which none allows.
pub fn embedder() -> Result<()> {
    let (cuda, other) = (Cuda::open()?, Cuda::open()?);
    let buffer = cuda.upload(&[7; 64])?;
    let steps = [is_tiled, is_hoppers].map(|wanted| step(&cuda, &plan(&cuda, wanted)));
    let steps = Vec::from_iter(steps).into_iter().collect::<Result<Vec<_>>>()?;
    let graph = cuda.record(&steps)?.expect("a graph");
    let others = [step(&other, &plan(&other, is_tiled))?];
    let others = other.record(&others)?.expect("a graph");
    let foreign = other.record(&steps).unwrap_err().to_string();
    assert_eq!(foreign, "recording 2 launches: steps of this backend: 0 given, 2 expected");
    stage("plain");
    cuda.run(&steps)?;

    stage("capture");
    let stream = cuda.stream();
    let global = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_GLOBAL;
    stream.begin_capture(global).unwrap();
    cuda.run(&steps)?;
    cuda.run(from_ref(&graph))?;
    let refused = cuda.record(&steps).unwrap_err().to_string();
    let words = "recording 2 launches: captures of the backend's stream: 1 given, 0 expected";
    assert_eq!(refused, words);
    let flags = CUgraphInstantiate_flags(0);
    let theirs = stream.end_capture(flags).unwrap().unwrap();
    stage("replay");
    theirs.launch().unwrap();
    // a captured graph keeps nothing alive: that is its owner's duty
    drop(theirs);

    stage("beside");
    stream.begin_capture(global).unwrap();
    std::thread::scope(|s| s.spawn(|| other.run(from_ref(&others))).join().unwrap())?;
    drop(stream.end_capture(flags).unwrap());

    stage("spoiled");
    stream.begin_capture(global).unwrap();
    cuda.run(&steps)?;
    let why = cuda.read(&buffer, 0, 64).unwrap_err().to_string();
    assert!(
        why.starts_with("cuda: reading 64 bytes: CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"),
        "{why}"
    );
    assert!(stream.end_capture(flags).is_err());
    stage("after");
    cuda.run(from_ref(&graph))?;
    assert_eq!(cuda.read(&buffer, 0, 64)?, [7; 64]);

    stage("nested");
    let both = cuda.record(&[graph, steps[1].clone()])?.expect("a graph");
    drop(steps);
    cuda.run(from_ref(&both))?;
    stage("drop");
    Ok(())
}

/// Whatever is captured is what would have run, and the driver's rules for captures are kept.
pub fn captured(fake: &Fake) -> Outcome {
    let run = fake.run("embedder", "")?;
    expect(run.errors().is_empty(), "an error without a fault", &run)?;
    let at = |stage| -> Vec<&str> { run.launches(stage).map(|(_, launch)| launch).collect() };
    let plain = at("plain");
    expect(plain.len() == 2, "two steps are two launches", &run)?;
    expect(at("capture").is_empty(), "what is captured does not run", &run)?;
    expect(at("replay") == [&plain[..], &plain].concat(), "steps, and the graph's", &run)?;
    expect(at("beside").len() == 1, "another stream's graph runs during a capture", &run)?;
    expect(at("after") == plain, "the stream serves on behind a spoiled capture", &run)?;
    expect(at("nested") == [plain[0], plain[1], plain[1]], "a graph in a graph", &run)?;
    balanced(&run)
}

fn model() -> std::result::Result<Compact, Error> {
    let mut masks = quickpick_prune::Masks::new();
    for (slot, seed) in CONFIG.slots().into_iter().zip(1..).filter(|(s, _)| s.kind == Kind::Linear)
    {
        let mask = Mask::random(slot.shape[0], slot.shape[1], Pattern::TWO_OF_FOUR, seed);
        masks.insert(slot.name, mask.expect("whole groups"));
    }
    Compact::new(&Weights::init(CONFIG, 1)?, &masks)
}

/// Writes a few tokens, the last step once more without the graph.
pub fn decoder() -> Result<()> {
    let cuda = Cuda::open()?;
    let mut decoder = Decoder::new(&cuda, &model().unwrap()).unwrap();
    stage("prompt");
    let mut token = decoder.feed_greedy(&[1; 32 + 8 + 1]).unwrap();
    for _ in 0..STEPS {
        stage("decode");
        token = decoder.feed_greedy(&[token]).unwrap();
    }
    stage("logits");
    decoder.feed(&[token]).unwrap();
    stage("plain");
    let steps: Vec<_> = decoder.into_decode_steps().into_iter().map(|(_, step)| step).collect();
    cuda.run(&steps)?;
    stage("drop");
    Ok(())
}

/// A decode step is one launch of a graph, of what its steps would launch one by one.
pub fn one_launch_each(fake: &Fake) -> Outcome {
    let run = fake.run("decoder", "")?;
    expect(run.errors().is_empty(), "an error without a fault", &run)?;
    let at = |stage| -> Vec<&str> { run.launches(stage).map(|(_, launch)| launch).collect() };
    let plain = at("plain");
    // gather, 12 of each block, and the head's norm, product and choice
    expect(plain.len() == 1 + 12 * CONFIG.layers + 3, "the steps of a token", &run)?;
    expect(at("logits") == plain, "the step that reads no token", &run)?;
    expect(at("decode") == plain.repeat(STEPS), "each step, launch by launch", &run)?;
    expect(at("prompt").len() == 3 * plain.len(), "a prompt's chunks", &run)?;
    let count = |stage: &str, name: &str| {
        run.calls().filter(|call| call.stage == stage && call.function == name).count()
    };
    for (name, times) in [
        ("cuGraphLaunch", STEPS),
        ("cuMemcpyHtoDAsync_v2", 2 * STEPS), // the token, and its position
        ("cuMemcpyDtoHAsync_v2", STEPS),     // the next token
        ("cuStreamSynchronize", 3 * STEPS),
        ("cuStreamIsCapturing", STEPS),
    ] {
        let counted = count("decode", name);
        expect(counted == times, &format!("{name} {counted} times, not {times}"), &run)?;
    }
    let others: BTreeSet<_> =
        run.calls().filter(|call| call.stage == "decode").map(|call| call.function).collect();
    expect(others.len() == 6 && others.contains("cuCtxGetCurrent"), &format!("{others:?}"), &run)?;
    expect(
        run.copies("decode") == "up 4 up 4 down 4 ".repeat(STEPS),
        "what goes up and down",
        &run,
    )?;
    expect(count("prompt", "cuGraphLaunch") == 3, "a graph for each size of chunk", &run)?;
    expect(count("plain", "cuLaunchKernel") == plain.len(), "the steps one by one", &run)?;
    balanced(&run)
}

/// Two decoders of one device, each on a thread and a stream of its own, made and run at a time.
pub fn threads() -> Result<()> {
    let barrier = Barrier::new(2);
    let one = || -> Result<()> {
        let told = |name| {
            if barrier.wait().is_leader() {
                stage(name);
            }
            barrier.wait();
        };
        let cuda = Cuda::open()?;
        let mut decoder = Decoder::new(&cuda, &model().unwrap()).unwrap();
        told("decode");
        for _ in 0..STEPS {
            decoder.feed_greedy(&[1]).unwrap();
        }
        told("drop");
        Ok(())
    };
    std::thread::scope(|s| {
        let threads = [s.spawn(one), s.spawn(one)];
        threads.into_iter().try_for_each(|thread| thread.join().unwrap())
    })
}

/// Neither launches anything of the other's, or takes its memory.
pub fn undisturbed(fake: &Fake) -> Outcome {
    let run = fake.run("threads", "")?;
    expect(run.errors().is_empty(), "an error without a fault", &run)?;
    let mut streams = BTreeMap::<&str, Vec<&str>>::new();
    run.launches("decode").for_each(|(of, launch)| streams.entry(of).or_default().push(launch));
    let streams: Vec<_> = streams.into_values().collect();
    expect(streams.len() == 2, "two streams", &run)?;
    let mut memory = vec![];
    for launches in &streams {
        let step = &launches[..launches.len() / STEPS];
        expect(*launches == step.repeat(STEPS), "a step is not the one before", &run)?;
        // pointers are what has 8 bytes
        let words = step.iter().flat_map(|launch| launch.split(' ').skip(1));
        let pointers = words.filter(|word| word.len() == 16 && *word != "0".repeat(16));
        memory.push(pointers.collect::<BTreeSet<_>>());
    }
    let kernels = |launches: &[&'_ str]| -> Vec<String> {
        launches.iter().filter_map(|l| Some(l.split_once(' ')?.0.into())).collect()
    };
    expect(kernels(&streams[0]) == kernels(&streams[1]), "two models alike", &run)?;
    expect(memory.iter().all(|m| m.len() > 30), "a decoder's buffers", &run)?;
    expect(memory[0].is_disjoint(&memory[1]), "memory of both", &run)?;
    balanced(&run)
}
