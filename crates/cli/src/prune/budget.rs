//! A budget for the whole model, spent on its most sensitive layers.

use miette::{IntoDiagnostic, Result, WrapErr};
use quickpick_prune::{Pattern, allocate};
use quickpick_transformer::checkpoint::Source;
use quickpick_transformer::oneshot::{Job, Progress, Stack, sensitivity};
use std::collections::BTreeMap;

/// The layers that get another pattern than the rules', and which, so that at most `density` of all the
/// layers' weights stay. Errors: as [`sensitivity`] and [`allocate`].
pub fn spend(
    density: f64,
    soften: &[Pattern],
    stack: &dyn Stack,
    source: &dyn Source,
    ids: &[u32],
    job: &Job,
    progress: &mut dyn FnMut(&Progress<'_>),
) -> Result<BTreeMap<String, Pattern>> {
    let usual = job.rules.pattern();
    let patterns = [&[usual], soften].concat();
    let layers = sensitivity(stack, source, ids, job, &patterns, progress).into_diagnostic()?;
    let chosen = allocate(&layers, density).into_diagnostic().wrap_err("--density")?;
    let named = layers.into_iter().map(|l| l.layer).zip(chosen);
    let others = named.filter(|(_, choice)| choice.pattern != usual);
    Ok(others.map(|(name, choice)| (name, choice.pattern)).collect())
}
