//! Which layers may stay denser, if the model as a whole has a density to keep to.

use crate::Pattern;

/// What a layer can become.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// Such as 2:4; one that keeps all (4:4) is the dense layer.
    pub pattern: Pattern,
    /// What it costs the model, in any unit that adds up over layers: the layer's
    /// [`relative_error`](crate::relative_error) times how much the model feels it, or the loss
    /// measured with this layer alone pruned. 0 for dense.
    pub cost: f64,
}

/// A layer and what it can become.
#[derive(Clone, Debug, PartialEq)]
pub struct Choices {
    /// Its name, for errors.
    pub layer: String,
    /// Weights when dense.
    pub weights: usize,
    /// In any order.
    pub choices: Vec<Choice>,
}

/// Why a budget cannot be kept; the caller's fault in every case.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BudgetError {
    /// Not a density.
    #[error("a density of {0} is not above 0 and at most 1")]
    Density(f64),
    /// Nothing to choose from, or a cost that has no place in an order.
    #[error(
        "`{layer}` has {choices} choices; there must be one, each of a finite cost of at least 0"
    )]
    Choices {
        /// The layer.
        layer: String,
        /// How many it has.
        choices: usize,
    },
    /// The sparsest choices of all layers keep more than that.
    #[error("the sparsest choices keep {least} of all weights, more than {density}")]
    TooLow {
        /// Asked for.
        density: f64,
        /// What the sparsest choices keep.
        least: f64,
    },
}

/// A choice for each layer, such that all together keep at most `density` of all weights and cost
/// little.
///
/// Starts with every layer's sparsest choice and goes on with what saves the most cost per weight kept
/// more, while it fits. Of a layer only choices on the lower convex hull of (weights kept, cost) are
/// taken, so its savings per weight fall from step to step and the order of all steps by savings is the
/// greedy one; where it ends exactly at the budget, nothing is better (the continuous knapsack), else
/// it misses the best by less than the step that did not fit. Ties go to the layer that comes first.
///
/// Errors: no such density, a layer without choices or with a cost that is none, a density below that
/// of the sparsest choices.
pub fn allocate(layers: &[Choices], density: f64) -> Result<Vec<Choice>, BudgetError> {
    if !(density > 0.0 && density <= 1.0) {
        return Err(BudgetError::Density(density));
    }
    let total: f64 = layers.iter().map(|l| l.weights as f64).sum();
    let hulls: Vec<Vec<Choice>> = layers.iter().map(hull).collect::<Result<_, _>>()?;
    let kept = |layer: usize, step: usize| {
        layers[layer].weights as f64 * hulls[layer][step].pattern.density()
    };
    let mut spent: f64 = (0..layers.len()).map(|layer| kept(layer, 0)).sum();
    let budget = density * total * (1.0 + 1e-12); // sums of rounded densities
    if spent > budget {
        return Err(BudgetError::TooLow { density, least: spent / total });
    }
    let mut steps: Vec<(f64, usize, usize)> = Vec::new();
    for (layer, hull) in hulls.iter().enumerate() {
        for (step, pair) in hull.windows(2).enumerate() {
            let more = kept(layer, step + 1) - kept(layer, step);
            steps.push(((pair[0].cost - pair[1].cost) / more, layer, step));
        }
    }
    steps.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let mut chosen = vec![0; layers.len()];
    for (_, layer, step) in steps {
        let more = kept(layer, step + 1) - kept(layer, step);
        if chosen[layer] == step && spent + more <= budget {
            chosen[layer] += 1;
            spent += more;
        }
    }
    Ok(hulls.iter().zip(chosen).map(|(hull, step)| hull[step]).collect())
}

/// The choices on the lower convex hull, denser and cheaper from one to the next.
fn hull(layer: &Choices) -> Result<Vec<Choice>, BudgetError> {
    let choices = layer.choices.len();
    if choices == 0 || layer.choices.iter().any(|c| !c.cost.is_finite() || c.cost < 0.0) {
        return Err(BudgetError::Choices { layer: layer.layer.clone(), choices });
    }
    let mut sorted = layer.choices.clone();
    let place = |c: &Choice| (c.pattern.density(), c.cost);
    sorted.sort_by(|a, b| {
        let ((x, cost), (y, other)) = (place(a), place(b));
        x.total_cmp(&y).then(cost.total_cmp(&other))
    });
    let rate =
        |a: &Choice, b: &Choice| (a.cost - b.cost) / (b.pattern.density() - a.pattern.density());
    let mut hull: Vec<Choice> = Vec::new();
    for choice in sorted {
        if hull.last().is_some_and(|last| choice.cost >= last.cost) {
            continue; // denser, but no cheaper
        }
        while let [.., before, last] = &hull[..]
            && rate(before, last) <= rate(last, &choice)
        {
            hull.pop();
        }
        hull.push(choice);
    }
    Ok(hull)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(weights: usize, choices: &[(&str, f64)]) -> Choices {
        let choice = |&(pattern, cost): &(&str, f64)| {
            let pattern: Pattern = pattern.parse().unwrap();
            Choice { pattern, cost }
        };
        Choices { layer: "w".into(), weights, choices: choices.iter().map(choice).collect() }
    }

    fn patterns(layers: &[Choices], density: f64) -> Vec<String> {
        let chosen = allocate(layers, density).unwrap();
        chosen.iter().map(|c| c.pattern.to_string()).collect()
    }

    #[test]
    fn the_most_sensitive_layers_stay_denser() {
        let one = |cost: f64| layer(64, &[("2:4", cost), ("6:8", 0.3 * cost), ("4:4", 0.0)]);
        let layers = [one(0.1), one(0.4), one(0.2), one(0.1)];
        assert_eq!(patterns(&layers, 0.5), ["2:4"; 4]);
        assert_eq!(patterns(&layers, 0.57), ["2:4", "6:8", "2:4", "2:4"]);
        assert_eq!(patterns(&layers, 0.63), ["2:4", "6:8", "6:8", "2:4"]);
        assert_eq!(patterns(&layers, 1.0), ["4:4"; 4]);
        // 6:8 is above the line from 2:4 to dense, so it is never taken
        let layers = [layer(8, &[("4:4", 0.0), ("2:4", 1.0), ("6:8", 0.6)])];
        assert_eq!(patterns(&layers, 0.8), ["2:4"]);
        // no better than what is sparser
        let layers = [layer(8, &[("2:4", 1.0), ("6:8", 1.0), ("4:8", 0.5)])];
        assert_eq!(patterns(&layers, 1.0), ["4:8"]);
    }

    /// Against all combinations of five layers: within the step that did not fit.
    #[test]
    fn greedy_misses_the_best_by_less_than_a_step() {
        let mut rng = crate::rng::Rng::new(3);
        for _ in 0..200 {
            let layers: Vec<Choices> = (0..5)
                .map(|_| {
                    let cost = 1.0 + rng.below(100) as f64;
                    let middle = cost * rng.below(100) as f64 / 100.0;
                    let weights = 8 * (1 + rng.below(20));
                    layer(weights, &[("2:4", cost), ("6:8", middle), ("4:4", 0.0)])
                })
                .collect();
            let total: usize = layers.iter().map(|l| l.weights).sum();
            let density = 0.5 + 0.005 * rng.below(100) as f64;
            let measure = |choice: &[Choice]| {
                let kept = |(l, c): (&Choices, &Choice)| l.weights as f64 * c.pattern.density();
                let kept: f64 = layers.iter().zip(choice).map(kept).sum();
                (kept <= density * total as f64 + 1e-9, choice.iter().map(|c| c.cost).sum::<f64>())
            };
            let (fits, cost) = measure(&allocate(&layers, density).unwrap());
            assert!(fits);
            let best = (0..3usize.pow(5))
                .map(|code| {
                    let pick =
                        |(i, l): (usize, &Choices)| l.choices[code / 3usize.pow(i as u32) % 3];
                    measure(&layers.iter().enumerate().map(pick).collect::<Vec<_>>())
                })
                .filter(|(fits, _)| *fits)
                .fold(f64::INFINITY, |best, (_, cost)| best.min(cost));
            let step = layers.iter().map(|l| l.choices[0].cost).fold(0.0, f64::max);
            assert!(cost >= best && cost <= best + step, "{cost}, but {best} is possible");
        }
    }

    #[test]
    fn what_is_no_budget_says_why() {
        let why = |layers: &[Choices], density| allocate(layers, density).unwrap_err().to_string();
        let layers = [layer(8, &[("2:4", 1.0)]), layer(8, &[("4:4", 0.0)])];
        assert!(why(&layers, 0.7).contains("0.75"));
        assert!(why(&layers, f64::NAN).contains("NaN"));
        assert!(why(&[layer(8, &[])], 0.5).contains("`w` has 0 choices"));
        assert!(why(&[layer(8, &[("2:4", f64::NAN)])], 0.5).contains("finite"));
    }
}
