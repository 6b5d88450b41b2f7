//! The decoder in candle's tensors: the forward pass that training differentiates.

use crate::Error;
use crate::config::{self, Config, in_block};
use crate::ops::{Attention, cross_entropy, linear, rms_norm, swiglu};
use crate::optim::Param;
use candle_core::{Device, Tensor, Var};
use std::collections::HashMap;
use std::sync::Arc;

/// Parameters by name.
pub type Params = HashMap<String, Tensor>;

/// Loss of each prediction in nats, row by row: token i+1 from tokens 0..=i of its row. All rows have
/// one length, of at least two tokens; a token may be a byte.
pub fn losses<T: Copy + Into<u32>>(
    config: &Config,
    params: &Params,
    rotary: &Arc<[f32]>,
    rows: &[&[T]],
) -> Result<Tensor, Error> {
    let (inputs, targets) = shifted(rows);
    Ok(cross_entropy(&forward(config, params, rotary, &inputs)?, targets)?)
}

/// What is read of each row, all but its last token, and what is predicted, all but the first.
pub fn shifted<'a, T: Copy + Into<u32>>(rows: &[&'a [T]]) -> (Vec<&'a [T]>, Vec<u32>) {
    let inputs = rows.iter().map(|row| &row[..row.len().saturating_sub(1)]).collect();
    let targets = rows.iter().flat_map(|row| row.iter().skip(1).map(|&t| t.into())).collect();
    (inputs, targets)
}

/// A loss and its gradients by `vars`, which stand for `params`, in their order.
pub fn backward(
    loss: &Tensor,
    params: &[Param],
    vars: &[Var],
) -> Result<(f32, Vec<Vec<f32>>), Error> {
    let mut store = loss.backward()?;
    let gradient = |(p, var): (&Param, &Var)| match store.remove(var.as_tensor()) {
        Some(g) => Ok(g.flatten_all()?.to_vec1()?),
        None => Err(Error::Training(format!("{} has no gradient", p.slot.name))),
    };
    let gradients = params.iter().zip(vars).map(gradient).collect::<Result<_, _>>()?;
    Ok((loss.to_scalar()?, gradients))
}

/// Logits `rows·len × vocab` of token sequences of one length; `rotary` is [`Config::rotary_table`].
pub fn forward<T: Copy + Into<u32>>(
    config: &Config,
    params: &Params,
    rotary: &Arc<[f32]>,
    rows: &[&[T]],
) -> Result<Tensor, Error> {
    let len = rows.first().map_or(0, |row| row.len());
    if len == 0 || len > config.max_seq || rows.iter().any(|row| row.len() != len) {
        let lens: Vec<_> = rows.iter().map(|row| row.len()).take(8).collect();
        let most = config.max_seq;
        return Err(Error::Training(format!(
            "sequences must have one length of 1..={most}: {lens:?}"
        )));
    }
    let get =
        |name: &str| params.get(name).ok_or_else(|| Error::Weights(format!("there is no {name}")));
    let attention = || Attention {
        rows: rows.len(),
        len,
        heads: config.heads,
        kv_heads: config.kv_heads,
        head_dim: config.head_dim(),
        rotary: rotary.clone(),
    };

    let ids: Vec<u32> = rows.iter().flat_map(|row| row.iter()).map(|&t| t.into()).collect();
    let ids = Tensor::from_vec(ids, rows.len() * len, &Device::Cpu)?;
    let mut x = get(config::EMBEDDING)?.embedding(&ids)?;
    for layer in 0..config.layers {
        let w = |part: &str| get(&in_block(layer, part));
        let h = rms_norm(&x, w(config::ATTN_NORM)?, config.eps)?;
        let q = linear(&h, w(config::Q)?)?;
        let k = linear(&h, w(config::K)?)?;
        let v = linear(&h, w(config::V)?)?;
        let y = q.apply_op3(&k, &v, attention())?;
        x = (x + linear(&y, w(config::O)?)?)?;
        let h = rms_norm(&x, w(config::FFN_NORM)?, config.eps)?;
        let a = swiglu(&linear(&h, w(config::GATE)?)?, &linear(&h, w(config::UP)?)?)?;
        x = (x + linear(&a, w(config::DOWN)?)?)?;
    }
    let h = rms_norm(&x, get(config::FINAL_NORM)?, config.eps)?;
    Ok(linear(&h, get(config.head())?)?)
}
