//! `cargo run --release -p quickpick-benches --bin ratio [BACKEND]`: 2:4 against its dense twin, run
//! in turn in one process; medians and their ratio.
#![forbid(unsafe_code)]

use quickpick::{Backend, Kind, Visitor, open};
use quickpick_benches::{SHAPES, TOKENS, Twins};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Measured for at least this long, each.
const LEAST: Duration = Duration::from_millis(400);

fn main() -> ExitCode {
    let kind = std::env::args().nth(1).unwrap_or("cpu".into());
    let opened = match kind.parse::<Kind>() {
        Ok(kind) => open(kind),
        Err(unknown) => {
            eprintln!("error: {unknown}");
            return ExitCode::FAILURE;
        }
    };
    let done = opened.and_then(|opened| {
        println!("{opened}");
        opened.device.visit(Table)
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Table;

impl Visitor for Table {
    type Output = quickpick::Result<()>;

    fn visit<B: Backend>(self, backend: &B) -> Self::Output {
        println!("| layer (m×k, f16) | tokens | 2:4 ms | dense ms | dense / 2:4 | kernels |");
        println!("|---|---|---|---|---|---|");
        for &shape in SHAPES {
            for &n in TOKENS {
                let twins = Twins::new(backend, shape, n)?;
                let (mut sparse, mut dense) = (Vec::new(), Vec::new());
                let start = Instant::now();
                while start.elapsed() < 2 * LEAST || sparse.len() < 5 {
                    let i = sparse.len();
                    sparse.push(timed(|| twins.sparse.run(backend, i))?);
                    dense.push(timed(|| twins.dense.run(backend, i))?);
                }
                let (a, b) = (median(&mut sparse), median(&mut dense));
                let (name, m, k) = (shape.name, shape.m, shape.k);
                let kernels = format!("{}, {}", twins.sparse.name, twins.dense.name);
                let ratio = b / a;
                println!("| {name} ({m}×{k}) | {n} | {a:.3} | {b:.3} | {ratio:.2} | {kernels} |");
            }
        }
        Ok(())
    }
}

/// Milliseconds.
fn timed(run: impl FnOnce() -> quickpick::Result<()>) -> quickpick::Result<f64> {
    let start = Instant::now();
    run()?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
