//! `cargo xtask sass`: assembles every PTX kernel for every target (rung 4), and counts what its
//! main loop issues on sm_80.

use crate::error::{Error, Result, failed};
use quickpick_kernels::{Form, KERNELS, KernelSpec, OpKind, Target, Tile, Weights, Wgmma};
use std::fs;
use std::path::Path;
use std::process::Command;

/// What a tile's main loop may issue per MMA, sparse and dense, beside what CUTLASS issues if sparse.
///
/// CUTLASS's sm_80 16-bit kernels of the same tile and stages, at commit 7107b055, through the same
/// assembler (13.5; 12.9 agrees), counted in the same way.
const PER_MMA: &[Budget] = &[
    Budget { tile: Tile { m: 128, n: 256, k: 64 }, cutlass: 3.12, sparse: 2.0, dense: 1.6 },
    Budget { tile: Tile { m: 128, n: 128, k: 64 }, cutlass: 3.31, sparse: 2.0, dense: 1.6 },
    Budget { tile: Tile { m: 64, n: 64, k: 64 }, cutlass: 7.50, sparse: 3.3, dense: 2.3 },
];

struct Budget {
    tile: Tile,
    cutlass: f64,
    sparse: f64,
    dense: f64,
}

/// What a consumer's main loop on Hopper may issue per `wgmma`: CUTLASS's sm_90 kernels of the same n,
/// through the same assembler, counted in the same way.
const PER_WGMMA: &[(u32, f64)] = &[(128, 13.3), (256, 15.5)];

/// Where a kernel is assembled, by which of the two assemblers, and where its main loop is counted.
struct Targets {
    new: &'static [&'static str],
    old: &'static [&'static str],
    counted: &'static str,
}

const AMPERE: Targets =
    Targets { new: &["sm_80", "sm_90a", "sm_120a"], old: &["sm_80", "sm_90a"], counted: "sm_80" };

/// `wgmma` is of sm_90a alone.
const HOPPER: Targets = Targets { new: &["sm_90a"], old: &["sm_90a"], counted: "sm_90a" };

/// Assembles the kernels whose name contains `only`, prints a table of their main loops, and
/// returns how many there are. Fails at a spill, at local memory, at a narrow load or above a limit.
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
    println!("{}", header());
    for spec in KERNELS.iter().filter(|s| s.target.is_ptx()) {
        let name = spec.to_string();
        if !only.is_none_or(|pattern| name.contains(pattern)) {
            continue;
        }
        kernels += 1;
        let ptx = root.join("ptx").join(format!("{name}.ptx"));
        let targets = if spec.target == Target::Sm90a { HOPPER } else { AMPERE };
        let runs = [(new, targets.new), (old, targets.old)];
        for (ptxas, target) in runs.iter().flat_map(|(p, all)| all.iter().map(move |t| (*p, *t))) {
            let cubin = dir.join(format!("{name}.cubin"));
            let log = assemble(ptxas, target, &ptx, &cubin)?;
            let used = Resources::parse(&log);
            let which = format!("{name}, {target}, {}", ptxas.display());
            faults.extend(used.faults().map(|why| format!("{which}: {why}")));
            if ptxas == new && target == targets.counted {
                let text = tool(Command::new(nvdisasm).arg("-c").arg(&cubin))?.0;
                let main = MainLoop::find(&text);
                println!("{}", row(spec, &used, main.as_ref()));
                faults.extend(judge(spec, main.as_ref()).map(|why| format!("{which}: {why}")));
            }
        }
    }
    if kernels == 0 {
        return failed(format!("no PTX kernel's name contains `{}`", only.unwrap_or_default()));
    }
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

/// What `ptxas -v` reports of a kernel.
#[derive(Debug, Default, PartialEq, Eq)]
struct Resources {
    registers: u32,
    stack: u32,
    spill_stores: u32,
    spill_loads: u32,
    local: u32,
    shared: u32,
    warnings: u32,
    /// Lines that tell of a potential loss of performance: a `wgmma` that waits for the one before, a
    /// `setmaxnreg` that is not obeyed; or of a fence that the compiler adds. They are of level info.
    losses: Vec<String>,
}

/// The registers of a thread: `Used 168 registers`.
fn used(log: &str) -> Option<u32> {
    let (_, after) = log.split_once("Used ")?;
    after.split_once(" registers")?.0.parse().ok()
}

impl Resources {
    fn parse(log: &str) -> Self {
        let number = |unit: &str| {
            let end = log.find(unit)?;
            log[..end].trim_end().rsplit([' ', ',']).next()?.parse().ok()
        };
        Self {
            registers: used(log).unwrap_or(0),
            stack: number("bytes stack frame").unwrap_or(0),
            spill_stores: number("bytes spill stores").unwrap_or(0),
            spill_loads: number("bytes spill loads").unwrap_or(0),
            local: number("bytes lmem").unwrap_or(0),
            shared: number("bytes smem").unwrap_or(0),
            warnings: log.lines().filter(|l| l.contains("warning")).count() as u32,
            losses: log
                .lines()
                .filter(|l| l.contains(LOSS) || l.contains(INJECTED))
                .map(|l| l.trim().into())
                .collect(),
        }
    }

    fn faults(&self) -> impl Iterator<Item = String> {
        let rules = [
            (self.registers == 0, "ptxas -v names no register count".to_string()),
            (self.stack > 0, format!("{} bytes of stack", self.stack)),
            (self.spill_stores > 0, format!("{} bytes of spill stores", self.spill_stores)),
            (self.spill_loads > 0, format!("{} bytes of spill loads", self.spill_loads)),
            (self.local > 0, format!("{} bytes of local memory", self.local)),
            (self.warnings > 0, format!("{} warnings", self.warnings)),
        ];
        let rules = rules.into_iter().filter(|(bad, _)| *bad).map(|(_, why)| why);
        rules.chain(self.losses.iter().cloned())
    }
}

/// As ptxas 12 and 13 begin what they say of a serialised `wgmma`.
const LOSS: &str = "Potential Performance Loss";
/// As ptxas 12 ends what it says of a `wgmma.fence` that it thinks missing.
const INJECTED: &str = "is injected";

/// The steady loop of a kernel: the shortest backward branch that spans tensor-core instructions.
#[derive(Debug, Default, PartialEq, Eq)]
struct MainLoop {
    instructions: u32,
    mma: u32,
    sparse_mma: u32,
    /// Global to shared copies, and those of 128 bits.
    ldgsts: (u32, u32),
    /// `ldmatrix`, and those of four matrices.
    ldsm: (u32, u32),
    /// Shared loads, and those of 128 bits.
    lds: (u32, u32),
    /// Global loads, and those of 128 bits.
    ldg: (u32, u32),
    /// `@!PT LDS RZ, [RZ]`: never executed; the assembler puts three between a shared access and
    /// the `LDGSTS` that follows. They take issue slots and are counted as instructions.
    padding: u32,
}

impl MainLoop {
    fn find(sass: &str) -> Option<Self> {
        let mut labels = Vec::new();
        let mut code = Vec::new();
        for line in sass.lines().map(str::trim) {
            if let Some(label) = line.strip_suffix(':').filter(|l| l.starts_with(".L_")) {
                labels.push((label, code.len()));
            } else if let Some((_, rest)) = line.strip_prefix("/*").and_then(|l| l.split_once("*/"))
                && let Some((instruction, _)) = rest.split_once(';')
            {
                code.push(instruction.trim());
            }
        }
        let backward = code.iter().enumerate().filter_map(|(end, text)| {
            let target = text.contains("BRA").then(|| text.split(['(', ')']).nth(1)).flatten()?;
            let (_, start) = labels.iter().find(|(label, _)| *label == target)?;
            (*start <= end).then(|| &code[*start..=end])
        });
        backward.filter(|body| body.iter().any(|i| is_mma(i))).min_by_key(|b| b.len()).map(count)
    }

    fn per_mma(&self) -> f64 {
        self.instructions as f64 / self.mma as f64
    }
}

fn is_mma(instruction: &str) -> bool {
    ["HMMA.", "HGMMA."].iter().any(|op| opcode(instruction).starts_with(op))
}

/// The opcode behind the guard.
fn opcode(instruction: &str) -> &str {
    instruction.split_whitespace().find(|word| !word.starts_with('@')).unwrap_or_default()
}

fn count(body: &[&str]) -> MainLoop {
    let mut main = MainLoop { instructions: body.len() as u32, ..MainLoop::default() };
    for text in body {
        let op = opcode(text);
        let tally = |pair: &mut (u32, u32), wide: &str| {
            pair.0 += 1;
            pair.1 += op.contains(wide) as u32;
        };
        match op.split('.').next().unwrap_or_default() {
            "HMMA" | "HGMMA" => {
                main.mma += 1;
                main.sparse_mma += op.contains(".SP.") as u32;
            }
            "LDGSTS" => tally(&mut main.ldgsts, ".128"),
            "LDSM" => tally(&mut main.ldsm, ".M88.4"),
            "LDS" if text.starts_with("@!PT") => main.padding += 1,
            "LDS" => tally(&mut main.lds, ".128"),
            "LDG" => tally(&mut main.ldg, ".128"),
            _ => {}
        }
    }
    main
}

fn header() -> String {
    format!(
        "{:42} {:>4} {:>7} {:>7} {:>4} {:>6} {:>6} {:>8} {:>7} {:>6} {:>6} {:>6} {:>6} {:>4}",
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

fn row(spec: &KernelSpec, used: &Resources, main: Option<&MainLoop>) -> String {
    let spills = used.spill_stores + used.spill_loads;
    let shared = used.shared.max(spec.shared_bytes());
    let head = format!("{:42} {:>4} {spills:>7} {shared:>7}", spec.to_string(), used.registers);
    let Some(m) = main else { return head };
    let rival = limits(spec).and_then(|(cutlass, _)| cutlass);
    let rival = rival.map_or("–".to_string(), |cutlass| format!("{cutlass:.2}"));
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

/// CUTLASS's figure, for a sparse kernel, and our limit: for any tiled one, and for `wgmma` if sparse.
fn limits(spec: &KernelSpec) -> Option<(Option<f64>, f64)> {
    let OpKind::Linear(weights) = spec.op else { return None };
    match (spec.form, weights) {
        (Form::Tiled { tile, .. }, weights) => {
            let budget = PER_MMA.iter().find(|budget| budget.tile == tile)?;
            Some(match weights {
                Weights::Sparse24 => (Some(budget.cutlass), budget.sparse),
                Weights::Dense => (None, budget.dense),
            })
        }
        (Form::Wgmma(Wgmma { tile, .. }), Weights::Sparse24) => {
            let (_, cutlass) = PER_WGMMA.iter().find(|(n, _)| *n == tile.n)?;
            Some((Some(*cutlass), *cutlass))
        }
        _ => None,
    }
}

/// What is wrong with the main loop of a linear layer's kernel.
fn judge(spec: &KernelSpec, main: Option<&MainLoop>) -> impl Iterator<Item = String> {
    let mut faults = Vec::new();
    match (spec.op, spec.form, main) {
        (
            OpKind::Linear(_),
            Form::Tiled { .. } | Form::Wgmma(_) | Form::Skinny { .. },
            None,
        ) => {
            faults.push("no loop with tensor-core instructions".to_string());
        }
        (OpKind::Linear(weights), form, Some(m)) => {
            let sparse = if weights == Weights::Sparse24 { m.mma } else { 0 };
            if m.sparse_mma != sparse {
                faults.push(format!("{} of {} MMAs are sparse", m.sparse_mma, m.mma));
            }
            if m.ldgsts.0 != m.ldgsts.1 {
                faults.push(format!("{} of {} LDGSTS are of 128 bits", m.ldgsts.1, m.ldgsts.0));
            }
            let staged = m.ldgsts.1 > 0 && m.ldsm.1 > 0;
            if matches!(form, Form::Tiled { .. }) && !(staged && m.lds.0 == m.lds.1) {
                faults.push(format!("operands not staged in 128-bit pieces: {m:?}"));
            }
            if matches!(form, Form::Skinny { .. }) && m.ldg.1 == 0 {
                faults.push("no 128-bit global load".to_string());
            }
            match (limits(spec), form) {
                (Some((_, limit)), _) if m.per_mma() > limit => {
                    faults.push(format!("{:.2} instructions per MMA, limit {limit}", m.per_mma()));
                }
                (None, Form::Tiled { .. }) => faults.push("its tile has no limit".to_string()),
                _ => {}
            }
        }
        _ => {}
    }
    faults.into_iter()
}

#[cfg(test)]
mod tests {
    use super::{MainLoop, Resources};

    #[test]
    fn reads_what_ptxas_reports() {
        let log = "ptxas info    : 0 bytes gmem\n\
                   ptxas info    : Function properties for k\n    \
                   16 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads\n\
                   ptxas info    : Used 234 registers, used 1 barriers, 512 bytes smem\n";
        let used = Resources::parse(log);
        let want = Resources {
            registers: 234,
            stack: 16,
            spill_stores: 8,
            spill_loads: 4,
            shared: 512,
            ..Resources::default()
        };
        assert_eq!(used, want);
        assert_eq!(used.faults().count(), 3);
    }

    #[test]
    fn a_serialised_wgmma_is_a_fault() {
        let log = "ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are \
                   serialized due to insufficient register resources for the wgmma pipeline in the \
                   function 'k'\n\
                   ptxas info    : Used 168 registers, used 1 barriers\n";
        let faults: Vec<_> = Resources::parse(log).faults().collect();
        assert!(matches!(&faults[..], [one] if one.contains("serialized")), "{faults:?}");
    }

    #[test]
    fn finds_the_loop_that_holds_the_mmas() {
        let sass = "\
.L_x_0:
        /*0000*/  IADD3 R0, R0, 0x1, RZ ;
        /*0010*/  @P0 BRA `(.L_x_0) ;
.L_x_1:
        /*0020*/  @!PT LDS RZ, [RZ] ;
        /*0030*/  @P2 LDGSTS.E.BYPASS.LTC128B.128 [R1], [R2.64] ;
        /*0040*/  LDSM.16.M88.4 R4, [R8] ;
        /*0050*/  LDSM.16.M88.2 R4, [R8] ;
        /*0060*/  HMMA.SP.16832.F32 R4, R4, R4, R4, R9, 0x1 ;
        /*0070*/  @!P1 BRA `(.L_x_2) ;
        /*0080*/  BRA `(.L_x_1) ;
.L_x_2:
        /*0090*/  EXIT ;
";
        let want = MainLoop {
            instructions: 7,
            mma: 1,
            sparse_mma: 1,
            ldgsts: (1, 1),
            ldsm: (2, 1),
            padding: 1,
            ..MainLoop::default()
        };
        assert_eq!(MainLoop::find(sass), Some(want));
        assert_eq!(MainLoop::find("/*0*/ BRA `(.L_x_0) ;"), None);
    }
}
