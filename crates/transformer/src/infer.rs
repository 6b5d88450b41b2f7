//! The decoder on a device: every step is built and recorded once, then run for each chunk of tokens.
//!
//! ```text
//! x = embedding[ids]
//! each block:  h = rmsnorm(x);  q, k, v = h·Wqᵀ, h·Wkᵀ, h·Wvᵀ
//!              q, K-cache, V-cache = rotary(q, k, v, position)
//!              x = attention(q, K-cache, V-cache)·Woᵀ + x
//!              h = rmsnorm(x);  x = (silu(h·Wgateᵀ) · (h·Wupᵀ))·Wdownᵀ + x
//! logits = rmsnorm(x)·Wheadᵀ;  next = argmax(logits)
//! ```
//!
//! Weights, h, the caches and what enters a linear layer are f16; x, q, k, v, gate, up and logits
//! are f32. Nothing but tokens and a position goes up; what comes down are logits, or, where the likeliest
//! token is all that is asked for ([`Decoder::feed_greedy`]), that token alone.

mod recorder;

use crate::compact::{Compact, Stored};
use crate::config::{self, in_block};
use crate::{Config, Error};
use quickpick::kernels::{DType, OpKind};
use quickpick::{Backend, LinearLayer};
use recorder::Recorder;
use std::collections::BTreeSet;

/// Sizes of the chunks that tokens are cut into, falling; the last is a decode step.
///
/// A few sizes serve every length exactly, so nothing is padded: padding would write beyond the
/// caches at the end of a sequence.
pub const CHUNKS: [usize; 4] = [128, 32, 8, 1];

/// The type of weights, of caches and of what enters a linear layer.
const NARROW: DType = DType::F16;

/// A model in a backend's memory, somewhere in a sequence.
pub struct Decoder<'b, B: Backend> {
    backend: &'b B,
    config: Config,
    chunks: Vec<Chunk<B>>,
    ids: B::Buffer,
    position: B::Buffer,
    logits: B::Buffer,
    likeliest: B::Buffer,
    /// Tokens of the sequence so far.
    tokens: usize,
    /// Size of the chunk that ran last: its logits are in the buffer.
    last_chunk: usize,
    kernels: BTreeSet<String>,
}

/// The steps for `tokens` tokens at once.
struct Chunk<B: Backend> {
    tokens: usize,
    /// The last one finds the likeliest tokens.
    steps: Vec<B::Step>,
    /// What each step does.
    kinds: Vec<OpKind>,
    /// All steps as one, where the backend has such.
    recorded: Option<B::Step>,
}

impl<B: Backend> Chunk<B> {
    /// What is run.
    fn work(&self) -> &[B::Step] {
        self.recorded.as_ref().map_or(&self.steps, std::slice::from_ref)
    }
}

impl<'b, B: Backend> Decoder<'b, B> {
    /// Uploads the model, binds every step, and records those of each chunk ([`Backend::record`]): on CUDA
    /// a decode step is one launch of a graph.
    ///
    /// Errors: no kernel serves a layer's shape on this device, or the device fails.
    pub fn new(backend: &'b B, model: &Compact) -> Result<Self, Error> {
        let config = *model.config();
        config.validate()?;
        let buffers = Buffers::new(backend, &config)?;
        let mut device = DeviceModel::upload(backend, model)?;
        let sum = match device.sum_bytes(CHUNKS[0].min(config.max_seq) as u32) {
            0 => None,
            bytes => Some(backend.buffer(bytes)?),
        };
        let mut kernels = BTreeSet::new();
        let mut chunks = Vec::new();
        for tokens in CHUNKS.into_iter().filter(|&n| n <= config.max_seq) {
            let n = tokens as u32;
            let (sum, steps, kinds, kernels) = (sum.clone(), vec![], vec![], &mut kernels);
            let workspaces = vec![];
            let mut recorder = Recorder { backend, n, sum, workspaces, steps, kinds, kernels };
            recorder.model(&config, &buffers, &mut device)?;
            let (steps, kinds) = (recorder.steps, recorder.kinds);
            let recorded = backend.record(&steps)?;
            chunks.push(Chunk { tokens, steps, kinds, recorded });
        }
        let Buffers { ids, position, logits, likeliest, .. } = buffers;
        Ok(Self {
            backend,
            config,
            chunks,
            ids,
            position,
            logits,
            likeliest,
            tokens: 0,
            last_chunk: 0,
            kernels,
        })
    }

    /// The model's shape.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The names of all kernels that it runs.
    pub fn kernels(&self) -> impl Iterator<Item = &str> {
        self.kernels.iter().map(String::as_str)
    }

    /// Tokens of the sequence so far.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Begins a new sequence. The caches need no clearing: attention reads only rows that the new
    /// sequence has written.
    pub fn restart(&mut self) {
        (self.tokens, self.last_chunk) = (0, 0);
    }

    /// Appends tokens to the sequence; enqueues, and waits for nothing.
    ///
    /// Errors: a token outside the vocabulary, a sequence longer than the model's, a failed device.
    pub fn feed(&mut self, tokens: &[u32]) -> Result<(), Error> {
        self.each_chunk(tokens, |decoder, chunk| decoder.run(chunk))
    }

    /// Appends tokens and returns the likeliest next one, of equals the lowest. Waits; where the device is
    /// asked by submissions, the last chunk and its answer are one, and 4 bytes come back.
    ///
    /// Errors: as [`feed`](Self::feed); no token was given; a logit is not a number.
    pub fn feed_greedy(&mut self, tokens: &[u32]) -> Result<u32, Error> {
        let (mut left, mut answer) = (tokens.len(), None);
        self.each_chunk(tokens, |decoder, chunk| {
            left -= chunk.tokens;
            if left > 0 {
                return decoder.run(chunk);
            }
            let at = 4 * (chunk.tokens - 1) as u64;
            let bytes = decoder.backend.run_then_read(chunk.work(), &decoder.likeliest, at, 4)?;
            answer = bytemuck::pod_collect_to_vec::<u8, u32>(&bytes).first().copied();
            Ok(())
        })?;
        match answer {
            Some(token) if (token as usize) < self.config.vocab => Ok(token),
            Some(_) => Err(Error::Inference("a logit is not a number".into())),
            None => Err(Error::Inference("no token was fed, so there are no logits".into())),
        }
    }

    /// The logits after the last token that was fed: `vocab`. Waits.
    ///
    /// Errors: nothing was fed, or the device fails.
    pub fn last_logits(&self) -> Result<Vec<f32>, Error> {
        match self.last_chunk {
            0 => Err(Error::Inference("no token was fed, so there are no logits".into())),
            n => self.read_logits(n - 1, 1),
        }
    }

    /// Appends tokens and returns all their logits: `tokens.len() × vocab`. Waits.
    ///
    /// Errors: as [`feed`](Self::feed).
    pub fn logits(&mut self, tokens: &[u32]) -> Result<Vec<f32>, Error> {
        let mut all = Vec::with_capacity(tokens.len() * self.config.vocab);
        self.each_chunk(tokens, |decoder, chunk| {
            decoder.run(chunk)?;
            all.extend(decoder.read_logits(0, chunk.tokens)?);
            Ok(())
        })?;
        Ok(all)
    }

    /// The steps of one token's decode, in order, each with its operation: for whoever times them. They go on
    /// standing at the last token that was fed, and may be run again, in any order, for as long as that.
    pub fn into_decode_steps(self) -> Vec<(OpKind, B::Step)> {
        let one = self.chunks.into_iter().find(|chunk| chunk.tokens == 1);
        one.map_or(vec![], |chunk| chunk.kinds.into_iter().zip(chunk.steps).collect())
    }

    /// What goes in and comes out, for whoever records steps to be run elsewhere.
    pub(crate) fn named(&self) -> [(&'static str, &B::Buffer); 4] {
        let Self { ids, position, likeliest, logits, .. } = self;
        [("ids", ids), ("position", position), ("likeliest", likeliest), ("logits", logits)]
    }

    fn each_chunk(
        &mut self,
        mut tokens: &[u32],
        mut run: impl FnMut(&Self, &Chunk<B>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (have, most) = (self.tokens + tokens.len(), self.config.max_seq);
        if have > most {
            return Err(Error::Inference(format!("{have} tokens exceed the model's {most}")));
        }
        if let Some(id) = tokens.iter().find(|&&id| id as usize >= self.config.vocab) {
            let vocab = self.config.vocab;
            return Err(Error::Inference(format!(
                "token {id} is outside the vocabulary of {vocab}"
            )));
        }
        for i in 0..self.chunks.len() {
            let size = self.chunks[i].tokens;
            while tokens.len() >= size {
                let (now, rest) = tokens.split_at(size);
                self.backend.write(&self.ids, 0, bytemuck::cast_slice(now))?;
                self.backend.write(&self.position, 0, &(self.tokens as u32).to_ne_bytes())?;
                run(self, &self.chunks[i])?;
                self.tokens += size;
                self.last_chunk = size;
                tokens = rest;
            }
        }
        Ok(())
    }

    /// Also where logits are wanted or nothing, the likeliest token is found: it costs next to nothing.
    fn run(&self, chunk: &Chunk<B>) -> Result<(), Error> {
        Ok(self.backend.run(chunk.work())?)
    }

    fn read_logits(&self, row: usize, rows: usize) -> Result<Vec<f32>, Error> {
        let row_bytes = 4 * self.config.vocab as u64;
        let (at, len) = (row as u64 * row_bytes, rows as u64 * row_bytes);
        Ok(bytemuck::pod_collect_to_vec(&self.backend.read(&self.logits, at, len)?))
    }
}

/// Activations, for the largest chunk.
struct Buffers<B: Backend> {
    /// u32, n
    ids: B::Buffer,
    /// u32, 1: of the chunk's first token
    position: B::Buffer,
    /// f32, max_seq × head_dim
    rotary_table: B::Buffer,
    /// f32, n × dim: the residual stream before attention, and before the feed-forward layer. Two,
    /// since a step that adds to the stream may not write what it reads.
    stream: [B::Buffer; 2],
    /// f16, n × dim
    normed: B::Buffer,
    /// f32, n × dim
    q: B::Buffer,
    /// f32, n × kv_dim
    k: B::Buffer,
    /// f32, n × kv_dim
    v: B::Buffer,
    /// f32, n × dim: q, rotated
    rotated: B::Buffer,
    /// f16, n × dim
    attended: B::Buffer,
    /// f32, n × ffn
    gate: B::Buffer,
    /// f32, n × ffn
    up: B::Buffer,
    /// f16, n × ffn
    gated: B::Buffer,
    /// f32, n × vocab
    logits: B::Buffer,
    /// u32, n
    likeliest: B::Buffer,
}

/// A block's weights and caches on the device.
struct Block<B: Backend> {
    attn_norm: B::Buffer,
    q: LinearLayer<B>,
    k: LinearLayer<B>,
    v: LinearLayer<B>,
    o: LinearLayer<B>,
    ffn_norm: B::Buffer,
    gate: LinearLayer<B>,
    up: LinearLayer<B>,
    down: LinearLayer<B>,
    /// f16, max_seq × kv_dim
    k_cache: B::Buffer,
    /// f16, max_seq × kv_dim
    v_cache: B::Buffer,
}

/// The whole model on the device.
struct DeviceModel<B: Backend> {
    embedding: B::Buffer,
    blocks: Vec<Block<B>>,
    final_norm: B::Buffer,
    head: LinearLayer<B>,
}

impl<B: Backend> Buffers<B> {
    fn new(backend: &B, config: &Config) -> Result<Self, Error> {
        let n = CHUNKS[0].min(config.max_seq);
        let f32s = |columns: usize| backend.buffer(4 * (n * columns) as u64);
        let f16s = |columns: usize| backend.buffer(2 * (n * columns) as u64);
        let (dim, kv, ffn) = (config.dim, config.kv_dim(), config.ffn);
        Ok(Self {
            ids: f32s(1)?,
            position: backend.buffer(4)?,
            rotary_table: backend.upload(bytemuck::cast_slice(&config.rotary_table()))?,
            stream: [f32s(dim)?, f32s(dim)?],
            normed: f16s(dim)?,
            q: f32s(dim)?,
            k: f32s(kv)?,
            v: f32s(kv)?,
            rotated: f32s(dim)?,
            attended: f16s(dim)?,
            gate: f32s(ffn)?,
            up: f32s(ffn)?,
            gated: f16s(ffn)?,
            logits: f32s(config.vocab)?,
            likeliest: f32s(1)?,
        })
    }
}

impl<B: Backend> DeviceModel<B> {
    fn upload(backend: &B, model: &Compact) -> Result<Self, Error> {
        let config = model.config();
        let gain = |name: &str| -> Result<B::Buffer, Error> {
            let gain: Vec<f32> = model.dense(name)?.iter().map(|x| x.to_f32()).collect();
            Ok(backend.upload(bytemuck::cast_slice(&gain))?)
        };
        let cache = || backend.buffer(2 * (config.max_seq * config.kv_dim()) as u64);
        let block = |layer| -> Result<Block<B>, Error> {
            let gain = |part| gain(&in_block(layer, part));
            let linear = |part| load_linear(backend, model, &in_block(layer, part));
            Ok(Block {
                attn_norm: gain(config::ATTN_NORM)?,
                q: linear(config::Q)?,
                k: linear(config::K)?,
                v: linear(config::V)?,
                o: linear(config::O)?,
                ffn_norm: gain(config::FFN_NORM)?,
                gate: linear(config::GATE)?,
                up: linear(config::UP)?,
                down: linear(config::DOWN)?,
                k_cache: cache()?,
                v_cache: cache()?,
            })
        };
        Ok(Self {
            embedding: backend.upload(bytemuck::cast_slice(model.dense(config::EMBEDDING)?))?,
            blocks: (0..config.layers).map(block).collect::<Result<_, _>>()?,
            final_norm: gain(config::FINAL_NORM)?,
            head: load_linear(backend, model, config.head())?,
        })
    }

    /// Bytes that every recovered layer can write its sums of `n` tokens to; 0 if there is none.
    fn sum_bytes(&self, n: u32) -> u64 {
        let layers =
            self.blocks.iter().flat_map(|b| [&b.q, &b.k, &b.v, &b.o, &b.gate, &b.up, &b.down]);
        layers.chain([&self.head]).map(|layer| layer.sum_bytes(n)).max().unwrap_or(0)
    }
}

fn load_linear<B: Backend>(
    backend: &B,
    model: &Compact,
    name: &str,
) -> Result<LinearLayer<B>, Error> {
    let (_, columns) = model.matrix_shape(name)?;
    Ok(match model.tensor(name)? {
        Stored::Dense(values) => LinearLayer::dense(backend, values, columns, None)?,
        Stored::Sparse(matrix) => LinearLayer::sparse(backend, matrix.clone(), None)?,
        Stored::Recovered { matrix, residual } => {
            LinearLayer::recovered(backend, matrix.clone(), residual, None)?
        }
    })
}
