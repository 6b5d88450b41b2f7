//! Which features of a stage's inputs change places, so that a pattern keeps more of what reads them.
//!
//! Rows of the layers that make the features and columns of those that read them move alike, so the model's
//! function stays, and running it costs nothing (Pool and Yu, NeurIPS 2021). Makers may be pruned already:
//! moving whole rows breaks no pattern along them.

use super::{Flow, Free};
use crate::{Error, Tensor, Tensors};
use quickpick_prune::{
    Criterion, Gram, LayerProblem, Order, OrderSearch, Pattern, Retained, stack_blocks,
};

/// Orders of a stage's inputs and of the rows that make them, and what they keep of the scores.
pub struct Found {
    /// Of the inputs.
    pub inputs: Order,
    /// Of the makers' rows.
    pub makers: Order,
    /// Scores that the pattern keeps, before and after.
    pub retained: Retained,
}

/// Searches the orders by |w|·‖x‖ of the stage's layers.
pub fn search(
    free: &Free,
    readers: &[&Tensor],
    gram: &Gram,
    pattern: Pattern,
    seed: u64,
) -> Result<Found, Error> {
    let failed = |e: &dyn std::fmt::Display| Error::Prune(format!("order of features: {e}"));
    let cols = gram.k();
    let mut scores = Vec::new();
    for reader in readers {
        let problem = LayerProblem::new(&reader.data, reader.shape[0], cols, gram);
        scores.push(Criterion::Wanda.scores(&problem.map_err(|e| failed(&e))?));
    }
    let search = OrderSearch { seed, ..OrderSearch::new(pattern, free.width) };
    let mut makers = Vec::new();
    let mut inputs = vec![None; cols / free.width.max(1)];
    let mut retained: Option<Retained> = None;
    for family in &free.families {
        let stacks = scores.iter().map(|s| stack_blocks(s, cols, free.width, family));
        let stacks = stacks.collect::<Result<Vec<_>, _>>().map_err(|e| failed(&e))?;
        let stacks: Vec<&[f32]> = stacks.iter().map(Vec::as_slice).collect();
        let found = search.search(&stacks, free.width).map_err(|e| failed(&e))?;
        for &block in family {
            inputs[block] = Some(found.order.clone());
        }
        retained = Some(retained.map_or(found.retained, |sum| sum.plus(found.retained)));
        makers.push(found.order);
    }
    let inputs: Option<Vec<Order>> = inputs.into_iter().collect();
    let (Some(inputs), Some(retained)) = (inputs, retained) else {
        return Err(failed(&"its families of features do not cover the inputs"));
    };
    let (inputs, makers) = (Order::in_blocks(&inputs), Order::in_blocks(&makers));
    Ok(Found { inputs, makers, retained })
}

/// Moves makers' rows, readers' columns and the inputs at hand. Returns the names of the tensors that moved.
pub fn apply(
    found: &Found,
    free: &Free,
    readers: &[String],
    weights: &mut Tensors,
    flow: &mut Flow,
) -> Result<Vec<String>, Error> {
    let failed = |e: &dyn std::fmt::Display| Error::Prune(format!("order of features: {e}"));
    let missing = |name: &str| Error::Weights(format!("there is no {name}"));
    for name in &free.makers {
        let tensor = weights.get_mut(name).ok_or_else(|| missing(name))?;
        tensor.data = found.makers.rows(&tensor.data).map_err(|e| failed(&e))?;
    }
    for name in readers {
        let tensor = weights.get_mut(name).ok_or_else(|| missing(name))?;
        tensor.data = found.inputs.columns(&tensor.data).map_err(|e| failed(&e))?;
    }
    flow.inputs = found.inputs.columns(&flow.inputs).map_err(|e| failed(&e))?;
    Ok(free.makers.iter().chain(readers).cloned().collect())
}
