//! SparseGPT and ALPS against NumPy (`reference/solvers.py`), which takes the papers' equations as
//! they stand.

mod common;

use common::{Layer, correlated};
use quickpick_prune::{Method, Pattern, Prepared, Solution, relative_error};
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

/// What Python exits with where NumPy is absent.
const ABSENT: i32 = 77;

/// Rows, columns, tokens, pattern, a dead input; with fewer tokens than columns the gram has not full
/// rank.
const CASES: [(usize, usize, usize, &str, Option<usize>); 6] = [
    (32, 64, 512, "2:4", None),
    (17, 96, 400, "2:4", Some(5)),
    (24, 128, 60, "2:4", None),
    (40, 256, 700, "4:8", Some(255)),
    (16, 72, 30, "1:4", Some(0)),
    (9, 300, 900, "2:4", None),
];

/// Both solutions of a layer, by Rust and by NumPy; or why there is no NumPy.
fn both(layer: &Layer, method: &str, pattern: Pattern) -> Result<(Solution, Vec<f32>), String> {
    let folder = std::env::temp_dir().join(format!("quickpick-{method}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, values: &mut dyn Iterator<Item = f64>| {
        fs::write(folder.join(name), values.flat_map(f64::to_ne_bytes).collect::<Vec<u8>>())
            .unwrap();
    };
    write("weight", &mut layer.weight.iter().map(|&w| f64::from(w)));
    write("gram", &mut layer.gram.matrix().into_iter());
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/reference/solvers.py");
    let numbers = [layer.rows, layer.cols, pattern.kept(), pattern.group()].map(|n| n.to_string());
    let mut python = Command::new("python3");
    python.arg(script).arg(method).arg(&folder).args(numbers).arg(Prepared::DAMPING.to_string());
    let out = python.output().map_err(|why| format!("python3 does not start: {why}"))?;
    if out.status.code() == Some(ABSENT) {
        return Err(String::from_utf8_lossy(&out.stdout).trim().to_owned());
    }
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let bytes = fs::read(folder.join(method)).unwrap();
    let theirs = bytes.chunks_exact(8).map(|b| f64::from_ne_bytes(b.try_into().unwrap()) as f32);
    let method: Method = method.parse().unwrap();
    let mut prepared = Prepared::new(&layer.gram, Prepared::DAMPING).unwrap();
    let ours = method.solve(&layer.problem(), &mut prepared, pattern).unwrap();
    fs::remove_dir_all(folder).unwrap();
    Ok((ours, theirs.collect()))
}

/// Says loudly that a test cannot run; fails it where `QUICKPICK_REQUIRE` names it.
fn skip(why: &str) {
    let required = std::env::var("QUICKPICK_REQUIRE").unwrap_or_default();
    let must = required.split(',').any(|word| matches!(word.trim(), "numpy" | "all"));
    assert!(!must, "QUICKPICK_REQUIRE demands numpy, but {why}");
    eprintln!("skipped: {why}");
    if let Some(log) = std::env::var_os("QUICKPICK_SKIP_LOG") {
        let mut log = fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        writeln!(log, "numpy: {why}").unwrap();
    }
}

/// The same sweep in exact arithmetic: masks may differ only where two costs tie within rounding, and
/// a row whose masks agree has the same weights to f32's precision, magnified by the condition of H.
#[test]
fn sparsegpt_is_the_papers() {
    for (seed, (rows, cols, tokens, pattern, dead)) in (0..).zip(CASES) {
        let mut layer = correlated(rows, cols, tokens, seed);
        if let Some(dead) = dead {
            layer = layer.with_dead(dead);
        }
        let (ours, theirs) = match both(&layer, "sparsegpt", pattern.parse().unwrap()) {
            Ok(both) => both,
            Err(why) => return skip(&why),
        };
        let error = relative_error(&layer.problem(), &theirs).unwrap();
        assert!((ours.error / error - 1.0).abs() < 1e-4, "{} against {error}", ours.error);
        let mut same = 0;
        for (ours, theirs) in ours.weight.chunks(cols).zip(theirs.chunks(cols)) {
            if ours.iter().zip(theirs).any(|(a, b)| (*a == 0.0) != (*b == 0.0)) {
                continue;
            }
            same += 1;
            let most = theirs.iter().fold(0f32, |most, w| most.max(w.abs()));
            let far = ours.iter().zip(theirs).find(|(a, b)| (*a - *b).abs() > 1e-5 * most);
            assert_eq!(far, None, "case {seed}: of a row whose largest is {most}");
        }
        assert!(same * 20 >= rows * 19, "case {seed}: {same} of {rows} rows have the same mask");
    }
}

/// The same iteration from the same start leads to the same support, though ours is in f32; then our
/// weights are at least as good in what is minimised, the damped error, for conjugate gradients go on
/// beyond the reference's ten steps; 1e-4 allows a weight to be in another place for rounding. The
/// error without damping is not minimised, and may fall either way between ten steps and more: by 5e-4
/// where tokens are fewer than features.
#[test]
fn alps_is_as_good_as_the_papers() {
    for (seed, (rows, cols, tokens, pattern, dead)) in (0..).zip(CASES) {
        let mut layer = correlated(rows, cols, tokens, seed);
        if let Some(dead) = dead {
            layer = layer.with_dead(dead);
        }
        let (ours, theirs) = match both(&layer, "alps", pattern.parse().unwrap()) {
            Ok(both) => both,
            Err(why) => return skip(&why),
        };
        let error = relative_error(&layer.problem(), &theirs).unwrap();
        assert!(ours.error <= error * 1.001, "case {seed}: {} against {error}", ours.error);
        let damped = |weight: &[f32]| layer.damped_error(weight, Prepared::DAMPING);
        let (ours, theirs) = (damped(&ours.weight), damped(&theirs));
        assert!(ours <= theirs * 1.0001, "case {seed}: {ours} against {theirs} with damping");
    }
}
