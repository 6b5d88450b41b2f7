//! What a run counted, in words and, line by line, as a table.

use quickpick_emulator::{Class, LineCount, Report};
use std::io::{self, Write};

/// Writes the totals, and the lines that ran if asked.
pub fn write(report: &Report, lines: bool, out: &mut dyn Write) -> io::Result<()> {
    let (all, tensor) = (report.instructions(), report.class(Class::Tensor));
    writeln!(out, "\ncounts, of all warps")?;
    let per = match tensor {
        0 => String::new(),
        _ => format!(", {:.2} for each of {tensor} tensor operations", all as f64 / tensor as f64),
    };
    writeln!(out, "  instructions    {all}{per}")?;
    for class in Class::ALL {
        let issued = report.class(class);
        if issued > 0 {
            let note = if class == Class::Barrier { " (fences too)" } else { "" };
            writeln!(out, "    {:<13} {issued}{note}", class.name())?;
        }
    }
    let sum = report.total();
    let ([read, written], [shared_read, shared_written]) = (sum.global, sum.shared);
    let (sectors, requests) = (sum.sectors, report.global_requests());
    writeln!(out, "  global memory   {read} B read, {written} B written")?;
    if requests > 0 {
        let per = sectors as f64 / requests as f64;
        writeln!(out, "    {sectors} sectors of 32 B in {requests} requests: {per:.2} each")?;
    }
    writeln!(out, "  shared memory   {shared_read} B read, {shared_written} B written")?;
    writeln!(out, "    bank conflicts: {} wavefronts too many", sum.conflicts)?;
    if lines { table(report, out) } else { Ok(()) }
}

fn table(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "\n  line   issued requests conflicts  sectors  global B  shared B  instruction"
    )?;
    for LineCount { line, text, count, .. } in report.lines.iter().filter(|l| l.count.issued > 0) {
        let (global, shared) =
            (count.global[0] + count.global[1], count.shared[0] + count.shared[1]);
        let cells = [count.requests, count.conflicts, count.sectors, global, shared];
        // what is nothing is left blank, so that what is something is seen
        let [requests, conflicts, sectors, global, shared] =
            cells.map(|n| if n == 0 { String::new() } else { n.to_string() });
        writeln!(
            out,
            "{line:>6} {:>8} {requests:>8} {conflicts:>9} {sectors:>8} {global:>9} {shared:>9}  {text}",
            count.issued
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickpick_emulator::{Global, Launch, Program};

    #[test]
    fn counts_are_told_and_only_lines_that_ran() {
        let text = ".version 7.0\n.target sm_80\n.address_size 64\n\n.visible .entry f()\n{\n    \
                    .reg .b32 %a;\n    mov.b32 %a, 1;\n    ret;\n    mov.b32 %a, 2;\n    ret;\n}\n";
        let program = Program::parse(text).unwrap();
        let launch = Launch::new([1; 3], 64, vec![]);
        let report = program.run(&launch, &mut Global::default()).unwrap();
        let mut out = Vec::new();
        write(&report, true, &mut out).unwrap();
        let told = String::from_utf8(out).unwrap();
        assert!(
            told.contains("instructions    4\n") && told.contains("integer       2\n"),
            "{told}"
        );
        assert!(told.contains("mov.b32 %a, 1;") && !told.contains("mov.b32 %a, 2;"), "{told}");
        assert!(!told.contains("tensor"), "{told}");
    }
}
