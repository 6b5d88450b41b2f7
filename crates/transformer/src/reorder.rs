//! Orders of a decoder's features, written into its weights: the same function, at no cost when run.
//!
//! Three kinds of features may be permuted, because what makes them and what reads them are linear
//! (Pool and Yu, NeurIPS 2021):
//!
//! | features | made by | read by |
//! |---|---|---|
//! | the residual stream | embedding; rows of o and down | norms' gains; columns of q, k, v, gate, up, head |
//! | a key-value head's values | its rows of v | columns of o of all query heads that share it |
//! | a feed-forward layer's | rows of gate and up | columns of down |
//!
//! Rotary positions tie the features of q and k to their places. An order changes the order of sums
//! over its features, so outputs move by rounding.

use crate::config::{self, Config, in_block};
use crate::{Error, Kind, Tensors};
use quickpick_prune::{Order, OrderError, OrderSearch, Ordered, Pattern, Retained, stack_blocks};

/// Orders of a decoder's features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orders {
    /// Of the residual stream, `dim`.
    pub residual: Order,
    /// Of each block.
    pub blocks: Vec<BlockOrders>,
}

/// Orders of one block's inner features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockOrders {
    /// Of each key-value head's values, `head_dim`.
    pub values: Vec<Order>,
    /// Of the feed-forward layer's features, `ffn`.
    pub ffn: Order,
}

/// Orders that a search found, and what each keeps.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Of all features.
    pub orders: Orders,
    /// Of the inputs of all q, k, v, gate and up together.
    pub residual: Retained,
    /// Of each block's o.
    pub values: Vec<Retained>,
    /// Of each block's down.
    pub ffn: Vec<Retained>,
}

/// How a tensor's rows and columns move; `None` where they stay.
#[derive(Default)]
struct Move<'a> {
    rows: Option<&'a Order>,
    columns: Option<&'a Order>,
}

impl Orders {
    /// Leaves everything where it is.
    pub fn identity(config: &Config) -> Self {
        let block = BlockOrders {
            values: vec![Order::identity(config.head_dim()); config.kv_heads],
            ffn: Order::identity(config.ffn),
        };
        Self { residual: Order::identity(config.dim), blocks: vec![block; config.layers] }
    }

    /// Rewrites a decoder's tensors; a head that is tied to the embedding, and so absent, moves with
    /// it.
    ///
    /// Errors: orders of another shape than the configuration's, a tensor that is missing or has
    /// another shape. Then nothing was changed.
    pub fn apply(&self, config: &Config, tensors: &mut Tensors) -> Result<(), Error> {
        self.check(config)?;
        let shared = config.heads / config.kv_heads;
        let inner = self.blocks.iter().map(|block| {
            let heads = (0..config.heads).map(|head| block.values[head / shared].clone());
            (Order::in_blocks(&block.values), Order::in_blocks(&heads.collect::<Vec<_>>()))
        });
        let inner: Vec<(Order, Order)> = inner.collect();
        let mut moved = Vec::new();
        for slot in config.slots() {
            let Some(tensor) = tensors.get(&slot.name) else {
                if slot.kind == Kind::Head {
                    continue;
                }
                return Err(Error::Weights(format!("{} is missing", slot.name)));
            };
            let (shape, len) = (&tensor.shape, tensor.data.len());
            if *shape != slot.shape || len != slot.shape.iter().product::<usize>() {
                return Err(Error::Weights(format!(
                    "{} is {shape:?} with {len} elements, but the configuration calls for {:?}",
                    slot.name, slot.shape
                )));
            }
            let Move { rows, columns } = self.of(&slot.name, slot.kind, &inner);
            let mut data = None;
            if let Some(order) = rows {
                data = Some(order.rows(&tensor.data).map_err(pruning)?);
            }
            if let Some(order) = columns {
                let from = data.as_deref().unwrap_or(&tensor.data);
                data = Some(order.columns(from).map_err(pruning)?);
            }
            moved.extend(data.map(|data| (slot.name, data)));
        }
        for (name, data) in moved {
            if let Some(tensor) = tensors.get_mut(&name) {
                tensor.data = data;
            }
        }
        Ok(())
    }

    /// `inner`: of each block, the order of v's rows and of o's columns.
    fn of<'a>(&'a self, name: &str, kind: Kind, inner: &'a [(Order, Order)]) -> Move<'a> {
        let residual = Some(&self.residual);
        match kind {
            Kind::Embedding | Kind::Head => Move { rows: None, columns: residual },
            Kind::Norm => Move { rows: residual, columns: None },
            Kind::Linear => {
                for (layer, (block, (values, heads))) in self.blocks.iter().zip(inner).enumerate() {
                    let is = |part: &str| name == in_block(layer, part);
                    if is(config::Q) || is(config::K) {
                        return Move { rows: None, columns: residual };
                    } else if is(config::V) {
                        return Move { rows: Some(values), columns: residual };
                    } else if is(config::O) {
                        return Move { rows: residual, columns: Some(heads) };
                    } else if is(config::GATE) || is(config::UP) {
                        return Move { rows: Some(&block.ffn), columns: residual };
                    } else if is(config::DOWN) {
                        return Move { rows: residual, columns: Some(&block.ffn) };
                    }
                }
                Move::default()
            }
        }
    }

    fn check(&self, config: &Config) -> Result<(), Error> {
        let fits = |what: String, order: &Order, len: usize| match order.len() {
            have if have == len => Ok(()),
            have => {
                Err(Error::Prune(format!("the order of {what} has {have} features, not {len}")))
            }
        };
        fits("the residual stream".into(), &self.residual, config.dim)?;
        if self.blocks.len() != config.layers {
            let (have, layers) = (self.blocks.len(), config.layers);
            return Err(Error::Prune(format!("orders of {have} blocks for {layers}")));
        }
        for (layer, block) in self.blocks.iter().enumerate() {
            fits(format!("block {layer}'s feed-forward layer"), &block.ffn, config.ffn)?;
            if block.values.len() != config.kv_heads {
                let (have, heads) = (block.values.len(), config.kv_heads);
                return Err(Error::Prune(format!(
                    "block {layer} has orders of {have} key-value heads, not {heads}"
                )));
            }
            for order in &block.values {
                fits(format!("block {layer}'s values"), order, config.head_dim())?;
            }
        }
        Ok(())
    }
}

/// Searches all orders of a decoder: of its inner features by the scores of o and down, of its
/// residual stream by those of all q, k, v, gate and up.
///
/// `score` gives a tensor's scores by its name, row-major, finite and at least 0 (|w|, |w|·‖x‖). It is
/// asked twice for what reads the residual stream: first for a part of the rows, so that a model's
/// scores need not fit into memory, and then to count over all rows what the order keeps.
///
/// Errors: those of `score`, scores of another shape, features that are no whole groups.
pub fn search(
    config: &Config,
    pattern: Pattern,
    seed: u64,
    mut score: impl FnMut(&str) -> Result<Vec<f32>, Error>,
) -> Result<Found, Error> {
    let mut score = |name: &str, shape: [usize; 2]| {
        let scores = score(name)?;
        match scores.len() == shape[0] * shape[1] {
            true => Ok(scores),
            false => Err(Error::Weights(format!("{name}: {} scores for {shape:?}", scores.len()))),
        }
    };
    let search = |scores: &[&[f32]], cols: usize| {
        let search = OrderSearch { seed, ..OrderSearch::new(pattern, cols) };
        search.search(scores, cols).map_err(pruning)
    };
    let (dim, width, shared) = (config.dim, config.head_dim(), config.heads / config.kv_heads);
    let mut found = Found {
        orders: Orders::identity(config),
        residual: Retained { before: 0.0, after: 0.0, best: 0.0 },
        values: Vec::new(),
        ffn: Vec::new(),
    };
    for (layer, block) in found.orders.blocks.iter_mut().enumerate() {
        let scores = score(&in_block(layer, config::O), [dim, dim])?;
        let mut retained = None;
        for (head, order) in block.values.iter_mut().enumerate() {
            let sharing: Vec<usize> = (head * shared..(head + 1) * shared).collect();
            let stack = stack_blocks(&scores, dim, width, &sharing).map_err(pruning)?;
            let one = search(&[&stack], width)?;
            *order = one.order;
            retained = Some(retained.map_or(one.retained, |all: Retained| all.plus(one.retained)));
        }
        found.values.extend(retained);
        let scores = score(&in_block(layer, config::DOWN), [dim, config.ffn])?;
        let Ordered { order, retained } = search(&[&scores], config.ffn)?;
        block.ffn = order;
        found.ffn.push(retained);
    }

    let readers: Vec<(String, [usize; 2])> = (0..config.layers)
        .flat_map(|layer| {
            let (kv, ffn) = (config.kv_dim(), config.ffn);
            let parts = [
                (config::Q, dim),
                (config::K, kv),
                (config::V, kv),
                (config::GATE, ffn),
                (config::UP, ffn),
            ];
            parts.map(|(part, rows)| (in_block(layer, part), [rows, dim]))
        })
        .collect();
    let rows: usize = readers.iter().map(|(_, shape)| shape[0]).sum();
    let stride = rows.div_ceil(OrderSearch::new(pattern, dim).rows);
    let mut seen = Vec::new();
    let mut row = 0;
    for (name, shape) in &readers {
        for scores in score(name, *shape)?.chunks_exact(dim) {
            if row % stride == 0 {
                seen.extend_from_slice(scores);
            }
            row += 1;
        }
    }
    let order = search(&[&seen], dim)?.order;
    for (name, shape) in &readers {
        let scores = score(name, *shape)?;
        let part = Retained::of(&[&scores], dim, pattern, &order).map_err(pruning)?;
        found.residual = found.residual.plus(part);
    }
    // what is better on the rows seen might be worse on all
    match found.residual.after > found.residual.before {
        true => found.orders.residual = order,
        false => found.residual.after = found.residual.before,
    }
    Ok(found)
}

fn pruning(error: OrderError) -> Error {
    Error::Prune(error.to_string())
}
