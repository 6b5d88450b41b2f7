//! The counts of `ptx/README.md`: every PTX kernel runs one fixed problem in the emulator, and what it
//! issues, how often it waits for a bank and how many bytes it moves is committed with it.
//!
//! The counts are exact, so `gen-kernels --check` shows a change of a kernel's efficiency in review,
//! without a GPU and without a clock. A bank conflict needs a reason (`codegen::conflicts`): one
//! without a reason is an error, and so is a reason without its conflict.

use crate::error::{Result, failed};
use quickpick_codegen::Conflict;
use quickpick_emulator::{Class, Global, LineCount, Program, Report};
use quickpick_kernels::{
    Access, ArgMax, Attention, Caps, CudaCaps, DType, Epilogue, Form, Gather, KERNELS, KernelSpec,
    Linear, OpKind, Order, Packing, Plan, Problem, Quantize, RmsNorm, Rotary, SpmmCsr, SwiGlu,
    Wgmma,
};
use std::fmt::Write;

/// A kernel, its problem and what the emulator counted.
struct Row {
    spec: &'static KernelSpec,
    plan: Plan,
    report: Report,
}

/// The section of the README.
pub fn section() -> Result<String> {
    let specs = KERNELS.iter().filter(|spec| spec.target.is_ptx());
    let rows: Vec<_> = specs.map(row).collect::<Result<_>>()?;
    let mut out = String::from(PREFACE);
    instructions(&mut out, &rows);
    memory(&mut out, &rows);
    conflicts(&mut out, &rows)?;
    Ok(out)
}

const PREFACE: &str = "
## Counts

What each kernel issues and moves for one problem, counted in the emulator: exact, so that a change
shows in review. Instructions are PTX's, once per warp; what ptxas makes of them is `cargo xtask sass`'s.
Of the tiled kernels the problem is one tile and a tile of k more than there are stages; of the skinny
ones two splits of k and five k-blocks for each warp; without bias, activation and residual. For one's own
problem: `cargo xtask emulate KERNEL --shape m,n,k --lines`.
";

fn row(spec: &'static KernelSpec) -> Result<Row> {
    let problem = problem(spec);
    // few multiprocessors: the skinny kernels split k in two
    let caps = Caps::Cuda(CudaCaps::least(spec, 1));
    let plan = match spec.plan(&problem, &caps) {
        Ok(plan) => plan,
        Err(why) => return failed(format!("{spec} {why}: no counts")),
    };
    // the text that will be committed, which may be newer than the one that is
    let text = quickpick_codegen::emit(spec).unwrap_or_default();
    match run(&plan, &text) {
        Ok(report) => Ok(Row { spec, plan, report }),
        Err(why) => failed(format!("{spec}: no counts: {why}")),
    }
}

/// The problem that a kernel is counted by.
fn problem(spec: &KernelSpec) -> Problem {
    let dtype = spec.dtype;
    let (n, d) = (2, 1024);
    let (heads, kv_heads, head_dim, max_seq) = (4, 2, 128, POSITION + n);
    match spec.op {
        OpKind::Linear(weights) => {
            let (m, n, k) = match spec.form {
                Form::Tiled { tile, stages, .. } | Form::Wgmma(Wgmma { tile, stages, .. }) => {
                    (tile.m, tile.n, tile.k * (stages + 1))
                }
                Form::Skinny { tile, warps, .. } => (tile.m, tile.n, tile.k * warps * 10),
                _ => (64, n, d),
            };
            let epilogue = Epilogue::NONE;
            Problem::Linear(Linear {
                m,
                n,
                k,
                weights,
                dtype,
                out: Linear::narrow_out(dtype),
                epilogue,
            })
        }
        OpKind::RmsNorm => Problem::RmsNorm(RmsNorm { n, d, eps: 1e-5, out: dtype }),
        OpKind::Rotary => {
            Problem::Rotary(Rotary { n, heads, kv_heads, head_dim, max_seq, cache: dtype })
        }
        OpKind::Attention => {
            let (cache, out) = (dtype, dtype);
            Problem::Attention(Attention { n, heads, kv_heads, head_dim, max_seq, cache, out })
        }
        OpKind::SwiGlu => Problem::SwiGlu(SwiGlu { n, d, out: dtype }),
        OpKind::Gather => Problem::Gather(Gather { n, d, vocab: 4, dtype }),
        OpKind::SpmmCsr => {
            Problem::SpmmCsr(SpmmCsr { m: 64, n, k: d, nnz: 0, dtype, residual: false })
        }
        OpKind::ArgMax => Problem::ArgMax(ArgMax { n, d }),
        OpKind::Quantize => Problem::Quantize(Quantize { n, d, dtype: DType::BF16, out: dtype }),
        // the order of the kernels for many tokens
        OpKind::Pack24 => Problem::Pack24(Packing { m: 64, k: d, dtype, order: Order::MmaSpSm80 }),
        OpKind::Unpack24 => {
            Problem::Unpack24(Packing { m: 64, k: d, dtype, order: Order::MmaSpSm80 })
        }
    }
}

/// Tokens before the first new one.
const POSITION: u32 = 254;

/// Runs a plan on data that no count depends on.
pub fn run(plan: &Plan, text: &str) -> std::result::Result<Report, String> {
    let program = Program::parse(text).map_err(|error| error.to_string())?;
    let mut memory = Global::default();
    let mut pointers = Vec::new();
    for binding in &plan.bindings {
        if !binding.is_present() {
            pointers.push(0);
            continue;
        }
        let mut bytes = vec![0; binding.bytes as usize];
        match binding.name {
            // columns 0 and 1 of every group
            "metadata" => bytes.fill(0x44),
            "pos" => bytes.copy_from_slice(&POSITION.to_le_bytes()),
            _ => {}
        }
        let read_only = binding.access == Access::Read;
        pointers.push(memory.put(binding.name, &bytes, read_only));
    }
    let launch = quickpick_launch::launch(plan, &pointers).map_err(|why| why.to_string())?;
    program.run(&launch, &mut memory).map_err(|trap| trap.to_string())
}

/// The problem of a row, in a few words.
fn shape(plan: &Plan) -> String {
    match plan.problem {
        Problem::Linear(Linear { m, n, k, .. }) => format!("m {m}, n {n}, k {k}"),
        Problem::RmsNorm(RmsNorm { n, d, .. }) | Problem::SwiGlu(SwiGlu { n, d, .. }) => {
            format!("n {n}, d {d}")
        }
        Problem::Gather(Gather { n, d, .. })
        | Problem::ArgMax(ArgMax { n, d })
        | Problem::Quantize(Quantize { n, d, .. }) => {
            format!("n {n}, d {d}")
        }
        Problem::SpmmCsr(SpmmCsr { m, n, k, nnz, .. }) => {
            format!("m {m}, n {n}, k {k}, {nnz} entries")
        }
        Problem::Pack24(Packing { m, k, order, .. })
        | Problem::Unpack24(Packing { m, k, order, .. }) => format!("m {m}, k {k}, {order}"),
        Problem::Rotary(Rotary { n, heads, kv_heads, head_dim, .. })
        | Problem::Attention(Attention { n, heads, kv_heads, head_dim, .. }) => {
            format!("n {n} from {POSITION}, {heads}/{kv_heads} heads of {head_dim}")
        }
    }
}

fn instructions(out: &mut String, rows: &[Row]) {
    out.push_str("\n### Instructions\n\n");
    let classes = Class::ALL.map(Class::name).join(" | ");
    let _ = writeln!(out, "| kernel | problem | all | {classes} | all per tensor |");
    let _ = writeln!(out, "|---|---|{}", "--:|".repeat(Class::ALL.len() + 2));
    for Row { spec, plan, report } in rows {
        let (all, tensor) = (report.instructions(), report.class(Class::Tensor));
        let classes = Class::ALL.map(|class| report.class(class).to_string()).join(" | ");
        let per = ratio(all, tensor);
        let _ = writeln!(out, "| `{spec}` | {} | {all} | {classes} | {per} |", shape(plan));
    }
    out.push_str("\n*barrier*: fences too. *copy*: with its commits and waits.\n");
}

fn memory(out: &mut String, rows: &[Row]) {
    out.push_str(
        "\n### Memory\n\n| kernel | global bytes read | written | sectors per request | \
         shared bytes read | written | bank conflicts |\n|---|--:|--:|--:|--:|--:|--:|\n",
    );
    for Row { spec, report, .. } in rows {
        let sum = report.total();
        let ([read, written], [shared_read, shared_written]) = (sum.global, sum.shared);
        let (sectors, conflicts) = (ratio(sum.sectors, report.global_requests()), sum.conflicts);
        let _ = writeln!(
            out,
            "| `{spec}` | {read} | {written} | {sectors} | {shared_read} | {shared_written} | \
             {conflicts} |"
        );
    }
    out.push_str(
        "\nA sector has 32 bytes. A conflict is a wavefront of shared memory beyond the fewest that \
         the access's size allows.\n",
    );
}

fn ratio(a: u64, b: u64) -> String {
    if b == 0 { "–".to_string() } else { format!("{:.2}", a as f64 / b as f64) }
}

/// Instructions that wait for a bank for one reason.
#[derive(Clone, Default)]
struct Waiting<'a> {
    /// The first one's text.
    first: &'a str,
    others: usize,
    conflicts: u64,
}

/// The instructions that wait for a bank, by reason; each has one, and each reason is needed.
fn conflicts(out: &mut String, rows: &[Row]) -> Result<()> {
    let mut table = String::new();
    let mut bad = Vec::new();
    for Row { spec, report, .. } in rows {
        let reasons = quickpick_codegen::conflicts(spec);
        let (found, unknown) = explain(report, reasons);
        for line in unknown {
            let LineCount { line, text, count, .. } = line;
            let conflicts = count.conflicts;
            bad.push(format!(
                "{spec}, line {line} `{text}`: {conflicts} bank conflicts, no reason"
            ));
        }
        for (Conflict { instruction, why }, Waiting { first, others, conflicts }) in
            reasons.iter().zip(found)
        {
            if conflicts == 0 {
                bad.push(format!("{spec}: `{instruction}` has a reason, but no bank conflict"));
            }
            let more = if others > 0 { format!(" and {others} like it") } else { String::new() };
            let _ = writeln!(table, "| `{spec}` | `{first}`{more} | {conflicts} | {why} |");
        }
    }
    if !bad.is_empty() {
        return failed(format!("{}\nreasons: `codegen::conflicts`", bad.join("\n")));
    }
    out.push_str("\n### Bank conflicts\n\n");
    match table.is_empty() {
        true => out.push_str("None.\n"),
        false => {
            out.push_str("| kernel | instruction | conflicts | why |\n|---|---|--:|---|\n");
            out.push_str(&table);
        }
    }
    Ok(())
}

/// What each reason explains, and the lines that none does.
fn explain<'a>(report: &'a Report, reasons: &[Conflict]) -> (Vec<Waiting<'a>>, Vec<&'a LineCount>) {
    let mut found = vec![Waiting::default(); reasons.len()];
    let mut unknown = Vec::new();
    for line in report.lines.iter().filter(|line| line.count.conflicts > 0) {
        match reasons.iter().position(|r| line.text.contains(r.instruction)) {
            None => unknown.push(line),
            Some(i) => {
                let waiting = &mut found[i];
                match waiting.first {
                    "" => waiting.first = &line.text,
                    _ => waiting.others += 1,
                }
                waiting.conflicts += line.count.conflicts;
            }
        }
    }
    (found, unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickpick_emulator::Launch;

    /// Lanes store words that are two apart, so that two meet in each bank.
    const STRIDED: &str = "\
.version 7.0
.target sm_80
.address_size 64

.visible .entry strided()
{
    .shared .align 16 .b8 words[256];
    .reg .b32 %at, %thread;
    mov.u32 %thread, %tid.x;
    mov.u32 %at, words;
    mad.lo.u32 %at, %thread, 8, %at;
    st.shared.b32 [%at], %thread;
    ret;
}
";

    #[test]
    fn a_conflict_needs_a_reason_and_a_reason_its_conflict() {
        let program = Program::parse(STRIDED).unwrap();
        let launch = Launch::new([1; 3], 32, vec![]);
        let report = program.run(&launch, &mut Global::default()).unwrap();
        let (_, unknown) = explain(&report, &[]);
        assert_eq!(unknown.len(), 1, "{unknown:?}");
        assert_eq!((unknown[0].line, unknown[0].count.conflicts), (12, 1));
        let reason = |instruction| Conflict { instruction, why: "for the test" };
        let (found, unknown) = explain(&report, &[reason("ld.shared"), reason("st.shared")]);
        assert_eq!((found[0].conflicts, found[1].conflicts, found[1].others), (0, 1, 0));
        assert!(unknown.is_empty() && found[1].first.starts_with("st.shared.b32"));
    }

    #[test]
    fn every_kernel_has_its_rows() {
        let section = section().unwrap();
        for spec in KERNELS.iter().filter(|spec| spec.target.is_ptx()) {
            assert!(section.matches(&format!("| `{spec}` |")).count() >= 2, "{spec}");
        }
    }
}
