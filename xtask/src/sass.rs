//! `cargo xtask sass`: assembles every PTX kernel for every target (rung 4), and counts what its
//! main loop issues on sm_80 or sm_90a.

mod code;
mod judge;
mod resources;

use crate::error::{Error, Result, failed};
use crate::on_paper;
use code::{Code, MainLoop, Registers};
pub use judge::multiplies;
use quickpick_kernels::{KERNELS, KernelSpec};
use resources::Resources;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Where a kernel is assembled, by which of the two assemblers, and where its main loop is counted.
struct Targets {
    new: &'static [&'static str],
    old: &'static [&'static str],
    counted: &'static str,
}

const AMPERE: Targets =
    Targets { new: &["sm_80", "sm_90a", "sm_120a"], old: &["sm_80", "sm_90a"], counted: "sm_80" };

/// Where `mma` multiplies 8-bit floats.
const ADA: Targets = Targets { new: &["sm_89", "sm_120a"], old: &["sm_89"], counted: "sm_89" };

/// Where 8-bit floats are multiplied as f16 instead, and all the others that could.
const HALVES: Targets = Targets {
    new: &["sm_89", "sm_90a", "sm_100a", "sm_120a"],
    old: &["sm_89", "sm_90a", "sm_100a", "sm_120a"],
    counted: "sm_90a",
};

/// `wgmma` is of sm_90a alone.
const HOPPER: Targets = Targets { new: &["sm_90a"], old: &["sm_90a"], counted: "sm_90a" };

/// Assembles the kernels whose name contains `only`, prints a table of their main loops, then what
/// Hopper's are on paper, and returns how many there are. Fails at what `resources` and `judge` call
/// faults.
pub fn run(
    root: &Path,
    new: &Path,
    old: &Path,
    nvdisasm: &Path,
    only: Option<&str>,
) -> Result<usize> {
    let dir = root.join("target/sass");
    fs::create_dir_all(&dir).map_err(Error::file(&dir))?;
    let mut faults = Vec::new();
    let mut kernels = 0;
    let mut hopper = Vec::new();
    println!("{}", header());
    for spec in KERNELS.iter().filter(|s| s.target.is_ptx()) {
        let name = spec.to_string();
        if !only.is_none_or(|pattern| name.contains(pattern)) {
            continue;
        }
        kernels += 1;
        let ptx = root.join("ptx").join(format!("{name}.ptx"));
        let targets = match spec.least_sm() {
            90 => HOPPER,
            89 if spec.multiplies_float8() => ADA,
            89 => HALVES,
            _ => AMPERE,
        };
        let runs = [(new, targets.new), (old, targets.old)];
        for (ptxas, target) in runs.iter().flat_map(|(p, all)| all.iter().map(move |t| (*p, *t))) {
            let cubin = dir.join(format!("{name}.cubin"));
            let log = assemble(ptxas, target, &ptx, &cubin)?;
            let used = Resources::parse(&log);
            let which = format!("{name}, {target}, {}", ptxas.display());
            faults.extend(used.faults().map(|why| format!("{which}: {why}")));
            if target == targets.counted {
                let text = tool(Command::new(nvdisasm).arg("-c").arg(&cubin))?.0;
                let code = Code::parse(&text);
                let why = judge::judge(spec, &code);
                faults.extend(why.iter().map(|why| format!("{which}: {why}")));
                if ptxas == new {
                    let main = code.main_loop();
                    println!("{}", row(spec, &used, &code.registers(), main.as_ref()));
                    let why = main.as_ref().and_then(|main| judge::too_many(spec, main));
                    faults.extend(why.map(|why| format!("{which}: {why}")));
                    hopper.push((spec, main.map(|main| main.per_mma())));
                }
            }
        }
    }
    if kernels == 0 {
        return failed(format!("no PTX kernel's name contains `{}`", only.unwrap_or_default()));
    }
    print!("{}", on_paper::table(&hopper));
    if faults.is_empty() { Ok(kernels) } else { failed(faults.join("\n")) }
}

/// Assembles one file; returns what `-v` says.
fn assemble(ptxas: &Path, target: &str, ptx: &Path, cubin: &Path) -> Result<String> {
    let (out, err) =
        tool(Command::new(ptxas).args(["-v", "-arch", target, "-o"]).arg(cubin).arg(ptx))?;
    Ok(out + &err)
}

fn tool(command: &mut Command) -> Result<(String, String)> {
    let program = Path::new(command.get_program()).to_path_buf();
    let done = command.output().map_err(Error::file(&program))?;
    let [out, err] = [&done.stdout, &done.stderr].map(|t| String::from_utf8_lossy(t).into_owned());
    if done.status.success() {
        Ok((out, err))
    } else {
        failed(format!("{}: {}\n{out}{err}", program.display(), done.status))
    }
}

fn header() -> String {
    format!(
        "{:48} {:>7} {:>7} {:>7} {:>4} {:>6} {:>6} {:>8} {:>7} {:>6} {:>6} {:>6} {:>6} {:>4}",
        "kernel (ptxas 13.5; *: 128 bits)",
        "regs",
        "spills",
        "shared",
        "MMA",
        "instr",
        "/MMA",
        "CUTLASS",
        "LDGSTS*",
        "LDSM*",
        "LDSM",
        "LDS*",
        "LDG*",
        "pad"
    )
}

/// Of a kernel that shares its registers out anew, each side's are told.
fn row(
    spec: &KernelSpec,
    used: &Resources,
    sides: &[Registers],
    main: Option<&MainLoop>,
) -> String {
    let registers = match sides {
        [] => used.registers.to_string(),
        _ => sides.iter().map(|side| side.used.to_string()).collect::<Vec<_>>().join("/"),
    };
    let spills = used.spill_stores + used.spill_loads;
    let shared = used.shared.max(spec.shared_bytes());
    let head = format!("{:48} {registers:>7} {spills:>7} {shared:>7}", spec.to_string());
    let Some(m) = main else { return head };
    let rival = judge::cutlass(spec).map_or("–".to_string(), |cutlass| format!("{cutlass:.2}"));
    let narrow = m.ldsm.0 - m.ldsm.1;
    format!(
        "{head} {:>4} {:>6} {:>6.2} {rival:>8} {:>7} {:>6} {narrow:>6} {:>6} {:>6} {:>4}",
        m.mma,
        m.instructions,
        m.per_mma(),
        m.ldgsts.1,
        m.ldsm.1,
        m.lds.1,
        m.ldg.1,
        m.padding
    )
}
