//! The proof that needs no GPU: the emulator against the closed form, and record, read, replay with
//! devices that stand in for one.

use crate::closed_form::ClosedForm;
use quickpick_tests::vectors::{
    Device, Emulated, End, FORMS, Failure, File, Form, Header, Inputs, Kind, Outcome, Probe, codes,
    file, form, record, record_form, replay, sweeps,
};
use std::path::{Path, PathBuf};

/// A folder that goes with its owner.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("quickpick-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    fn read(&self, form: &Form) -> File {
        let path = file::path(&self.0, form);
        let text = std::fs::read_to_string(&path).expect("the form has a file");
        file::read(&text).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn header() -> Header {
    Header { driver: "none".into(), date: "2026-11-24".into(), revision: "test".into() }
}

fn record_quietly(device: &dyn Device, folder: &Path) -> Vec<Outcome> {
    record(device, &header(), folder, &mut |_| {})
}

/// A device with a fault: what goes into another one, or comes out of it, is changed.
struct Faulty<F> {
    change: F,
}

impl<F: Fn(&Form, &mut Inputs)> Device for Faulty<F> {
    fn name(&self) -> String {
        "a faulty closed form".into()
    }

    fn run(&self, probe: &Probe, trials: &[Inputs]) -> Result<Vec<Vec<u32>>, Failure> {
        let mut trials = trials.to_vec();
        trials.iter_mut().for_each(|inputs| (self.change)(probe.form, inputs));
        ClosedForm.run(probe, &trials)
    }
}

/// The emulator parses the probes of the forms that it knows, and gives what the formulas give.
#[test]
fn the_emulator_agrees_with_the_closed_form() {
    let mut known = Vec::new();
    for form in FORMS {
        for sweep in sweeps(form) {
            let probe = Probe::new(form, sweep.selector);
            let trials: Vec<_> = (0..sweep.trials()).map(|trial| sweep.inputs(trial)).collect();
            let got = match Emulated.run(&probe, &trials) {
                Ok(got) => got,
                Err(Failure::Unsupported(why)) => {
                    eprintln!("skipped: {why}");
                    break;
                }
                Err(Failure::Failed(why)) => panic!("{}: {sweep}: {why}", form.name),
            };
            let want = ClosedForm.run(&probe, &trials).expect("the inputs are legal");
            for (trial, (got, want)) in got.iter().zip(&want).enumerate() {
                assert_eq!(got, want, "{}: {sweep}, trial {trial}", form.name);
            }
            if !known.contains(&form.name) {
                known.push(form.name);
            }
        }
    }
    // these are what our kernels are made of
    for name in
        ["mma_m16n8k16_f16", "mma_m16n8k16_bf16", "mma_sp_m16n8k32_f16", "mma_sp_m16n8k32_bf16"]
    {
        assert!(known.contains(&name), "the emulator does not know {name}, only {known:?}");
    }
}

#[test]
fn what_the_emulator_records_it_replays() {
    let folder = Folder::new("emulated");
    let outcomes = record_quietly(&Emulated, &folder.0);
    let of = |name: &str| outcomes.iter().filter(|o| o.form == name).collect::<Vec<_>>();
    for form in FORMS {
        match &of(form.name)[..] {
            [Outcome { end: End::Skipped(why), .. }] => {
                assert!(why.starts_with(form.name), "{why}");
                assert!(!file::path(&folder.0, form).exists());
            }
            [Outcome { end: End::Recorded { .. }, .. }, ..] => {
                let differences = replay(&folder.read(form), &Emulated).expect("a replay");
                assert_eq!(differences, [], "{}", form.name);
            }
            other => panic!("{}: {other:?}", form.name),
        }
    }
    // six codes are ordered pairs; at the others the emulator traps, and the file says so
    let sparse = &of("mma_sp_m16n8k32_f16")[..];
    assert!(matches!(sparse, [_, Outcome { end: End::Codes { answered: 6 }, .. }]), "{sparse:?}");
    let lines = codes(&folder.read(form("mma_sp_m16n8k32_f16").unwrap())).unwrap();
    assert!(lines[0].starts_with("code 0x0 (undefined): error: metadata of row 0"), "{}", lines[0]);
    assert_eq!(lines[4], "code 0x4 (legal): 0 words of D differ from code 0x4's");
}

/// All forms together, recorded by the closed form: the size that a GPU's files will have.
#[test]
fn every_form_is_recorded_and_all_files_are_small() {
    let (first, second) = (Folder::new("closed-1"), Folder::new("closed-2"));
    let outcomes = record_quietly(&ClosedForm, &first.0);
    record_quietly(&ClosedForm, &second.0);
    outcomes.iter().for_each(|outcome| println!("{outcome}"));
    let mut total = 0;
    for form in FORMS {
        let [one, two] = [&first, &second].map(|f| std::fs::read(file::path(&f.0, form)).unwrap());
        assert!(one == two, "{}: two recordings differ", form.name);
        total += one.len();
        assert_eq!(replay(&first.read(form), &ClosedForm), Ok(vec![]), "{}", form.name);
    }
    println!("{} forms, {total} bytes", FORMS.len());
    assert!(total < 1_500_000, "{total} bytes are too many to commit");
}

#[test]
fn one_form_is_recorded_by_its_name() {
    let folder = Folder::new("single");
    let mut seen = 0;
    let mut count = |_: &Outcome| seen += 1;
    let name = "mma_sp_m16n8k16_tf32";
    let outcomes = record_form(&ClosedForm, &header(), &folder.0, name, &mut count).unwrap();
    assert_eq!((outcomes.len(), seen), (2, 2));
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 1);
    let unknown = record_form(&ClosedForm, &header(), &folder.0, "mma_m1n1k1", &mut |_| {});
    assert!(unknown.unwrap_err().starts_with("no form is called mma_m1n1k1; there are mma_m16"));
}

/// A device that fails at the first undefined code, and from then on: what was recorded stays.
#[test]
fn a_lost_device_loses_no_form() {
    struct Fragile(std::cell::Cell<bool>);
    impl Device for Fragile {
        fn name(&self) -> String {
            "fragile".into()
        }
        fn run(&self, probe: &Probe, trials: &[Inputs]) -> Result<Vec<Vec<u32>>, Failure> {
            let answer = ClosedForm.run(probe, trials);
            self.0.set(self.0.get() || answer.is_err());
            if self.0.get() { Err(Failure::Failed("sticky".into())) } else { answer }
        }
    }
    let folder = Folder::new("fragile");
    let outcomes = record_quietly(&Fragile(false.into()), &folder.0);
    assert!(!outcomes.iter().any(|o| matches!(o.end, End::Failed(_) | End::Skipped(_))));
    for form in FORMS {
        assert_eq!(replay(&folder.read(form), &ClosedForm), Ok(vec![]), "{}", form.name);
    }
    // the first sparse form has its legal codes, the next has none
    let answered: Vec<usize> = outcomes
        .iter()
        .filter_map(|o| if let End::Codes { answered } = o.end { Some(answered) } else { None })
        .collect();
    assert_eq!(answered[..2], [6, 0]);
}

#[test]
fn a_corrupted_file_is_caught() {
    let folder = Folder::new("corrupted");
    let form = form("mma_sp_m16n8k32_f16").unwrap();
    record_form(&Emulated, &header(), &folder.0, form.name, &mut |_| {}).unwrap();
    let text = std::fs::read_to_string(file::path(&folder.0, form)).unwrap();
    // one number of one trial
    let line = text.lines().find(|line| line.starts_with("100 ")).expect("a hundredth trial");
    let (before, value) = line.rsplit_once(':').unwrap();
    let damaged = text.replacen(line, &format!("{before}:9{value}"), 1);
    let differences = replay(&file::read(&damaged).unwrap(), &Emulated).unwrap();
    let said: Vec<String> = differences.iter().map(ToString::to_string).collect();
    assert!(!said.is_empty() && said.len() <= 4, "{said:?}");
    assert!(said[0].contains("trial 100: D register"), "{}", said[0]);
    // a sweep that is gone, and inputs that are not today's
    let cut = text.find("\nsweep random").unwrap()..text.find("\nsweep accumulate").unwrap();
    let mut short = text.clone();
    short.replace_range(cut, "");
    let why = replay(&file::read(&short).unwrap(), &Emulated).unwrap_err().to_string();
    assert!(why.ends_with("random/selector0: the file lacks this sweep"), "{why}");
    let stale = text.replacen("inputs ", "inputs f", 1).replacen("inputs f", "inputs ", 0);
    let stale = {
        let at = stale.find("inputs f").unwrap() + 8;
        stale[..at].to_string() + &stale[at + 1..]
    };
    let why = replay(&file::read(&stale).unwrap(), &Emulated).map(|_| ()).unwrap_err();
    assert!(why.to_string().ends_with("record it anew"), "{why}");
}

/// Each wrong map of an operand shows in the sweep that is for it, in every form that has the operand.
#[test]
fn a_swapped_map_is_caught_in_every_form() {
    /// Exchanges two words of an operand, or two halves of its words.
    type Change = fn(&Form, &mut Inputs);
    let lanes = |words: &mut Vec<u32>| words.swap(1, 2);
    let faults: &[(&str, Change, fn(Kind) -> bool)] = &[
        (
            "lanes 1 and 2 of A",
            |_, i| i.a.swap(1, 2),
            |k| matches!(k, Kind::OneHotA { .. } | Kind::OneHotB { .. }),
        ),
        (
            "registers 0 and 1 of A",
            |form, i| {
                let lane = form.lanes().min(i.a.len() / 2);
                i.a.swap(0, lane);
            },
            |k| matches!(k, Kind::OneHotA { .. } | Kind::OneHotB { .. }),
        ),
        (
            "lanes 1 and 2 of B",
            |_, i| i.b.swap(1, 2),
            |k| matches!(k, Kind::OneHotA { .. } | Kind::OneHotB { .. }),
        ),
        ("lanes 1 and 6 of C", |_, i| i.c.swap(1, 6), |k| matches!(k, Kind::Accumulate)),
        (
            "halves of every metadata word",
            |form, i| {
                if form.is_sparse() {
                    i.metadata.iter_mut().for_each(|word| *word = word.rotate_left(16));
                }
            },
            |k| matches!(k, Kind::Nibbles),
        ),
        (
            "quads of the metadata, from its lanes",
            |_, i| i.metadata.chunks_mut(4).for_each(|quad| quad.rotate_left(1)),
            |k| matches!(k, Kind::Nibbles),
        ),
    ];
    let _ = lanes;
    for form in FORMS {
        let folder = Folder::new(&format!("swapped-{}", form.name));
        record_form(&ClosedForm, &header(), &folder.0, form.name, &mut |_| {}).unwrap();
        let file = folder.read(form);
        for (what, change, shows_in) in faults {
            if what.contains("metadata") && !form.is_sparse() {
                continue;
            }
            let differences = replay(&file, &Faulty { change }).unwrap();
            assert!(
                differences.iter().any(|d| shows_in(d.sweep.kind)),
                "{}: nobody notices: {what}",
                form.name
            );
        }
    }
}
