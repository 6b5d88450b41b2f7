//! What a device answered, as a file: text, one form per file, the same bytes for the same answers.
//!
//! ```text
//! quickpick vectors 1
//! form mma_sp_m16n8k32_f16
//! device NVIDIA H200 (compute capability 9.0, ...)
//! driver 580.65.06
//! date 2026-11-24
//! revision 8bbd192
//!
//! sweep one-hot-a/digit0/selector0 trials 256 inputs 0123456789abcdef reference zero
//! 0 0+1*4:1+16 32+1*4:9+16
//! ...
//! end
//! ```
//!
//! A line of a sweep is a trial's number, or the first and last (`4-7`) of several that gave the same,
//! and the words of D that differ from the reference: zeros, or another trial's D. A trial that is not
//! listed gave the reference. `inputs` is the digest of the inputs, which are not stored. The sweep
//! `all-codes` may hold `3 error ...` lines.

use super::forms::{Form, form};
use super::runs::{self, Numbers};
use super::sweep::{Sweep, all_codes, sweeps};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// How a file's name ends.
pub const EXTENSION: &str = "vec";

const FIRST_LINE: &str = "quickpick vectors 1";

/// Who was asked, when, and by which code; the caller says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The driver's version.
    pub driver: String,
    /// The day.
    pub date: String,
    /// The git revision.
    pub revision: String,
}

/// The answers to a sweep: one D per trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The sweep.
    pub sweep: Sweep,
    /// The digest of its inputs when it was recorded.
    pub inputs: u64,
    /// D of each trial, or for `all-codes` the device's error.
    pub answers: Vec<Result<Vec<u32>, String>>,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The form.
    pub form: &'static Form,
    /// The device.
    pub device: String,
    /// Who, when, which code.
    pub header: Header,
    /// The sweeps; `all-codes` last, if it was recorded.
    pub sweeps: Vec<Recorded>,
}

/// The path of a form's file in a folder.
pub fn path(folder: &Path, form: &Form) -> PathBuf {
    folder.join(format!("{}.{EXTENSION}", form.name))
}

/// How a form's D is numbers.
pub fn numbers(form: &Form) -> Numbers {
    if form.element.accumulator() == "s32" { Numbers::S32 } else { Numbers::F32 }
}

/// The text of a file.
pub fn write(file: &File) -> String {
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let Header { driver, date, revision } = &file.header;
    let mut out = format!("{FIRST_LINE}\nform {}\n", file.form.name);
    for (key, value) in
        [("device", &file.device), ("driver", driver), ("date", date), ("revision", revision)]
    {
        // writing to a String cannot fail
        let _ = writeln!(out, "{key} {}", one_line(value));
    }
    let numbers = numbers(file.form);
    for Recorded { sweep, inputs, answers } in &file.sweeps {
        let (name, reference) = reference(answers, file.form.d_words());
        let trials = answers.len();
        let _ =
            writeln!(out, "\nsweep {sweep} trials {trials} inputs {inputs:016x} reference {name}");
        let zero = vec![0; reference.len()];
        let said = |trial: usize| match &answers[trial] {
            Err(why) => format!(" error {}", one_line(why)),
            Ok(d) if name == trial.to_string() => format!(" {}", runs::write(d, &zero, numbers)),
            Ok(d) => match runs::write(d, &reference, numbers) {
                runs if runs.is_empty() => runs,
                runs => format!(" {runs}"),
            },
        };
        let lines: Vec<String> = (0..trials).map(said).collect();
        let mut first = 0;
        for alike in lines.chunk_by(|a, b| a == b) {
            let (last, line) = (first + alike.len() - 1, alike[0].trim_end());
            let _ = match (alike[0].is_empty(), first == last) {
                (true, _) => Ok(()), // the reference
                (_, true) => writeln!(out, "{first}{line}"),
                (_, false) => writeln!(out, "{first}-{last}{line}"),
            };
            first = last + 1;
        }
    }
    out + "end\n"
}

/// Zeros, or the first trial's D, whichever more words of D are equal to.
fn reference(answers: &[Result<Vec<u32>, String>], words: usize) -> (String, Vec<u32>) {
    let zero = vec![0; words];
    let answered: Vec<(usize, &Vec<u32>)> =
        answers.iter().enumerate().filter_map(|(i, a)| Some((i, a.as_ref().ok()?))).collect();
    let Some(&(first, d)) = answered.first() else { return ("zero".into(), zero) };
    let differing = |from: &[u32]| -> usize {
        answered.iter().map(|(_, d)| d.iter().zip(from).filter(|(a, b)| a != b).count()).sum()
    };
    // the reference itself is written against zeros
    let from_first = differing(d) + d.iter().filter(|w| **w != 0).count();
    if from_first < differing(&zero) {
        (first.to_string(), d.clone())
    } else {
        ("zero".into(), zero)
    }
}

/// Reads a file's text. Errors name the line, and say what is wrong there.
pub fn read(text: &str) -> Result<File, String> {
    let mut lines =
        text.lines().enumerate().map(|(i, l)| (i + 1, l)).filter(|(_, l)| !l.is_empty());
    let mut next = |what: &str| lines.next().ok_or_else(|| format!("the file ends before {what}"));
    let fault = |line: usize, why: String| format!("line {line}: {why}");
    let (line, first) = next("its first line")?;
    if first != FIRST_LINE {
        return Err(fault(line, format!("`{FIRST_LINE}` is wanted, not `{first}`")));
    }
    let mut field = |key: &str| -> Result<(usize, String), String> {
        let (line, text) = next(key)?;
        let value = text.strip_prefix(key).filter(|v| v.is_empty() || v.starts_with(' '));
        let value = value.ok_or_else(|| fault(line, format!("`{key}` is wanted, not `{text}`")))?;
        Ok((line, value.trim().to_string()))
    };
    let (line, name) = field("form")?;
    let form = form(&name).map_err(|why| fault(line, why))?;
    let (_, device) = field("device")?;
    let header = Header {
        driver: field("driver")?.1,
        date: field("date")?.1,
        revision: field("revision")?.1,
    };
    let known: Vec<Sweep> = sweeps(form).into_iter().chain(all_codes(form)).collect();
    let mut file = File { form, device, header, sweeps: Vec::new() };
    let mut open: Option<Open> = None;
    loop {
        let (line, text) = next("`end`")?;
        if text == "end" || text.starts_with("sweep ") {
            if let Some(done) = open.take() {
                file.sweeps.push(done.close().map_err(|why| fault(line, why))?);
            }
            if text == "end" {
                break;
            }
            let next = Open::begin(text, form, &known).map_err(|why| fault(line, why))?;
            if file.sweeps.iter().any(|s| s.sweep == next.sweep) {
                return Err(fault(line, format!("sweep {} stands twice", next.sweep)));
            }
            open = Some(next);
        } else {
            let open =
                open.as_mut().ok_or_else(|| fault(line, "a trial before any sweep".into()))?;
            open.trial(text).map_err(|why| fault(line, why))?;
        }
    }
    match next("") {
        Err(_) => Ok(file),
        Ok((line, _)) => Err(fault(line, "nothing may follow `end`".into())),
    }
}

/// A sweep whose trials are being read.
struct Open {
    sweep: Sweep,
    inputs: u64,
    /// The number of the trial that is the reference; `None` for zeros.
    reference: Option<usize>,
    /// What each line said; an unlisted trial's is `None`.
    lines: Vec<Option<Result<String, String>>>,
}

impl Open {
    fn begin(text: &str, form: &Form, known: &[Sweep]) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let ["sweep", label, "trials", trials, "inputs", inputs, "reference", reference] =
            words[..]
        else {
            return Err("`sweep LABEL trials N inputs DIGEST reference zero|N` is wanted".into());
        };
        let sweep = known.iter().find(|s| s.to_string() == label);
        let sweep = *sweep.ok_or_else(|| format!("{} has no sweep {label}", form.name))?;
        if trials != sweep.trials().to_string() {
            return Err(format!("{label} has {} trials, not {trials}", sweep.trials()));
        }
        let inputs = u64::from_str_radix(inputs, 16).map_err(|_| "the digest is no number")?;
        let lines = vec![None; sweep.trials()];
        let reference = match reference {
            "zero" => None,
            number => match number.parse() {
                Ok(trial) if trial < lines.len() => Some(trial),
                _ => return Err(format!("reference {number} is no trial of {label}")),
            },
        };
        Ok(Self { sweep, inputs, reference, lines })
    }

    fn trial(&mut self, text: &str) -> Result<(), String> {
        let (number, rest) = text.split_once(' ').unwrap_or((text, ""));
        let (first, last) = number.split_once('-').unwrap_or((number, number));
        let range = first.parse::<usize>().ok().zip(last.parse::<usize>().ok());
        let slots = range.and_then(|(a, b)| self.lines.get_mut(a..=b)).filter(|s| !s.is_empty());
        let slots = slots.ok_or_else(|| format!("`{number}` is no trial of {}", self.sweep))?;
        let said = match rest.strip_prefix("error") {
            Some(why) => Err(why.trim().to_string()),
            None => Ok(rest.to_string()),
        };
        // a fault in the line is to be told with the line
        if let Ok(runs) = &said {
            let form = self.sweep.form;
            runs::read(runs, &vec![0; form.d_words()], numbers(form))?;
        }
        if slots.iter().any(Option::is_some) {
            return Err(format!("trial {number} stands twice"));
        }
        slots.fill(Some(said));
        Ok(())
    }

    fn close(self) -> Result<Recorded, String> {
        let Self { sweep, inputs, reference, lines } = self;
        let numbers = numbers(sweep.form);
        let zero = vec![0; sweep.form.d_words()];
        let base = match reference.map(|trial| (trial, &lines[trial])) {
            None => zero.clone(),
            Some((_, Some(Ok(runs)))) => runs::read(runs, &zero, numbers)?,
            Some((trial, _)) => {
                return Err(format!("{sweep}: trial {trial} is the reference and not there"));
            }
        };
        let answer = |(trial, line): (usize, Option<Result<String, String>>)| match line {
            _ if reference == Some(trial) => Ok(Ok(base.clone())),
            None => Ok(Ok(base.clone())),
            Some(Err(why)) => Ok(Err(why)),
            Some(Ok(runs)) => runs::read(&runs, &base, numbers).map(Ok),
        };
        let answers = lines.into_iter().enumerate().map(answer).collect::<Result<_, String>>()?;
        Ok(Recorded { sweep, inputs, answers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> File {
        let form = form("mma_sp_m16n8k8_tf32").unwrap();
        let answers = |sweep: Sweep| {
            let d = |trial: usize| (0..form.d_words()).map(move |i| ((i * trial) as f32).to_bits());
            (0..sweep.trials()).map(|t| Ok(d(t % 3).collect())).collect()
        };
        let recorded = |sweep: Sweep| Recorded { sweep, inputs: 7, answers: answers(sweep) };
        let mut list: Vec<Recorded> = sweeps(form).into_iter().map(recorded).collect();
        let mut last = recorded(all_codes(form).unwrap());
        last.answers[0] = Err("CUDA_ERROR_X: no\nsuch thing".into());
        list.push(last);
        let header = Header { driver: "1.2".into(), date: "today".into(), revision: String::new() };
        File { form, device: "a device".into(), header, sweeps: list }
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut file = sample();
        let text = write(&file);
        file.sweeps.last_mut().unwrap().answers[0] = Err("CUDA_ERROR_X: no such thing".into());
        assert_eq!(read(&text), Ok(file));
    }

    #[test]
    fn damage_is_named_with_its_line() {
        let text = write(&sample());
        let said = |from: &str, to: &str| read(&text.replacen(from, to, 1)).unwrap_err();
        assert!(
            said("vectors 1", "vectors 2").starts_with("line 1: `quickpick vectors 1` is wanted")
        );
        assert!(said("form mma", "form nma").starts_with("line 2: no form is called nma_sp_"));
        assert_eq!(said("\ndate", "\nday"), "line 5: `date` is wanted, not `day today`");
        assert_eq!(
            said("one-hot-a", "two-hot"),
            "line 8: mma_sp_m16n8k8_tf32 has no sweep two-hot/digit0/selector0"
        );
        assert!(said("trials 64", "trials 63").ends_with("has 64 trials, not 63"));
        assert_eq!(said("\nend\n", "\n"), "the file ends before `end`");
        assert_eq!(said("\n1 ", "\n1 999:1 "), "line 9: word 999 of D, which has 128");
        assert_eq!(read(&(text.clone() + "more\n")).unwrap_err().split(": ").nth(1), {
            Some("nothing may follow `end`")
        });
        // a cut at any line is found
        let lines: Vec<&str> = text.lines().collect();
        for cut in 0..lines.len() {
            assert!(read(&lines[..cut].join("\n")).is_err(), "cut at {cut}");
        }
    }
}
