//! Parts of a plan, where a device binds less memory at a time than an operand has.
//!
//! A storage binding of wgpu has a largest size, 128 MiB by default; the vocabulary head of a large model has a
//! gibibyte. So a launch is cut: along output features (of [`Gather`](crate::Gather): rows of the table), along
//! tokens, or both. A part is the launch of a smaller problem on a part of every operand. What it cannot tell from
//! its own sizes is a parameter: how far apart rows of Y are, and the first row of the table.
//!
//! Parts run in order, on the same buffers.

use super::{Plan, linear, packing, rows};
use crate::{Problem, Unsupported};
use alloc::vec::Vec;
use core::ops::Range;

/// Where an operand may begin in its buffer, bytes: the largest alignment that a storage binding may demand.
pub const ALIGNMENT: u64 = 256;

/// Features are cut at multiples of this: whole alignments of whatever has a byte or more for each of them, and
/// whole tiles of the kernels.
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
#[derive(Clone, Copy)]
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
    /// Bytes of a feature, of one token; 0 if it has none.
    fn feature(&self) -> u64 {
        match self.along {
            Along::Features => self.bytes / self.m,
            Along::Both => self.bytes / (self.m * self.n),
            Along::Tokens | Along::Neither => 0,
        }
    }

    /// Bytes from a token to the next; 0 if it has none.
    fn token(&self) -> u64 {
        match self.along {
            Along::Tokens | Along::Both => self.bytes / self.n,
            Along::Features | Along::Neither => 0,
        }
    }

    /// Bytes that a part of so many features binds, of its last token.
    fn row(&self, features: u32) -> u64 {
        match self.along {
            Along::Neither => self.bytes,
            Along::Tokens => self.token(),
            Along::Features | Along::Both => features as u64 * self.feature(),
        }
    }

    fn range(&self, features: &Range<u32>, tokens: &Range<u32>) -> Range<u64> {
        let start = features.start as u64 * self.feature() + tokens.start as u64 * self.token();
        start..start + self.len(features.end - features.start, tokens.end - tokens.start)
    }

    fn len(&self, features: u32, tokens: u32) -> u64 {
        (tokens as u64 - 1) * self.token() + self.row(features)
    }
}

/// The parts of a plan on a device that binds `limit` bytes at a time; none where the plan fits as it is, or cannot
/// be cut. `launch` plans a smaller problem with the same kernel.
pub(super) fn parts(
    plan: &Plan,
    limit: u64,
    launch: impl Fn(&Problem) -> Result<Plan, Unsupported>,
) -> Result<Vec<Part>, Unsupported> {
    if let Problem::Pack24(p) | Problem::Unpack24(p) = &plan.problem {
        return packing::parts(plan, p, limit, launch);
    }
    let Some((m, n)) = sizes(&plan.problem) else { return Ok(Vec::new()) };
    if plan.bindings.iter().all(|b| b.bytes <= limit) {
        return Ok(Vec::new());
    }
    let operands = Vec::from_iter(plan.bindings.iter().map(|b| Operand {
        along: along(&plan.problem, b.name),
        bytes: b.bytes,
        m: m as u64,
        n: n as u64,
    }));
    let (features, tokens) = steps(&operands, m, n, limit)?;
    let cuts = |size: u32, step: u32| {
        (0..size).step_by(step as usize).map(move |from| from..size.min(from.saturating_add(step)))
    };
    let mut parts = Vec::new();
    for tokens in cuts(n, tokens) {
        for features in cuts(m, features) {
            let smaller = smaller(&plan.problem, features.len() as u32, tokens.len() as u32);
            let Plan { grid, mut params, .. } = launch(&smaller)?;
            match plan.problem {
                Problem::Linear(_) => params[linear::STRIDE] = m,
                Problem::Gather(_) => params[rows::FIRST] = features.start,
                _ => {}
            }
            let ranges = operands.iter().map(|o| o.range(&features, &tokens)).collect();
            parts.push(Part { grid, ranges, params });
        }
    }
    Ok(parts)
}

/// Features and tokens of a part: as many as can be, features first, for then weights are read less often.
fn steps(operands: &[Operand], m: u32, n: u32, limit: u64) -> Result<(u32, u32), Unsupported> {
    let most = operands.iter().filter_map(|o| limit.checked_div(o.feature())).min();
    let features = whole(m, FEATURES, most);
    // 256 bytes over the largest power of two that divides a token's
    let unit = operands.iter().map(|o| ALIGNMENT as u32 >> o.token().trailing_zeros().min(8)).max();
    let most = operands
        .iter()
        .filter_map(|o| Some(1 + limit.saturating_sub(o.row(features)).checked_div(o.token())?));
    let tokens = whole(n, unit.unwrap_or(1), most.min());
    let needs = operands.iter().map(|o| o.len(features, tokens)).max().unwrap_or(0);
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
        Problem::Quantize(p) => Some((1, p.n)),
        // a token's place in the cache is its place among all tokens
        Problem::Rotary(_) | Problem::Attention(_) => None,
        // cut on their own
        Problem::Pack24(_) | Problem::Unpack24(_) => None,
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
        Problem::Quantize(p) => p.n = tokens,
        Problem::Rotary(_) | Problem::Attention(_) => {}
        Problem::Pack24(_) | Problem::Unpack24(_) => {}
    }
    smaller
}
