//! Stages `time` and `peers`: every shape, ours and its rivals in turn.

use crate::candle::Candle;
use crate::clock::Timed;
use crate::contender::{Contender, Figures, in_turn};
use crate::error::{Error, Result};
use crate::floor::{self, Floor};
use crate::ours::{Ours, Uploaded, problem};
use crate::peer::{self, Shared};
use crate::record::{Ceiling, Record, Timing};
use crate::sampler::Sampler;
use crate::shapes::{Layer, Shape, selected};
use crate::stage::{Options, correct};
use crate::weights::{Weight, random};
use quickpick::kernels::{Problem, Weights, select};
use std::collections::HashSet;
use std::time::Instant;

/// Runs the stage, without our kernels where `own` is false: stage `peers`. Rows go to `file` after every
/// shape, so that a killed run goes on where it was.
///
/// Errors: [`Error::Failed`] at the end, if one of our kernels was wrong or failed.
pub fn run<B: Timed>(
    backend: &B,
    peers: Option<&Shared>,
    own: bool,
    options: &Options,
    record: &Record,
    file: &str,
) -> Result<()> {
    let layers = selected(options.only.as_deref(), &options.tokens)?;
    let mut stage = Stage {
        backend,
        peers,
        own,
        options,
        sampler: backend.sensor().and_then(|id| Sampler::start(&id)),
        start: Instant::now(),
        work: 0.0,
        seconds: 0.0,
        rows: record.rows(file)?,
        wrong: correct::wrong(record, backend.name())?,
    };
    if !options.again {
        stage.forget();
    }
    if let Err(why) = ceilings(backend, peers, record) {
        println!("no ceilings: {}", why.cell());
    }
    for dtype in &options.dtypes {
        for (layer, shapes) in &layers {
            let left = shapes.iter().filter(|shape| stage.wants(shape, dtype));
            let left: Vec<Shape> = left.copied().collect();
            if !left.is_empty() {
                stage.layer(*layer, &left, dtype, record, file)?;
            }
        }
    }
    best_dense(&stage.rows, record)?;
    let bad: Vec<_> = stage.rows.iter().filter(|row| failed(row)).collect();
    match bad.first() {
        None => Ok(()),
        Some(row) => Err(Error::Failed(format!(
            "{} of our {} figures failed, the first at {}×{}×{}: {}: {}",
            bad.len(),
            stage.rows.iter().filter(|row| ours(row)).count(),
            row.m,
            row.n,
            row.k,
            row.kernel,
            row.status
        ))),
    }
}

const NOT_REACHED: &str = "not reached";
const FAILED: &str = "failed";

fn ours(row: &Timing) -> bool {
    row.rival.starts_with("2:4") || row.rival == "dense"
}

/// One of our kernels was wrong, or broke.
fn failed(row: &Timing) -> bool {
    ours(row) && row.status.starts_with(FAILED)
}

struct Stage<'a, B: Timed> {
    backend: &'a B,
    peers: Option<&'a Shared>,
    own: bool,
    options: &'a Options,
    sampler: Option<Sampler>,
    start: Instant,
    /// Work of all shapes so far and the seconds that they took, for the pace.
    work: f64,
    seconds: f64,
    rows: Vec<Timing>,
    /// Kernels that are not run, because they are known to be wrong.
    wrong: HashSet<String>,
}

impl<B: Timed> Stage<'_, B> {
    /// What an earlier run had no time for, and every shape where it failed, is tried again.
    fn forget(&mut self) {
        let mine = self.backend.name();
        let bad = |row: &Timing| {
            row.backend == mine && (failed(row) || row.status.starts_with(NOT_REACHED))
        };
        let key = |row: &Timing| {
            let Timing { backend, family, layer, dtype, m, n, k, .. } = row.clone();
            (backend, family, layer, dtype, m, n, k)
        };
        let again: HashSet<_> = self.rows.iter().filter(|row| bad(row)).map(key).collect();
        self.rows.retain(|row| !again.contains(&key(row)));
    }

    fn wants(&self, shape: &Shape, dtype: &str) -> bool {
        let name = self.backend.name();
        let Layer { family, name: layer, m, k, .. } = shape.layer;
        let done = |row: &Timing| {
            let is = |text: &String, want| text == want;
            is(&row.backend, name)
                && is(&row.family, family)
                && is(&row.layer, layer)
                && is(&row.dtype, dtype)
                && (row.m, row.n, row.k) == (m, shape.n, k)
        };
        !self.rows.iter().any(done)
    }

    /// All shapes of a layer; its weight is made and uploaded once.
    fn layer(
        &mut self,
        layer: Layer,
        shapes: &[Shape],
        dtype: &str,
        record: &Record,
        file: &str,
    ) -> Result<()> {
        let mut begin = Instant::now();
        let own = peer::ours(dtype).filter(|_| self.own);
        let weight = match own {
            // not even its making may outlast the stage
            Some(own) if self.reaches(&shapes[0]).is_ok() => {
                Some(random(own, layer.m, layer.k, 1)?)
            }
            _ => None,
        };
        let mut uploaded =
            weight.as_deref().map(|w| Uploaded::new(self.backend, w, self.options.method));
        let restricted = if self.options.paths { self.backend.restricted() } else { vec![] };
        let narrower = weight.as_deref().into_iter().flat_map(|w| {
            let upload = |backend| Uploaded::new(backend, w, self.options.method);
            restricted.iter().map(move |(name, backend)| (name, upload(backend)))
        });
        let mut narrower = Vec::from_iter(narrower);
        for shape in shapes {
            let rows = match self.reaches(shape) {
                Ok(()) => {
                    let rows = self.shape(
                        shape,
                        dtype,
                        weight.as_deref(),
                        uploaded.as_mut(),
                        &mut narrower,
                    )?;
                    self.work += work(shape);
                    self.seconds += begin.elapsed().as_secs_f64();
                    begin = Instant::now();
                    println!("{shape}, {dtype}: {}", line(&rows));
                    rows
                }
                Err(status) => {
                    println!("{shape}, {dtype}: {status}");
                    vec![Timing { status, ..self.row(shape, dtype) }]
                }
            };
            let suspect = rows.iter().any(failed);
            self.rows.extend(rows);
            record.write(file, &self.rows)?;
            if suspect && !self.backend.alive() {
                return Err(Error::Lost(format!("at {shape}")));
            }
        }
        Ok(())
    }

    /// Whether a shape is likely to end in time, at the pace so far; and no shape may take more than a
    /// tenth of the time, or the largest would keep all others out.
    fn reaches(&self, shape: &Shape) -> std::result::Result<(), String> {
        let (spent, budget) =
            (self.start.elapsed().as_secs_f64(), self.options.budget.as_secs_f64());
        let pace = if self.work > 0.0 { self.seconds / self.work } else { 0.0 };
        let takes = pace * work(shape);
        let left = budget - spent;
        match takes < (budget / 10.0).min(left) {
            true => Ok(()),
            false => Err(format!(
                "{NOT_REACHED}: takes about {takes:.0} s, {left:.0} of {budget} s are left"
            )),
        }
    }

    fn row(&self, shape: &Shape, dtype: &str) -> Timing {
        let Layer { family, name, m, k, .. } = shape.layer;
        Timing {
            backend: self.backend.name().into(),
            family: family.into(),
            layer: name.into(),
            m,
            n: shape.n,
            k,
            dtype: dtype.into(),
            ..Timing::default()
        }
    }

    /// Prepares every contender, samples them in turn.
    fn shape(
        &self,
        shape: &Shape,
        dtype: &str,
        weight: Option<&dyn Weight>,
        mut uploaded: Option<&mut Uploaded<'_, B>>,
        narrower: &mut [(&String, Uploaded<'_, B>)],
    ) -> Result<Vec<Timing>> {
        let method = self.options.method;
        let row = self.row(shape, dtype);
        let mut entries: Vec<(String, String, Result<Box<dyn Contender + '_>>)> = Vec::new();
        if let (Some(weight), Some(uploaded)) = (weight, &mut uploaded) {
            let of = |w| problem(w, weight.dtype(), shape.layer.m, shape.n, shape.layer.k);
            for (rival, problem) in [("2:4", of(Weights::Sparse24)), ("dense", of(Weights::Dense))]
            {
                let (kernel, made) = match select(&problem, self.backend.caps()) {
                    // the reason is the device's, not a fault
                    Err(why) => (String::new(), Err(Error::Absent(why.to_string()))),
                    Ok(selection) => {
                        let kernel = selection.plan.spec.to_string();
                        let made = match self.wrong.contains(&kernel) {
                            true => Err(Error::Wrong(correct::FOUND_WRONG.into())),
                            false => Ours::new(uploaded, &selection.plan),
                        };
                        (kernel, made)
                    }
                };
                entries.push((rival.into(), kernel, made.map(|ours| Box::new(ours) as _)));
            }
            let sparse = of(Weights::Sparse24);
            for (path, uploaded) in narrower {
                let Ok(selection) = select(&sparse, self.backend.caps()) else { continue };
                let rival = format!("2:4 {path}");
                let made = Ours::new(uploaded, &selection.plan).map(|ours| ours.named(&rival));
                let kernel = selection.plan.spec.to_string();
                entries.push((rival, kernel, made.map(|ours| Box::new(ours) as _)));
            }
            if let (Problem::Linear(p), "cpu") = (of(Weights::Dense), self.backend.name()) {
                let made = Candle::new(weight, &p, method);
                let made = made.map(|candle| Box::new(candle) as _);
                entries.push(("candle".into(), String::new(), made));
                if let Ok(selection) = select(&sparse, self.backend.caps()) {
                    let weights = selection.plan.bindings.iter().take(2);
                    let floor = Floor::new(weights.map(|b| b.bytes).sum(), method);
                    let floor = floor.map(|floor| Box::new(floor) as _);
                    entries.push((floor::NAME.into(), String::new(), floor));
                }
            }
        }
        if let Some(peers) = self.peers {
            for peer in peers.list().iter().filter(|p| p.dtypes.iter().any(|d| d == dtype)) {
                let made = peers.contender(peer, dtype, *shape, method);
                let made = made.map(|peer| Box::new(peer) as _);
                entries.push((peer.name.clone(), String::new(), made));
            }
        }
        let (mut contenders, mut rows) = (Vec::new(), Vec::new());
        if entries.is_empty() {
            let status = "unsupported: nobody here computes this type".into();
            rows.push(Timing { status, ..row.clone() });
        }
        for (rival, kernel, made) in entries {
            match made {
                Ok(contender) => contenders.push(contender),
                Err(why) => {
                    rows.push(Timing { rival, kernel, status: status(&why), ..row.clone() });
                }
            }
        }
        let figures = in_turn(&mut contenders, method.rounds, self.sampler.as_ref());
        for (contender, figures) in contenders.iter().zip(figures) {
            let about = contender.about().clone();
            let mut row = Timing {
                rival: about.rival,
                kernel: about.kernel,
                launches: about.launches,
                copies: about.copies,
                error: Some(rounded(about.error, 3)).filter(|e| e.is_finite()),
                note: about.note,
                ..row.clone()
            };
            match figures {
                Ok(Figures { us: [low, median, high], rounds, sensors }) => {
                    row.rounds = rounds;
                    let us = |us| Some(rounded(us, 3));
                    (row.us_low, row.us, row.us_high) = (us(low), us(median), us(high));
                    let tflops = rounded(shape.operations() / median / 1e6, 4);
                    row.tflops = Some(tflops).filter(|_| row.rival != floor::NAME);
                    row.clock_mhz = sensors.map(|s| rounded(s.clock_mhz, 0));
                    row.power_w = sensors.map(|s| rounded(s.power_w, 1));
                    row.status = "ok".into();
                }
                Err(why) => row.status = status(&why),
            }
            rows.push(row);
        }
        Ok(rows)
    }
}

/// To so many decimals: more would be noise.
fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10f64.powi(decimals);
    (value * scale).round() / scale
}

/// Multiply-adds, and what it costs besides to make a weight.
fn work(shape: &Shape) -> f64 {
    shape.layer.m as f64 * shape.layer.k as f64 * (shape.n as f64 + 256.0)
}

fn status(why: &Error) -> String {
    match why {
        Error::Absent(_) => format!("unsupported: {}", why.cell()),
        _ => format!("{FAILED}: {}", why.cell()),
    }
}

/// `2:4 12.3 µs, dense 20.1 µs (1.63×), …`: ratios are to ours.
fn line(rows: &[Timing]) -> String {
    let ours = rows.iter().find(|row| row.rival == "2:4").and_then(|row| row.us);
    let cells = rows.iter().map(|row| match (row.us, ours) {
        (Some(us), Some(ours)) if row.rival != "2:4" => {
            format!("{} {us:.1} µs ({:.2}×)", row.rival, us / ours)
        }
        (Some(us), _) => format!("{} {us:.1} µs", row.rival),
        (None, _) => format!("{} {}", row.rival, row.status),
    });
    cells.collect::<Vec<_>>().join(", ")
}

/// Measures the machine's copy bandwidth, and the peers' ceilings, once per record.
fn ceilings<B: Timed>(backend: &B, peers: Option<&Shared>, record: &Record) -> Result<()> {
    let mut all: Vec<Ceiling> = record.rows(CEILINGS)?;
    if all.iter().any(|c| c.backend == backend.name() && c.what == "copy") {
        return Ok(());
    }
    let mut add = |what: String, value: f64, by: &str| {
        let (backend, by) = (backend.name().into(), by.into());
        let value = rounded(value, 4);
        all.push(Ceiling { backend, what, value, by });
    };
    add("copy".into(), backend.copy_gbps()?, "quickpick");
    if let Some(peers) = peers {
        let theirs = peers.ceilings()?;
        add("copy".into(), theirs.copy_gbps, "PyTorch");
        for (dtype, tflops) in theirs.matmul {
            add(format!("matmul {dtype}"), tflops, "PyTorch");
        }
    }
    record.write(CEILINGS, &all)
}

/// The fastest dense product of the record is a ceiling, too.
fn best_dense(rows: &[Timing], record: &Record) -> Result<()> {
    let mut all: Vec<Ceiling> = record.rows(CEILINGS)?;
    let dense = |row: &&Timing| row.rival != "cusparselt" && !row.rival.starts_with("2:4");
    for row in rows.iter().filter(dense) {
        let Some(value) = row.tflops else { continue };
        let (backend, what) = (row.backend.clone(), format!("matmul {}", row.dtype));
        let by = format!("{} at {}×{}×{}", row.rival, row.m, row.n, row.k);
        let same = |c: &&mut Ceiling| c.backend == backend && c.what == what && c.by != "PyTorch";
        match all.iter_mut().find(same) {
            Some(have) if have.value >= value => {}
            Some(have) => (have.value, have.by) = (value, by),
            None => all.push(Ceiling { backend, what, value, by }),
        }
    }
    record.write(CEILINGS, &all)
}

const CEILINGS: &str = "ceilings.csv";
