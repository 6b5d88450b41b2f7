//! Parts of a plan, where a device binds less memory at a time than an operand has.
//!
//! A storage binding of wgpu has a largest size, 128 MiB by default; the vocabulary head of a large model has a
//! gibibyte. So a launch is cut: along output features (of [`Gather`](crate::Gather): rows of the table), along
//! tokens, or both. A part is the launch of a smaller problem on a part of every operand. What it cannot tell from
//! its own sizes is a parameter: how far apart rows of Y are, and the first row of the table.
//!
//! Parts run in order, on the same buffers.

use super::{Plan, linear, rows};
use crate::{Problem, Unsupported};
use alloc::vec::Vec;
use core::ops::Range;

/// Where an operand may begin in its buffer, bytes: the largest alignment that a storage binding may demand.
pub const ALIGNMENT: u64 = 256;

/// Features are cut at multiples of this: whole alignments of whatever has a byte or more for each of them, and
/// whole tiles of every kernel.
const FEATURES: u32 = ALIGNMENT as u32;

/// One launch of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Workgroups (x, y, z).
    pub grid: [u32; 3],
    /// Which bytes of each operand it binds, in the order of the plan's bindings; none of an absent one. They start
    /// at a multiple of [`ALIGNMENT`].
    pub ranges: Vec<Range<u64>>,
    /// The parameters.
    pub params: Vec<u32>,
}

impl Plan {
    /// The launches that do the plan's work, in order: its parts, or the plan as it is.
    pub fn launches(&self) -> Vec<Part> {
        if !self.parts.is_empty() {
            return self.parts.clone();
        }
        let ranges = self.bindings.iter().map(|b| 0..b.bytes).collect();
        Vec::from([Part { grid: self.grid, ranges, params: self.params.clone() }])
    }
}

/// How an operand grows.
#[derive(Clone, Copy, PartialEq)]
enum Along {
    /// Every part needs all of it.
    Neither,
    Features,
    Tokens,
    /// Tokens × features, row-major.
    Both,
}

/// An operand to be cut, of a problem of m features and n tokens.
struct Operand {
    along: Along,
    bytes: u64,
    m: u64,
    n: u64,
}

impl Operand {
    /// Bytes of a feature, of one token.
    fn feature(&self) -> u64 {
        match self.along {
            Along::Features => self.bytes / self.m,
            Along::Both => self.bytes / (self.m * self.n),
            Along::Tokens | Along::Neither => 0,
        }
    }

    /// Bytes from a token to the next.
    fn token(&self) -> u64 {
        match self.along {
            Along::Tokens | Along::Both => self.bytes / self.n,
            Along::Features | Along::Neither => 0,
        }
    }

    fn range(&self, features: &Range<u32>, tokens: &Range<u32>) -> Range<u64> {
        if self.bytes == 0 || self.along == Along::Neither {
            return 0..self.bytes;
        }
        let start = features.start as u64 * self.feature() + tokens.start as u64 * self.token();
        let last = (tokens.end - tokens.start) as u64 - 1;
        let row = match self.along {
            Along::Tokens => self.token(),
            _ => (features.end - features.start) as u64 * self.feature(),
        };
        start..start + last * self.token() + row
    }
}

/// The parts of a plan on a device that binds `limit` bytes at a time; none where the plan fits as it is, or cannot
/// be cut. `launch` plans a smaller problem with the same kernel.
pub(super) fn parts(
    plan: &Plan,
    limit: u64,
    launch: impl Fn(&Problem) -> Result<Plan, Unsupported>,
) -> Result<Vec<Part>, Unsupported> {
    let Some((m, n)) = sizes(&plan.problem) else { return Ok(Vec::new()) };
    if plan.bindings.iter().all(|b| b.bytes <= limit) {
        return Ok(Vec::new());
    }
    let operand = |along, bytes| Operand { along, bytes, m: m as u64, n: n as u64 };
    let along = |name| along(&plan.problem, name);
    let operands = Vec::from_iter(plan.bindings.iter().map(|b| operand(along(b.name), b.bytes)));
    let (features, tokens) = steps(&operands, m, n, limit)?;
    let mut parts = Vec::new();
    for token in (0..n).step_by(tokens as usize) {
        let tokens = token..n.min(token.saturating_add(tokens));
        for feature in (0..m).step_by(features as usize) {
            let features = feature..m.min(feature.saturating_add(features));
            let Plan { grid, mut params, .. } =
                launch(&smaller(&plan.problem, features.len() as u32, tokens.len() as u32))?;
            match plan.problem {
                Problem::Linear(_) => params[linear::STRIDE] = m,
                Problem::Gather(_) => params[rows::FIRST] = feature,
                _ => {}
            }
            let ranges = operands.iter().map(|o| o.range(&features, &tokens)).collect();
            parts.push(Part { grid, ranges, params });
        }
    }
    Ok(parts)
}

/// Features and tokens of a part: as many as can be, features first, for a weight is then read once.
fn steps(operands: &[Operand], m: u32, n: u32, limit: u64) -> Result<(u32, u32), Unsupported> {
    let longest = |features: u32, tokens: u32| {
        let bytes = |o: &Operand| {
            let range = o.range(&(0..features), &(0..tokens));
            range.end - range.start
        };
        operands.iter().map(bytes).max().unwrap_or(0)
    };
    // what a token alone has of it is met below, in whole units
    let along_features = |o: &&Operand| matches!(o.along, Along::Features | Along::Both);
    let most = operands.iter().filter(along_features).filter(|o| o.bytes > 0);
    let most = most.map(|o| limit / o.feature()).min();
    let features = whole(m, FEATURES, most);
    let unit = operands.iter().map(Operand::token).filter(|&bytes| bytes > 0);
    // 256 bytes over the largest power of two that divides a token's
    let unit = unit.map(|bytes| (ALIGNMENT as u32) >> bytes.trailing_zeros().min(8)).max();
    let unit = unit.unwrap_or(1);
    let most = operands.iter().filter(|o| o.token() > 0);
    let most = most.map(|o| match o.along {
        Along::Both => limit.saturating_sub(features as u64 * o.feature()) / o.token() + 1,
        _ => limit / o.token(),
    });
    let tokens = whole(n, unit, most.min());
    let needs = longest(features, tokens);
    match needs <= limit {
        true => Ok((features, tokens)),
        false => Err(Unsupported::Limit { what: "bytes in one binding", needs, has: limit }),
    }
}

/// All of `size` if that is not too much, else whole units of it, at least one.
fn whole(size: u32, unit: u32, most: Option<u64>) -> u32 {
    match most {
        Some(most) if most < size as u64 => (most as u32 / unit * unit).clamp(unit.min(size), size),
        _ => size,
    }
}

/// What can be cut: features (1 where they cannot) and tokens of a problem.
fn sizes(problem: &Problem) -> Option<(u32, u32)> {
    match problem {
        Problem::Linear(p) => Some((p.m, p.n)),
        Problem::Gather(p) => Some((p.vocab, p.n)),
        Problem::RmsNorm(p) => Some((1, p.n)),
        Problem::SwiGlu(p) => Some((1, p.n)),
        Problem::SpmmCsr(p) => Some((1, p.n)),
        Problem::ArgMax(p) => Some((1, p.n)),
        // a token's place in the cache is its place among all tokens
        Problem::Rotary(_) | Problem::Attention(_) => None,
    }
}

fn along(problem: &Problem, name: &str) -> Along {
    match (problem, name) {
        (Problem::Linear(_), "values" | "metadata" | "w_scale" | "bias") => Along::Features,
        (Problem::Linear(_), "residual" | "y") => Along::Both,
        (Problem::Gather(_), "table") => Along::Features,
        (Problem::RmsNorm(_), "gain") | (Problem::SpmmCsr(_), "rows" | "entries") => Along::Neither,
        _ => Along::Tokens,
    }
}

/// The same problem, of so many features and tokens.
fn smaller(problem: &Problem, features: u32, tokens: u32) -> Problem {
    let mut smaller = *problem;
    match &mut smaller {
        Problem::Linear(p) => (p.m, p.n) = (features, tokens),
        Problem::Gather(p) => (p.vocab, p.n) = (features, tokens),
        Problem::RmsNorm(p) => p.n = tokens,
        Problem::SwiGlu(p) => p.n = tokens,
        Problem::SpmmCsr(p) => p.n = tokens,
        Problem::ArgMax(p) => p.n = tokens,
        Problem::Rotary(_) | Problem::Attention(_) => {}
    }
    smaller
}
