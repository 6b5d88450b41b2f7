//! Runs a launch, traced if asked; a trap is shown in its text.

use crate::Failure;
use crate::args::{RunArgs, WarpAt};
use crate::trace::Trace;
use quickpick_emulator::{Fault, Global, Launch, Program, Report, Site, Trap};
use std::fmt::Write as _;
use std::io::Write;

/// Lines of text that are shown before and after one that matters.
const AROUND: usize = 5;

/// Runs a program by the options of the command line.
pub fn run(
    program: &Program,
    text: &str,
    (launch, memory): (&Launch, &mut Global),
    args: &RunArgs,
    out: &mut dyn Write,
) -> Result<Report, Failure> {
    writeln!(out, "schedule  {:?}", args.schedule)?;
    let options = args.options();
    let done = match args.trace {
        None => program.run_with(launch, memory, &options),
        Some(at) => {
            exists(at, launch)?;
            let mut trace = Trace::new(at, out);
            let done = program.trace(launch, memory, &options, &mut |event| trace.event(event));
            trace.end()?;
            done
        }
    };
    out.flush()?;
    done.map_err(|trap| Failure::Said(told(&trap, text)))
}

fn exists(WarpAt { block, warp }: WarpAt, launch: &Launch) -> Result<(), String> {
    let warps = launch.block.iter().map(|t| u64::from(*t)).product::<u64>().div_ceil(32);
    let inside = block.iter().zip(launch.grid).all(|(at, size)| *at < size);
    if inside && u64::from(warp) < warps {
        return Ok(());
    }
    let [x, y, z] = launch.grid;
    Err(format!("--trace: the grid has {x}×{y}×{z} blocks of {warps} warps, counted from 0"))
}

/// A trap with the lines around it, and around the other instruction that it names.
fn told(trap: &Trap, text: &str) -> String {
    if let Fault::Launch(why) = &trap.fault {
        return format!("the launch: {why}");
    }
    let mut told = format!("trap: {trap}\n");
    surroundings(&mut told, text, &trap.site);
    let other = match &trap.fault {
        Fault::Race { other, .. } | Fault::Unfenced { other, .. } => Some(other),
        Fault::InFlight { operation, .. }
        | Fault::Owned { operation, .. }
        | Fault::Unwaited { operation } => Some(operation),
        _ => None,
    };
    if let Some(other) = other.filter(|other| other.line != trap.site.line) {
        told.push_str("the other:\n");
        surroundings(&mut told, text, other);
    }
    told.trim_end().to_owned()
}

fn surroundings(told: &mut String, text: &str, site: &Site) {
    if site.line == 0 {
        return; // the end of the kernel has no line
    }
    let first = site.line.saturating_sub(AROUND).max(1);
    for (number, line) in
        (1..).zip(text.lines()).skip(first - 1).take(site.line + AROUND + 1 - first)
    {
        let marker = if number == site.line { '>' } else { ' ' };
        let _ = writeln!(told, "{marker} {number:>5} | {line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RACE: &str = "\
.version 7.0
.target sm_80
.address_size 64

.visible .entry race()
{
    .shared .align 16 .b8 word[4];
    .reg .b32 %at, %thread, %other;
    mov.u32 %thread, %tid.x;
    mov.u32 %at, word;
    st.shared.b32 [%at], %thread;
    mov.u32 %thread, 7;
    mov.u32 %thread, 8;
    mov.u32 %thread, 9;
    ld.shared.b32 %other, [%at];
    ret;
}
";

    #[test]
    fn a_trap_is_shown_with_both_places() {
        let program = Program::parse(RACE).unwrap();
        let launch = Launch::new([1; 3], 64, vec![]);
        let trap = program.run(&launch, &mut Global::default()).unwrap_err();
        let told = told(&trap, RACE);
        let marked: Vec<_> = told.lines().filter(|l| l.starts_with("> ")).collect();
        assert!(marked[0].contains("[%at]"), "{told}");
        assert!(
            told.contains("races") && told.contains("   10 |     mov.u32 %at, word;"),
            "{told}"
        );
    }

    #[test]
    fn lines_at_the_edges_are_shown() {
        let text = "a\nb\nc\n";
        for line in [1, 3, 9] {
            let mut told = String::new();
            surroundings(&mut told, text, &Site { line, text: String::new() });
            assert_eq!(told.matches('>').count(), usize::from(line < 4), "{told}");
        }
    }

    #[test]
    fn a_warp_that_is_not_there_is_refused() {
        let launch = Launch::new([2, 1, 1], 40, vec![]);
        let at = |x, warp| WarpAt { block: [x, 0, 0], warp };
        assert!(exists(at(1, 1), &launch).is_ok());
        assert!(exists(at(2, 0), &launch).unwrap_err().contains("2×1×1 blocks of 2 warps"));
        assert!(exists(at(0, 2), &launch).is_err());
    }
}
