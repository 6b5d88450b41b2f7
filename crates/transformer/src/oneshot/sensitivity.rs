//! What each layer would lose by each of some patterns: what a budget is spent by.

use super::{Job, Progress, Stack, Walk};
use crate::Error;
use crate::checkpoint::Source;
use quickpick_prune::{
    Choice, Choices, Criterion, Eligibility, LayerProblem, Pattern, project, relative_error,
};

/// For every layer that `job` prunes: the error that each pattern costs by Wanda's mask on what the dense
/// model makes of the text, and dense, which costs none.
///
/// A pattern's cost is ‖(W−Ŵ)X‖²/‖WX‖², so that layers count alike whatever their size. Patterns of which a
/// layer's rows are no whole groups are none of its choices. Errors: as [`run`](super::run).
pub fn sensitivity(
    stack: &dyn Stack,
    source: &dyn Source,
    ids: &[u32],
    job: &Job,
    patterns: &[Pattern],
    progress: &mut dyn FnMut(&Progress),
) -> Result<Vec<Choices>, Error> {
    let blocks = stack.blocks();
    let mut flow = stack.embed(source, ids)?;
    let mut all = Vec::new();
    for block in 0..blocks {
        progress(&Progress { block, blocks, what: "sensitivity" });
        let weights = stack.load(block, source)?;
        let walk = Walk { stack, block, job, flow: &mut flow, weights };
        let stages = stack.stages(block);
        for (stage, names) in stages.iter().enumerate() {
            stack.advance(block, stage, &walk.weights, walk.flow)?;
            let layers =
                names.iter().map(|name| walk.decide(name)).collect::<Result<Vec<_>, _>>()?;
            let mut pruned = layers.iter().filter(|(_, _, d)| *d == Eligibility::Prune).peekable();
            let Some((first, [_, k], _)) = pruned.peek() else { continue };
            let gram = stack.gram(first, *k, walk.flow)?;
            for (name, [rows, cols], _) in pruned {
                let failed = |e: &dyn std::fmt::Display| Error::Prune(format!("{name}: {e}"));
                let weight = &walk.matrix(name)?.data;
                let problem =
                    LayerProblem::new(weight, *rows, *cols, &gram).map_err(|e| failed(&e))?;
                let scores = Criterion::Wanda.scores(&problem);
                let whole = Pattern::new(1, 1).map_err(|e| failed(&e))?;
                let mut choices = vec![Choice { pattern: whole, cost: 0.0 }];
                for &pattern in patterns.iter().filter(|p| cols.is_multiple_of(p.group())) {
                    let mask = project(&scores, *rows, *cols, pattern).map_err(|e| failed(&e))?;
                    let mut pruned = weight.clone();
                    mask.apply(&mut pruned).map_err(|e| failed(&e))?;
                    let cost = relative_error(&problem, &pruned).map_err(|e| failed(&e))?;
                    choices.push(Choice { pattern, cost });
                }
                all.push(Choices { layer: name.to_string(), weights: rows * cols, choices });
            }
        }
        stack.advance(block, stages.len(), &walk.weights, walk.flow)?;
    }
    Ok(all)
}
