//! The steps of a chunk of tokens.

use super::{Block, Buffers, DeviceModel, NARROW};
use crate::{Config, Error};
use quickpick::kernels::{
    Activation, ArgMax, Attention, DType, Gather, OpKind, Plan, Problem, RmsNorm, Rotary, SwiGlu,
    select,
};
use quickpick::{Backend, LinearLayer, Operands, Slice};
use std::collections::BTreeSet;

/// Binds the steps of one chunk, in order.
pub(super) struct Recorder<'a, B: Backend> {
    pub(super) backend: &'a B,
    /// Tokens of the chunk.
    pub(super) n: u32,
    /// f32, n × the most features of a recovered layer: what its residual makes of x. Steps run in turn,
    /// so that one serves all layers.
    pub(super) sum: Option<B::Buffer>,
    /// Of each plan that has one; equal plans share it, since they run in turn.
    pub(super) workspaces: Vec<(Plan, B::Buffer)>,
    pub(super) steps: Vec<B::Step>,
    pub(super) kinds: Vec<OpKind>,
    pub(super) kernels: &'a mut BTreeSet<String>,
}

impl<B: Backend> Recorder<'_, B> {
    /// All of them, from tokens to the likeliest next.
    pub(super) fn model(
        &mut self,
        c: &Config,
        b: &Buffers<B>,
        w: &mut DeviceModel<B>,
    ) -> Result<(), Error> {
        let (d, vocab) = (c.dim as u32, c.vocab as u32);
        let gather = Gather { n: self.n, d, vocab, dtype: NARROW };
        self.step(Problem::Gather(gather), &[&w.embedding, &b.ids, &b.stream[0]])?;
        for block in &mut w.blocks {
            self.attention(c, b, block)?;
            self.feed_forward(c, b, block)?;
        }
        self.norm(c, &b.stream[0], &w.final_norm, &b.normed)?;
        self.linear(&mut w.head, &b.normed, None, &b.logits)?;
        let likeliest = ArgMax { n: self.n, d: vocab };
        self.step(Problem::ArgMax(likeliest), &[&b.logits, &b.likeliest])
    }

    /// `stream[1] = attention(rmsnorm(stream[0])) + stream[0]`
    fn attention(&mut self, c: &Config, b: &Buffers<B>, w: &mut Block<B>) -> Result<(), Error> {
        let (n, max_seq) = (self.n, c.max_seq as u32);
        let (heads, kv_heads, head_dim) = (c.heads as u32, c.kv_heads as u32, c.head_dim() as u32);
        self.norm(c, &b.stream[0], &w.attn_norm, &b.normed)?;
        self.linear(&mut w.q, &b.normed, None, &b.q)?;
        self.linear(&mut w.k, &b.normed, None, &b.k)?;
        self.linear(&mut w.v, &b.normed, None, &b.v)?;
        let rotary = Rotary { n, heads, kv_heads, head_dim, max_seq, cache: NARROW };
        self.step(
            Problem::Rotary(rotary),
            &[&b.q, &b.k, &b.v, &b.position, &b.rotary_table, &b.rotated, &w.k_cache, &w.v_cache],
        )?;
        let attention =
            Attention { n, heads, kv_heads, head_dim, max_seq, cache: NARROW, out: NARROW };
        self.step(
            Problem::Attention(attention),
            &[&b.rotated, &w.k_cache, &w.v_cache, &b.position, &b.attended],
        )?;
        self.linear(&mut w.o, &b.attended, Some(&b.stream[0]), &b.stream[1])
    }

    /// `stream[0] = feed_forward(rmsnorm(stream[1])) + stream[1]`
    fn feed_forward(&mut self, c: &Config, b: &Buffers<B>, w: &mut Block<B>) -> Result<(), Error> {
        self.norm(c, &b.stream[1], &w.ffn_norm, &b.normed)?;
        self.linear(&mut w.gate, &b.normed, None, &b.gate)?;
        self.linear(&mut w.up, &b.normed, None, &b.up)?;
        let swiglu = SwiGlu { n: self.n, d: c.ffn as u32, out: NARROW };
        self.step(Problem::SwiGlu(swiglu), &[&b.gate, &b.up, &b.gated])?;
        self.linear(&mut w.down, &b.gated, Some(&b.stream[1]), &b.stream[0])
    }

    fn norm(
        &mut self,
        c: &Config,
        x: &B::Buffer,
        gain: &B::Buffer,
        y: &B::Buffer,
    ) -> Result<(), Error> {
        let norm = RmsNorm { n: self.n, d: c.dim as u32, eps: c.eps, out: NARROW };
        self.step(Problem::RmsNorm(norm), &[x, gain, y])
    }

    /// `y = x·Wᵀ`, plus the residual.
    fn linear(
        &mut self,
        w: &mut LinearLayer<B>,
        x: &B::Buffer,
        residual: Option<&B::Buffer>,
        y: &B::Buffer,
    ) -> Result<(), Error> {
        let (none, adds) = (Activation::None, residual.is_some());
        let launches = w.launches(self.backend, self.n, DType::F32, none, adds)?;
        let mut operands = Operands {
            x: x.clone().into(),
            x_scale: None,
            residual: residual.cloned().map(Slice::from),
            y: y.clone().into(),
            workspace: None,
            sum: self.sum.clone().filter(|_| w.sum_bytes(self.n) > 0).map(Slice::from),
        };
        for plan in launches.into_iter().map(|selection| selection.plan) {
            operands.workspace = self.workspace(&plan)?.map(Slice::from);
            let step = w.step(self.backend, &plan, &operands)?;
            self.push(step, &plan);
        }
        Ok(())
    }

    fn workspace(&mut self, plan: &Plan) -> Result<Option<B::Buffer>, Error> {
        if plan.workspace_bytes() == 0 {
            return Ok(None);
        }
        if let Some((_, buffer)) = self.workspaces.iter().find(|(of, _)| of == plan) {
            return Ok(Some(buffer.clone()));
        }
        let buffer = self.backend.buffer(plan.workspace_bytes())?;
        self.workspaces.push((plan.clone(), buffer.clone()));
        Ok(Some(buffer))
    }

    fn step(&mut self, problem: Problem, operands: &[&B::Buffer]) -> Result<(), Error> {
        let plan = select(&problem, self.backend.caps()).map_err(quickpick::Error::from)?.plan;
        let operands: Vec<_> = operands.iter().map(|&o| Some(Slice::from(o.clone()))).collect();
        let step = self.backend.step(&plan, &operands)?;
        self.push(step, &plan);
        Ok(())
    }

    fn push(&mut self, step: B::Step, plan: &Plan) {
        self.steps.push(step);
        self.kinds.push(plan.spec.op);
        self.kernels.insert(plan.spec.to_string());
    }
}
