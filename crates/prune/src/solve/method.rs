//! A whole recipe: a mask, its weights, and what is recovered.

use super::reconstruct::least_squares;
use super::residual::recovered;
use super::{alps, reconstruct, relative_error, sparse_gpt};
use crate::{
    Criterion, LayerProblem, Mask, Pattern, Prepared, Residual, Solution, SolveError, project,
};
use std::fmt;
use std::str::FromStr;

/// What chooses the mask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Select {
    /// A score; weights stay as they are.
    Score(Criterion),
    /// [`sparse_gpt`], which changes weights as it goes.
    SparseGpt,
    /// [`alps`], which ends with the best weights for its mask.
    Alps,
}

/// A one-shot method.
///
/// As text, `SELECT[+reconstruct][+recover=FRACTION]`, where `SELECT` is `magnitude`, `wanda`, `ria`
/// (or `ria=EXPONENT`), `sparsegpt` or `alps`: such as `wanda+reconstruct+recover=0.2`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Method {
    /// What chooses the mask.
    pub select: Select,
    /// Whether the kept weights become the best ones for the mask ([`reconstruct`]). ALPS does so in
    /// any case.
    pub reconstruct: bool,
    /// Recover dropped weights that are among this fraction of their row's highest scores, 0 to 1
    /// (Weight Recover Prune; 0.2 brings back about 0.9 % of all weights of a language model). The
    /// score is the one that chose the mask, else Wanda's. Solvers find the best weights for mask
    /// and recovered together; scores leave both unchanged.
    pub recover: Option<f64>,
}

/// How a method is written.
pub(crate) const GRAMMAR: &str = "a method is SELECT[+reconstruct][+recover=FRACTION], where SELECT is magnitude, wanda, ria, \
     ria=EXPONENT, sparsegpt or alps (which reconstructs already) and FRACTION is above 0 and at \
     most 1";

impl Method {
    /// Prunes a layer to a pattern. `prepared`: the layer's gram, for all layers that share it.
    ///
    /// Errors: columns that are no whole groups, another gram than was prepared, a gram that no
    /// damping makes positive definite, a fraction or exponent out of range, a layer too wide for a
    /// residual.
    pub fn solve(
        &self,
        problem: &LayerProblem<'_>,
        prepared: &mut Prepared<'_>,
        pattern: Pattern,
    ) -> Result<Solution, SolveError> {
        self.check().map_err(|why| SolveError::Method { text: self.to_string(), why })?;
        let mut solution = match self.select {
            Select::Score(criterion) => unchanged(problem, criterion, pattern)?,
            Select::SparseGpt => sparse_gpt(problem, prepared, pattern)?,
            Select::Alps => alps(problem, prepared, pattern)?,
        };
        if self.reconstruct && self.recover.is_none() {
            let steps = solution.iterations;
            solution = reconstruct(problem, prepared, &solution.mask)?;
            solution.iterations += steps;
        }
        match self.recover {
            Some(fraction) => self.recover(problem, prepared, solution, fraction),
            None => Ok(solution),
        }
    }

    /// Whether it looks at a layer's inputs, and not at its weights alone.
    pub fn needs_inputs(&self) -> bool {
        let by_weight = matches!(
            self.select,
            Select::Score(Criterion::Magnitude | Criterion::Ria { exponent: 0.0 })
        );
        !by_weight || self.reconstruct
    }

    fn recover(
        &self,
        problem: &LayerProblem<'_>,
        prepared: &mut Prepared<'_>,
        mut solution: Solution,
        fraction: f64,
    ) -> Result<Solution, SolveError> {
        let (criterion, solver) = match self.select {
            Select::Score(criterion) => (criterion, self.reconstruct),
            Select::SparseGpt | Select::Alps => (Criterion::Wanda, true),
        };
        let scores = criterion.scores(problem);
        let kept = solution.mask.kept();
        let marked = recovered(&scores, kept, problem.cols(), fraction);
        let mut dense = problem.weight().to_vec();
        if solver {
            let system = prepared.system(problem)?;
            let target = system.scaled(problem.weight());
            let support: Vec<bool> = kept.iter().zip(&marked).map(|(a, b)| a | b).collect();
            let mut weight = target.clone();
            solution.iterations += least_squares(system, &target, &support, &mut weight)?;
            (solution.damping, solution.retries) = (system.damping, system.retries);
            dense = system.unscaled(&weight);
        }
        solution.residual = Some(Residual::take(&dense, &marked, problem.cols())?);
        solution.mask.apply(&mut dense)?;
        solution.weight = dense;
        solution.error = relative_error(problem, &solution.dense())?;
        Ok(solution)
    }

    fn check(&self) -> Result<(), String> {
        match (self.select, self.recover) {
            (Select::Score(Criterion::Ria { exponent: a }), _) if !(a.is_finite() && a >= 0.0) => {
                Err(format!("an exponent of {a} is not finite, or below 0"))
            }
            (_, Some(fraction)) if !(fraction > 0.0 && fraction <= 1.0) => {
                Err(format!("a fraction of {fraction} is not above 0 and at most 1"))
            }
            _ => Ok(()),
        }
    }
}

/// A score's mask, weights as they are.
fn unchanged(
    problem: &LayerProblem<'_>,
    criterion: Criterion,
    pattern: Pattern,
) -> Result<Solution, SolveError> {
    let scores = criterion.scores(problem);
    let mask: Mask = project(&scores, problem.rows(), problem.cols(), pattern)?;
    let mut weight = problem.weight().to_vec();
    mask.apply(&mut weight)?;
    let error = relative_error(problem, &weight)?;
    Ok(Solution { weight, mask, residual: None, error, damping: 0.0, retries: 0, iterations: 0 })
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.select {
            Select::Score(criterion) => criterion.fmt(f)?,
            Select::SparseGpt => f.write_str("sparsegpt")?,
            Select::Alps => f.write_str("alps")?,
        }
        if self.reconstruct && self.select != Select::Alps {
            f.write_str("+reconstruct")?;
        }
        self.recover.map_or(Ok(()), |fraction| write!(f, "+recover={fraction}"))
    }
}

impl FromStr for Method {
    type Err = SolveError;

    fn from_str(text: &str) -> Result<Self, SolveError> {
        parse(text).map_err(|why| SolveError::Method { text: text.to_owned(), why })
    }
}

fn parse(text: &str) -> Result<Method, String> {
    let number = |text: &str| text.parse::<f64>().map_err(|_| format!("`{text}` is no number"));
    let mut words = text.split('+');
    let first = words.next().unwrap_or_default();
    let select = match first.split_once('=') {
        None if first == "magnitude" => Select::Score(Criterion::Magnitude),
        None if first == "wanda" => Select::Score(Criterion::Wanda),
        None if first == "ria" => Select::Score(Criterion::RIA),
        None if first == "sparsegpt" => Select::SparseGpt,
        None if first == "alps" => Select::Alps,
        Some(("ria", a)) => Select::Score(Criterion::Ria { exponent: number(a)? }),
        _ => return Err(format!("nothing selects by `{first}`")),
    };
    let mut method = Method { select, reconstruct: select == Select::Alps, recover: None };
    for word in words {
        match word.split_once('=') {
            None if word == "reconstruct" && !method.reconstruct && method.recover.is_none() => {
                method.reconstruct = true;
            }
            Some(("recover", fraction)) if method.recover.is_none() => {
                method.recover = Some(number(fraction)?);
            }
            _ => return Err(format!("`{word}` has no place here")),
        }
    }
    method.check().map(|()| method)
}
