//! Stage `tune`: for each layer and number of tokens, which kernel is fastest, of the table's rows and
//! of those that the generator can write besides. None may win that was not checked first.

use crate::clock::Timed;
use crate::contender::{Contender, in_turn};
use crate::error::{Error, Result};
use crate::ours::{Ours, Uploaded, problem};
use crate::peer;
use crate::record::Record;
use crate::shapes::{Shape, selected};
use crate::stage::{Options, correct};
use crate::weights::random;
use quickpick::Backend;
use quickpick::kernels::{
    DType, Epilogue, Form, KERNELS, KernelSpec, Linear, Plan, Problem, Unsupported, Weights, Wgmma,
};
use quickpick_tests::{Case, Fill, check};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::time::Instant;

/// A candidate on a shape.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Tuned {
    /// `cpu`, `wgpu` or `cuda`.
    pub backend: String,
    /// The device's name, by which `select` looks it up; empty for the host, and where there is none.
    pub device: String,
    /// `2:4` or `dense`.
    pub weights: String,
    /// Element type.
    pub dtype: String,
    /// Output features.
    pub m: u32,
    /// Tokens.
    pub n: u32,
    /// Input features.
    pub k: u32,
    /// The candidate.
    pub kernel: String,
    /// Its warps along m and n, which the name leaves out; empty for other forms.
    pub warps: String,
    /// Median of one launch, microseconds; of one that is [`FAR`] behind, its first sample.
    pub us: Option<f64>,
    /// 1 for the fastest of the shape; 0 for one without a figure.
    pub rank: u32,
    /// `ok`, or why there is no figure.
    pub status: String,
}

impl Tuned {
    /// A row of a shape, without a candidate.
    fn of<B: Backend>(backend: &B, (weights, dtype): (Weights, DType), shape: Shape) -> Self {
        Self {
            backend: backend.name().into(),
            device: backend.caps().name().unwrap_or_default().into(),
            weights: weights.to_string(),
            dtype: dtype.to_string(),
            m: shape.layer.m,
            n: shape.n,
            k: shape.layer.k,
            ..Self::default()
        }
    }

    /// What is tuned: device, layer and tokens.
    fn key(&self) -> (String, String, String, String, u32, u32, u32) {
        let Self { backend, device, weights, dtype, m, n, k, .. } = self.clone();
        (backend, device, weights, dtype, m, n, k)
    }
}

/// A backend whose kernels can be chosen from.
pub trait Tunable: Timed {
    /// What may run a linear layer.
    fn candidates(&self, weights: Weights, dtype: DType) -> Vec<&'static KernelSpec>;
    /// Makes a candidate that is no row of the table ready for `step`.
    fn adopt(&self, _plan: &Plan) -> Result<()> {
        Ok(())
    }
}

/// Runs the stage; rows go to `tune.csv` after every shape.
pub fn run<B: Tunable>(backend: &B, options: &Options, record: &Record) -> Result<()> {
    let mut rows: Vec<Tuned> = record.rows(FILE)?;
    // the device that the rows name: `machine.json` may know several
    record.facts([(backend.name().to_string(), backend.describe())])?;
    let start = Instant::now();
    let (mut left_out, mut passed) = (0, 0);
    let wrong = correct::wrong(record, backend.name())?;
    let unknown = |name: &String| Error::Failed(format!("{name} is no type of our kernels"));
    let typed = |name: &String| peer::ours(name).ok_or_else(|| unknown(name));
    let dtypes: Vec<DType> = options.dtypes.iter().map(typed).collect::<Result<_>>()?;
    let shapes = selected(options.only.as_deref(), &options.tokens)?;
    let all = shapes.iter().map(|(_, shapes)| shapes.len()).sum::<usize>() * 2 * dtypes.len();
    // all of the sparse ones first: they are what it is about
    let runs = [Weights::Sparse24, Weights::Dense].into_iter();
    for (weights, dtype) in runs.flat_map(|w| dtypes.iter().map(move |d| (w, *d))) {
        let candidates = backend.candidates(weights, dtype);
        println!(
            "{weights} {dtype}: {} candidates, each checked before it is timed",
            candidates.len()
        );
        let mut verdicts = known(&candidates, &wrong, if options.again { &rows } else { &[] });
        for (layer, mut shapes) in shapes.clone() {
            passed += shapes.len();
            let done = |s: &Shape| {
                let own = Tuned::of(backend, (weights, dtype), *s);
                options.again && rows.iter().any(|r| r.rank == 1 && r.key() == own.key())
            };
            shapes.retain(|shape| !done(shape));
            let before = passed - shapes.len();
            let over = || start.elapsed() >= options.budget;
            if shapes.is_empty() || over() {
                left_out += shapes.len();
                continue;
            }
            let weight = random(dtype, layer.m, layer.k, 1)?;
            let mut uploaded = Uploaded::new(backend, &*weight, options.method);
            for (i, shape) in shapes.into_iter().enumerate() {
                if over() {
                    left_out += 1;
                    continue;
                }
                let tuned = one(
                    backend,
                    (weights, dtype),
                    shape,
                    &candidates,
                    options.method.rounds,
                    &mut uploaded,
                    &mut verdicts,
                );
                if let Some(best) = tuned.iter().find(|row| row.rank == 1) {
                    let (us, of) = (best.us.unwrap_or(0.0), tuned.len());
                    println!(
                        "{} of {all}: {shape}, {}: {} {} {us:.1} µs, of {of}",
                        before + i + 1,
                        best.weights,
                        best.kernel,
                        best.warps
                    );
                }
                rows.retain(|row| tuned.first().is_none_or(|new| row.key() != new.key()));
                let suspect = tuned.iter().any(|row| row.rank == 0);
                rows.extend(tuned);
                record.write(FILE, &rows)?;
                if suspect && !backend.alive() {
                    return Err(Error::Lost(format!("at {shape}")));
                }
            }
        }
    }
    if left_out > 0 {
        println!("{left_out} shapes were not reached in {} s", options.budget.as_secs());
    }
    match rows.iter().find(|row| row.rank == 0) {
        Some(row) => Err(Error::Failed(format!("{} {}: {}", row.kernel, row.warps, row.status))),
        None => Ok(()),
    }
}

const FILE: &str = "tune.csv";

/// So many candidates, and a line says how far it is.
const TOLD: usize = 10;

/// A candidate whose first sample is so many times the least is not sampled again.
pub const FAR: f64 = 3.0;

type Verdicts = HashMap<KernelSpec, std::result::Result<(), String>>;

/// Candidates that need no further check: stage `correct`, or this stage before it lost the device, has
/// found them wrong.
fn known(candidates: &[&'static KernelSpec], wrong: &HashSet<String>, rows: &[Tuned]) -> Verdicts {
    let mut verdicts = Verdicts::new();
    for spec in candidates {
        let (kernel, warps) = (spec.to_string(), warps(spec));
        if KERNELS.contains(spec) && wrong.contains(&kernel) {
            verdicts.insert(**spec, Err(correct::FOUND_WRONG.into()));
        }
        let same = |row: &&Tuned| row.rank == 0 && row.kernel == kernel && row.warps == warps;
        if let Some(row) = rows.iter().find(same) {
            verdicts.insert(**spec, Err(row.status.clone()));
        }
    }
    verdicts
}

/// All candidates on one shape. `verdicts` remembers which of them passed the checks. Where one loses
/// the device, only those without a figure so far are returned, the culprit last.
fn one<'a, B: Tunable>(
    backend: &'a B,
    (weights, dtype): (Weights, DType),
    shape: Shape,
    candidates: &[&'static KernelSpec],
    rounds: u32,
    uploaded: &mut Uploaded<'a, B>,
    verdicts: &mut Verdicts,
) -> Vec<Tuned> {
    let problem = problem(weights, dtype, shape.layer.m, shape.n, shape.layer.k);
    let mut rows = Vec::new();
    let mut contenders: Vec<Box<dyn Contender + '_>> = Vec::new();
    let mut entered = Vec::new();
    for (i, spec) in candidates.iter().enumerate() {
        if i % TOLD == 0 && i > 0 {
            println!("  {shape}: {i} of {} candidates are checked", candidates.len());
        }
        let mut row = Tuned {
            kernel: spec.to_string(),
            warps: warps(spec),
            ..Tuned::of(backend, (weights, dtype), shape)
        };
        if wasteful(spec, shape.n) {
            continue;
        }
        // what the device or the shape forbids is no candidate
        let Ok(plan) = spec.plan(&problem, backend.caps()) else { continue };
        let adopt = |plan: &Plan| backend.adopt(plan);
        let verdict = verdicts.entry(**spec).or_insert_with(|| checked(backend, spec, adopt));
        let made = verdict.clone();
        let made = made.and_then(|()| Ours::new(uploaded, &plan).map_err(|why| why.cell()));
        match made {
            Ok(ours) => {
                contenders.push(Box::new(ours));
                entered.push(row);
            }
            Err(why) => {
                row.status = why;
                rows.push(row);
                if !backend.alive() {
                    return rows;
                }
            }
        }
    }
    let firsts = Vec::from_iter(contenders.iter_mut().map(|contender| contender.sample()));
    let least = firsts.iter().flatten().copied().fold(f64::INFINITY, f64::min);
    let (mut near, mut close) = (Vec::new(), Vec::new());
    for ((contender, mut row), first) in contenders.into_iter().zip(entered).zip(firsts) {
        match first {
            Ok(us) if us <= FAR * least => {
                near.push(contender);
                close.push(row);
                continue;
            }
            Ok(us) => (row.us, row.status) = (Some(us), "ok".into()),
            Err(why) => row.status = why.cell(),
        }
        rows.push(row);
    }
    let (mut contenders, entered) = (near, close);
    let figures = in_turn(&mut contenders, rounds, None);
    for (mut row, figures) in entered.into_iter().zip(figures) {
        match figures {
            Ok(figures) => (row.us, row.status) = (Some(figures.us[1]), "ok".into()),
            Err(why) => row.status = why.cell(),
        }
        rows.push(row);
    }
    // those without a figure last
    rows.sort_by(|a, b| a.us.unwrap_or(f64::MAX).total_cmp(&b.us.unwrap_or(f64::MAX)));
    for (i, row) in rows.iter_mut().enumerate().filter(|(_, row)| row.us.is_some()) {
        row.rank = i as u32 + 1;
    }
    rows
}

/// Whether hardly an eighth of a tile's tokens would be there. Rows of the table are tried all the same: for some
/// types there is nothing else.
fn wasteful(spec: &KernelSpec, tokens: u32) -> bool {
    let tile = match spec.form {
        Form::Tiled { tile, .. } | Form::Wgmma(Wgmma { tile, .. }) => tile.n,
        _ => 0,
    };
    tile > 8 * tokens && !KERNELS.contains(spec)
}

/// Exhaustive on small ragged shapes: more than one tile, a ragged end on each side, more k than the
/// pipeline is deep, an epilogue.
pub fn checked<B: Backend>(
    backend: &B,
    spec: &'static KernelSpec,
    adopt: impl Fn(&Plan) -> Result<()>,
) -> std::result::Result<(), String> {
    let quickpick::kernels::OpKind::Linear(weights) = spec.op else {
        return Err("is no linear layer".into());
    };
    let (dtype, out) = (spec.dtype, DType::F32);
    let full = Epilogue {
        bias: true,
        activation: quickpick::kernels::Activation::Gelu,
        residual: true,
        ..Epilogue::NONE
    };
    for (m, n, k, fill, epilogue) in [
        (72, 16, 544, Fill::Ramp, Epilogue::NONE),
        (72, 67, 96, Fill::Random, full),
        (304, 1, 32, Fill::OneHot, Epilogue::NONE),
    ] {
        let p = Linear { m, n, k, weights, dtype, out, epilogue };
        let plan = match spec.plan(&Problem::Linear(p), backend.caps()) {
            Ok(plan) => plan,
            // a kernel for few tokens
            Err(Unsupported::Range { dim: "n", .. }) => continue,
            Err(why) => return Err(why.to_string()),
        };
        adopt(&plan).map_err(|why| why.cell())?;
        check(backend, spec, &Case::linear(p, fill, 11))?;
    }
    Ok(())
}

fn warps(spec: &KernelSpec) -> String {
    match spec.form {
        Form::Tiled { warps: (m, n), .. } => format!("{m}×{n}"),
        _ => String::new(),
    }
}

mod backends {
    //! Which kernels each backend may choose from.

    use super::*;
    use crate::candidates;
    use crate::stage::correct::kernels;
    use quickpick::kernels::OpKind;
    use quickpick::{Cpu, Cuda, Wgpu};

    fn rows<B: Backend>(backend: &B, weights: Weights, dtype: DType) -> Vec<&'static KernelSpec> {
        let fits =
            |spec: &&'static KernelSpec| spec.op == OpKind::Linear(weights) && spec.dtype == dtype;
        kernels(backend.caps()).filter(fits).collect()
    }

    /// Plans outlive the stage; a few kilobytes, once per run.
    fn leaked(all: Vec<KernelSpec>) -> Vec<&'static KernelSpec> {
        all.into_iter().map(|spec| &*Box::leak(Box::new(spec))).collect()
    }

    impl Tunable for Cpu {
        fn candidates(&self, weights: Weights, dtype: DType) -> Vec<&'static KernelSpec> {
            rows(self, weights, dtype)
        }
    }

    impl Tunable for Wgpu {
        fn candidates(&self, weights: Weights, dtype: DType) -> Vec<&'static KernelSpec> {
            leaked(candidates::wgpu(weights, dtype, self.caps()))
        }

        fn adopt(&self, plan: &Plan) -> Result<()> {
            if plan.spec.text().is_none()
                && let Some(text) = quickpick_codegen::emit(plan.spec)
            {
                Wgpu::adopt(self, plan, &text)?;
            }
            Ok(())
        }
    }

    impl Tunable for Cuda {
        fn candidates(&self, weights: Weights, dtype: DType) -> Vec<&'static KernelSpec> {
            leaked(candidates::cuda(weights, dtype, self.caps()))
        }

        #[allow(unsafe_code)] // the one place where generated text meets a device
        fn adopt(&self, plan: &Plan) -> Result<()> {
            if plan.spec.text().is_none()
                && let Some(text) = quickpick_codegen::emit(plan.spec)
            {
                // SAFETY: the generator's tests run each candidate in the emulator, which grants
                // every operand no byte more than the plan does (`candidates.rs`).
                unsafe { Cuda::adopt(self, plan, &text) }?;
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::Method;
    use quickpick::Cpu;
    use std::time::Duration;

    #[test]
    fn the_fastest_is_first_and_all_were_checked() {
        let folder = std::env::temp_dir().join(format!("quickpick-tune-{}", std::process::id()));
        let record = Record::open(&folder).unwrap();
        let sample = Duration::from_micros(100);
        let options = Options {
            only: Some("ragged/narrow".into()),
            tokens: vec![3],
            dtypes: vec!["f32".into()],
            budget: Duration::from_secs(60),
            method: Method { rounds: 2, sample, rotate_bytes: 0 },
            paths: false,
            again: false,
        };
        run(&Cpu::new(), &options, &record).unwrap();
        let rows: Vec<Tuned> = record.rows(FILE).unwrap();
        assert_eq!(rows.len(), 2); // one host row each for 2:4 and dense
        assert!(rows.iter().all(|row| row.rank == 1 && row.status == "ok" && row.us > Some(0.0)));
        run(&Cpu::new(), &options, &record).unwrap();
        assert_eq!(record.rows::<Tuned>(FILE).unwrap().len(), 2, "rows are replaced");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
