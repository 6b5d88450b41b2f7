//! Encoders: candle-transformers' BERT as an oracle, and a small one pruned from folder to folder.

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert;
use quickpick_prune::{Pattern, Rules};
use quickpick_transformer::checkpoint::{DEFAULT_LIMIT, Model};
use quickpick_transformer::encoder::{
    self, Block, Embeddings, Forward, Sentences, agreement, embed,
};
use quickpick_transformer::oneshot::{Existing, Job, Narrow, RunFolder, assemble, run};
use quickpick_transformer::score::largest_difference;
use quickpick_transformer::{Architecture, Text};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz.";
const MAX_SEQ: usize = 80;

fn folder(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("quickpick-bert-{name}-{}", std::process::id()))
}

fn config() -> Value {
    json!({
        "model_type": "bert", "hidden_act": "gelu", "hidden_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 58,
        "max_position_embeddings": MAX_SEQ, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
        "hidden_dropout_prob": 0.1, "initializer_range": 0.02, "pad_token_id": 0
    })
}

/// A WordPiece vocabulary of letters, which frames texts, cuts them and fills them up.
fn tokenizer() -> Value {
    let mut tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].map(String::from).to_vec();
    tokens.extend(LETTERS.chars().flat_map(|c| [c.to_string(), format!("##{c}")]));
    let vocab: serde_json::Map<_, _> =
        tokens.into_iter().enumerate().map(|(id, token)| (token, json!(id))).collect();
    let special = |token: &str, id: u32| json!({ "id": token, "ids": [id], "tokens": [token] });
    let around = |token: &str| json!({ "SpecialToken": { "id": token, "type_id": 0 } });
    let text = |id: &str| json!({ "Sequence": { "id": id, "type_id": 0 } });
    json!({
        "version": "1.0", "added_tokens": [],
        "truncation": { "max_length": 8, "strategy": "LongestFirst", "stride": 0 },
        "padding": {
            "strategy": { "Fixed": 8 }, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
            "pad_type_id": 0, "pad_token": "[PAD]"
        },
        "normalizer": null, "pre_tokenizer": { "type": "Whitespace" }, "decoder": null,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [around("[CLS]"), text("A"), around("[SEP]")],
            "pair": [around("[CLS]"), text("A"), text("B"), around("[SEP]")],
            "special_tokens": { "[CLS]": special("[CLS]", 2), "[SEP]": special("[SEP]", 3) }
        },
        "model": {
            "type": "WordPiece", "vocab": vocab, "unk_token": "[UNK]",
            "continuing_subword_prefix": "##", "max_input_chars_per_word": 100
        }
    })
}

/// Writes a random encoder's folder, every name after `prefix`; returns its tensors.
fn write(folder: &Path, prefix: &str) -> HashMap<String, Tensor> {
    let mut rng = StdRng::seed_from_u64(5);
    let mut tensors = HashMap::new();
    let mut add = |name: &str, shape: &[usize], mean: f32, spread: f32| {
        let n: usize = shape.iter().product();
        let data: Vec<f32> = (0..n).map(|_| mean + spread * (rng.random::<f32>() - 0.5)).collect();
        let tensor = Tensor::from_vec(data, shape, &Device::Cpu).unwrap();
        tensors.insert(format!("{prefix}{name}"), tensor);
    };
    for (name, rows) in [("word", 58), ("position", MAX_SEQ), ("token_type", 2)] {
        add(&format!("embeddings.{name}_embeddings.weight"), &[rows, 32], 0.0, 2.0);
    }
    let mut norms = vec!["embeddings.LayerNorm".to_owned()];
    for layer in 0..2 {
        let name = |part: &str| format!("encoder.layer.{layer}.{part}");
        for (part, rows, cols) in [
            ("attention.self.query", 32, 32),
            ("attention.self.key", 32, 32),
            ("attention.self.value", 32, 32),
            ("attention.output.dense", 32, 32),
            ("intermediate.dense", 64, 32),
            ("output.dense", 32, 64),
        ] {
            add(&format!("{}.weight", name(part)), &[rows, cols], 0.0, 1.0);
            add(&format!("{}.bias", name(part)), &[rows], 0.0, 1.0);
        }
        norms.extend([name("attention.output.LayerNorm"), name("output.LayerNorm")]);
    }
    for norm in norms {
        add(&format!("{norm}.weight"), &[32], 1.0, 0.5);
        add(&format!("{norm}.bias"), &[32], 0.0, 0.5);
    }
    fs::create_dir_all(folder).unwrap();
    let mut all = tensors.clone();
    let ids: Vec<i64> = (0..MAX_SEQ as i64).collect();
    let ids = Tensor::from_vec(ids, (1, MAX_SEQ), &Device::Cpu).unwrap();
    all.insert(format!("{prefix}embeddings.position_ids"), ids);
    candle_core::safetensors::save(&all, folder.join("model.safetensors")).unwrap();
    for (name, json) in [("config.json", config()), ("tokenizer.json", tokenizer())] {
        fs::write(folder.join(name), json.to_string()).unwrap();
    }
    tensors
}

fn shape(model: &Model) -> encoder::Config {
    match model.architecture() {
        Architecture::Bert(config) => *config,
        other => panic!("{other:?}"),
    }
}

/// Two sequences at a time: of one token, of less and of more than a block of queries.
#[test]
fn candle_transformers_reads_the_same_model() {
    let folder = folder("oracle");
    for prefix in ["", "bert."] {
        let tensors = write(&folder, prefix);
        let theirs: bert::Config = serde_json::from_value(config()).unwrap();
        let builder = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
        let theirs = bert::BertModel::load(builder, &theirs).unwrap();
        let model = Model::open(&folder).unwrap();
        let config = shape(&model);
        let tensor = |name: &str| model.source().tensor(name);
        let embeddings = Embeddings::load(&config, tensor).unwrap();
        for len in [1, 23, MAX_SEQ] {
            let ids: Vec<u32> = (0..2 * len as u32).map(|i| i * 37 % 58).collect();
            let forward = Forward::new(&config, len).unwrap();
            let mut x = forward.embed(&embeddings, &ids).unwrap();
            for layer in 0..2 {
                let block = Block::load(&config, layer, tensor).unwrap();
                forward.block(&block, &mut x).unwrap();
            }
            let input = Tensor::from_vec(ids, (2, len), &Device::Cpu).unwrap();
            let want = theirs.forward(&input, &input.zeros_like().unwrap(), None).unwrap();
            let want: Vec<f32> = want.flatten_all().unwrap().to_vec1().unwrap();
            let distance = largest_difference(&x, &want);
            assert!(distance <= 2e-5, "{prefix} {len}: {distance:e}");
        }
        // sentences of several lengths, the same one apart from its like
        let sentence = |len: u32| (0..len).map(|i| (i * i + len) % 58).collect();
        let sentences: Vec<Vec<u32>> = [7, 30, 8, 7].map(sentence).to_vec();
        let have = embed(&config, model.source(), &sentences, &mut |_| {}).unwrap();
        for (ids, have) in sentences.into_iter().zip(have.chunks(config.dim)) {
            let input = Tensor::from_vec(ids.clone(), (1, ids.len()), &Device::Cpu).unwrap();
            let states = theirs.forward(&input, &input.zeros_like().unwrap(), None).unwrap();
            let mean: Vec<f32> = states.mean((0, 1)).unwrap().to_vec1().unwrap();
            let norm = mean.iter().map(|x| x * x).sum::<f32>().sqrt();
            let want: Vec<f32> = mean.iter().map(|x| x / norm).collect();
            assert!(largest_difference(have, &want) <= 2e-5, "{prefix}");
        }
        let why = Forward::new(&config, MAX_SEQ + 1).err().unwrap().to_string();
        assert!(why.contains("not 1..=80"), "{why}");
        assert!(model.architecture().decoder().unwrap_err().to_string().contains("encoder"));
        assert!(model.end_tokens().is_err());
    }
    fs::remove_dir_all(&folder).unwrap();
}

/// Words of a text, which neither model has been made for.
fn words(seed: u64, count: usize) -> String {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut text = String::new();
    for i in 0..count {
        let len = rng.random_range(2..7);
        let letter = |_| LETTERS.as_bytes()[rng.random_range(0..26)] as char;
        text.extend((0..len).map(letter));
        text += if i % 7 == 6 { "end. " } else { " " };
    }
    text
}

fn two_of_four(data: &[f32]) -> bool {
    data.chunks(4).all(|group| group.iter().filter(|&&w| w != 0.0).count() <= 2)
}

#[test]
fn an_encoder_is_pruned_from_folder_to_folder() {
    let (dense, out, text) = (folder("dense"), folder("pruned"), folder("text"));
    write(&dense, "");
    let model = Model::open(&dense).unwrap();
    let (config, tokenizer) = (shape(&model), model.tokenizer().unwrap());
    let calibration = Text::new(&words(1, 400), "words", tokenizer).unwrap();
    assert!(calibration.tokens().len() > 1000, "the tokenizer's own limit is not ours");
    let sequences =
        |count, len| model.architecture().sequences(&calibration, tokenizer, count, len, 1);
    let ids = sequences(20, 24).unwrap();
    assert!(ids.len() == 480 && ids.chunks(24).all(|ids| ids[0] == 2 && ids[23] == 3));
    assert!(sequences(20, 2).is_err() && sequences(20, 0).is_err());

    fs::write(&text, words(2, 700)).unwrap();
    let read = |longest| Sentences::read(std::slice::from_ref(&text), tokenizer, 60, longest);
    let sentences = read(30).unwrap();
    assert_eq!(sentences.ids().len(), 60);
    assert!(sentences.ids().iter().all(|ids| ids.len() <= 30 && ids[ids.len() - 1] == 3));
    assert!(read(2).is_err());
    let measure =
        |model: &Model| embed(&config, model.source(), sentences.ids(), &mut |_| {}).unwrap();
    let before = measure(&model);

    let stack = model.architecture().stack(24).unwrap();
    let linears: Vec<String> = (0..2).flat_map(|b| stack.stages(b).concat()).collect();
    assert_eq!(linears.len(), 12);
    let mut cosines = Vec::new();
    for (method, permute) in [("magnitude", None), ("alps", None), ("alps", Some(1))] {
        let rules = Rules::new(Pattern::TWO_OF_FOUR);
        let job = Job {
            method: method.parse().unwrap(),
            rules,
            permute,
            narrow: Narrow::F32,
            given: Default::default(),
        };
        let run_folder = RunFolder::open(&out.with_extension("run"), &1, Existing::Refuse).unwrap();
        let source = model.source();
        let layers = run(&*stack, source, &ids, &job, &run_folder, &mut |_| {}).unwrap();
        assert!(layers.len() == 12 && layers.iter().all(|layer| layer.pruned.is_some()));
        let files = model.companions();
        assemble(&out, source, &run_folder, 2, Narrow::F32, files, DEFAULT_LIMIT).unwrap();
        run_folder.remove().unwrap();

        let pruned = Model::open(&out).unwrap();
        for entry in source.entries() {
            let (name, moved) = (&entry.name, permute.is_some() && entry.name.contains("bias"));
            match linears.contains(name) {
                true => assert!(two_of_four(&pruned.source().tensor(name).unwrap().data), "{name}"),
                false if moved => {}
                false => {
                    let raw = pruned.source().raw(name).unwrap();
                    assert_eq!(raw, source.raw(name).unwrap(), "{name}");
                }
            }
        }
        let after = measure(&pruned);
        cosines.push(agreement(&before, &after, config.dim).unwrap().cosine.value);
        drop(pruned);
        fs::remove_dir_all(&out).unwrap();
    }
    let [magnitude, alps, permuted] = cosines[..] else { panic!("{cosines:?}") };
    assert!(magnitude < alps && alps < 0.999 && alps > 0.9 && permuted > 0.9, "{cosines:?}");
    fs::remove_dir_all(&dense).unwrap();
    fs::remove_file(&text).unwrap();
}

#[test]
fn other_encoders_are_refused_by_name() {
    for (key, value, words) in [
        ("model_type", json!("roberta"), "only llama and bert"),
        ("hidden_act", json!("relu"), "hidden_act is \"relu\"; only \"gelu\""),
        ("position_embedding_type", json!("relative_key"), "only \"absolute\""),
        ("is_decoder", json!(true), "is_decoder is true"),
        ("num_attention_heads", json!(5), "32 does not divide into 5 heads"),
        ("num_hidden_layers", json!(0), "num_hidden_layers is 0"),
        ("layer_norm_eps", json!(-1), "layer_norm_eps is -1"),
    ] {
        let mut json = config();
        json[key] = value;
        let why = Architecture::from_hugging_face(&json, |_| false).unwrap_err().to_string();
        assert!(why.contains(words), "{why}");
    }
}
