//! A kernel of ours on a problem with random data, against the f64 oracle.

use crate::Failure;
use crate::args::Args;
use crate::problem::{asked, kernel, kernel_of, numbers};
use crate::run;
use crate::value::{row, short};
use quickpick::Backend;
use quickpick::kernels::{Access, KernelSpec, Plan};
use quickpick_emulator::{Global, Program};
use quickpick_launch::launch;
use quickpick_tests::case::pack;
use quickpick_tests::check::compare;
use quickpick_tests::data::decode;
use quickpick_tests::emulated::Emulated;
use quickpick_tests::{Case, Expected, Operand};
use std::fs;
use std::io::Write;
use std::path::Path;

/// Bytes of all operands; more would take the emulator hours.
const MOST: u64 = 1 << 30;
/// Values that are shown of each result.
const SHOWN: usize = 8;

/// What a kernel without a shape is told.
pub fn missing_shape(name: &str) -> String {
    match kernel(name) {
        Ok(spec) => format!("{spec} needs --shape {}", numbers(spec)),
        Err(why) => why,
    }
}

/// Runs the committed text, or the file's, of a kernel of the table.
pub fn run(
    args: &Args,
    file: Option<&Path>,
    shape: &[u32],
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let spec = file.map_or_else(|| kernel(&args.what), kernel_of)?;
    let asked = asked(spec, shape, &args.problem)?;
    // the device of the emulator's rung, so that what is planned here is what is tested there
    let caps = Emulated::least(spec, args.run.schedule).caps().clone();
    let plan = spec.plan(&asked.problem, &caps).map_err(|why| format!("{spec}: {why}"))?;
    let bytes: u64 = plan.bindings.iter().map(|b| b.bytes).sum();
    if bytes > MOST {
        let why = format!("the operands have {bytes} bytes; more than {MOST} take too long here");
        return Err(why.into());
    }
    let text = match file {
        Some(path) => fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?,
        None => spec.text().ok_or_else(|| format!("{spec} has no text"))?.to_owned(),
    };
    let program = Program::parse(&text).map_err(|why| format!("{}: {why}", args.what))?;

    writeln!(out, "plan      {plan}\nproblem   {}", plan.problem)?;
    let case = asked.case(args.problem.seed);
    let mut memory = Global::default();
    let pointers = operands(&plan, &case, &mut memory)?;
    let launch = launch(&plan, &pointers).map_err(|why| why.to_string())?;
    describe(&plan, out)?;
    let report = run::run(&program, &text, (&launch, &mut memory), &args.run, out)?;
    let judged = judge(&plan, &case, &pointers, &memory, out)?;
    crate::report::write(&report, args.run.lines, out)?;
    if judged.is_empty() { Ok(()) } else { Err(judged.join("\n").into()) }
}

/// The operand of a binding; the metadata come with the values.
fn operand<'a>(case: &'a Case, binding: &str) -> Option<&'a Operand> {
    let name = if binding == "metadata" { "values" } else { binding };
    case.operands.iter().find(|(n, _)| *n == name).map(|(_, operand)| operand)
}

/// Puts every operand where the kernel finds it: its own bytes, and not one more.
fn operands(plan: &Plan, case: &Case, memory: &mut Global) -> Result<Vec<u64>, String> {
    let order = |spec: &KernelSpec| spec.order().ok_or(format!("{spec} has no weight order"));
    let mut pointers = Vec::new();
    for binding in plan.bindings.iter() {
        let (name, len) = (binding.name, binding.bytes as usize);
        let read_only = binding.access == Access::Read;
        pointers.push(match operand(case, name) {
            _ if !binding.is_present() => 0,
            // the workspace: zeroed once, as its contract says
            None => memory.put(name, &vec![0; len], read_only),
            Some(Operand::Input(bytes)) => memory.put(name, bytes, read_only),
            Some(Operand::Sparse(w, rows, cols)) => {
                let (values, metadata) = pack(w, *rows, *cols, order(plan.spec)?);
                let bytes = if name == "metadata" { metadata } else { values };
                memory.put(name, &bytes, read_only)
            }
            Some(Operand::Output(..)) if binding.access == Access::Write => {
                memory.poisoned(name, len)
            }
            // written in part: the rest must stay as it is
            Some(Operand::Output(..)) => memory.put(name, &vec![0xFF; len], read_only),
        });
    }
    Ok(pointers)
}

fn describe(plan: &Plan, out: &mut dyn Write) -> Result<(), Failure> {
    let present = plan.bindings.iter().filter(|b| b.is_present());
    let operands: Vec<_> = present.map(|b| format!("{} {} B", b.name, b.bytes)).collect();
    let params: Vec<_> = plan.params.iter().map(|p| format!("{p:#x}")).collect();
    writeln!(out, "operands  {}\nparams    {}", operands.join(", "), params.join(" "))?;
    Ok(())
}

/// Shows the first values of each result and its error; returns what is wrong.
fn judge(
    plan: &Plan,
    case: &Case,
    pointers: &[u64],
    memory: &Global,
    out: &mut dyn Write,
) -> Result<Vec<String>, Failure> {
    let mut wrong = Vec::new();
    for (binding, at) in plan.bindings.iter().zip(pointers) {
        let name = binding.name;
        let Some(Operand::Output(dtype, expected)) = operand(case, name) else { continue };
        let Some((bytes, written)) = memory.get(*at) else { continue };
        let cells: Vec<_> = bytes.chunks_exact(dtype.bytes()).collect();
        let first =
            expected.iter().position(|e| !matches!(e, Expected::Untouched)).unwrap_or_default();
        let shown = cells.iter().skip(first).take(SHOWN).map(|cell| decode(*dtype, cell));
        let wanted = expected.iter().skip(first).take(SHOWN).map(|e| match e {
            Expected::Near(value, _) => short(*value),
            Expected::Nan => "NaN".into(),
            Expected::Untouched => "untouched".into(),
        });
        writeln!(out, "{name:<9} {}", row(format!("[{first}..]"), shown.map(short)))?;
        writeln!(out, "{:<9} {}", "oracle", row(format!("[{first}..]"), wanted))?;
        if let Some(gap) = written.iter().position(|w| !w) {
            wrong.push(format!("{name}: nothing wrote byte {gap} of {}", written.len()));
            continue;
        }
        match compare(bytes, *dtype, expected) {
            Ok(found) => {
                let share = found.largest;
                let n = expected.len();
                writeln!(out, "error     {share:.3} of the derived bound, the most of {n} values")?;
            }
            Err(why) => wrong.push(format!("{name}: {why}")),
        }
    }
    Ok(wrong)
}
