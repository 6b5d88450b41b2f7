//! The proof that needs no GPU: the emulator against the closed form, and record, read, replay with
//! devices that stand in for one.

use crate::closed_form::ClosedForm;
use quickpick_tests::vectors::{
    CudaDevice, Device, Emulated, End, FORMS, Failure, File, Form, Header, Inputs, Kind, Outcome,
    Place, Probe, codes, file, form, record, record_form, replay, sweeps,
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

/// The emulator knows every form, and gives what the formulas give.
#[test]
fn the_emulator_agrees_with_the_closed_form() {
    for form in FORMS {
        for sweep in sweeps(form) {
            let probe = Probe::new(form, sweep.selector);
            let trials: Vec<_> = (0..sweep.trials()).map(|trial| sweep.inputs(trial)).collect();
            let got = Emulated.run(&probe, &trials);
            let got = got.unwrap_or_else(|why| panic!("{}: {sweep}: {why:?}", form.name));
            let want = ClosedForm.run(&probe, &trials).expect("the inputs are legal");
            for (trial, (got, want)) in got.iter().zip(&want).enumerate() {
                assert_eq!(got, want, "{}: {sweep}, trial {trial}", form.name);
            }
        }
    }
}

/// One form of each engine, recorded from the emulator and read back.
#[test]
fn what_the_emulator_records_it_replays() {
    let folder = Folder::new("emulated");
    let record = |name| record_form(&Emulated, &header(), &folder.0, name, &mut |_| {}).unwrap();
    for name in [
        "mma_m16n8k16_f16",
        "mma_sp_m16n8k32_f16",
        "mma_sp_plain_m16n8k64_s8",
        "wgmma_m64n8k16_f16_rs",
        "wgmma_sp_m64n8k32_f16_ss_sw128",
    ] {
        let outcomes = record(name);
        assert!(matches!(outcomes[..], [Outcome { end: End::Recorded { .. }, .. }, ..]), "{name}");
        let differences = replay(&folder.read(form(name).unwrap()), &Emulated).expect("a replay");
        assert_eq!(differences, [], "{name}");
    }
    let sparse = &record("mma_sp_m16n8k32_f16")[..];
    // six codes are ordered pairs; at the others the emulator traps, and the file says so
    assert!(matches!(sparse, [_, Outcome { end: End::Codes { answered: 6 }, .. }]), "{sparse:?}");
    let lines = codes(&folder.read(form("mma_sp_m16n8k32_f16").unwrap())).unwrap();
    assert!(lines[0].starts_with("code 0x0 (undefined): error: metadata of row 0"), "{}", lines[0]);
    assert_eq!(lines[4], "code 0x4 (legal): 0 words of D differ from code 0x4's");
}

/// All forms together, recorded by the closed form: the size that a GPU's files will have.
#[test]
fn every_form_is_recorded_and_all_files_are_small() {
    let folder = Folder::new("closed");
    let outcomes = record_quietly(&ClosedForm, &folder.0);
    outcomes.iter().for_each(|outcome| println!("{outcome}"));
    let mut total = 0;
    for form in FORMS {
        let text = std::fs::read_to_string(file::path(&folder.0, form)).unwrap();
        total += text.len();
        let file = folder.read(form);
        assert!(file::write(&file) == text, "{}: read and written, it differs", form.name);
        assert_eq!(replay(&file, &ClosedForm), Ok(vec![]), "{}", form.name);
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

/// Without a driver there is no device, and the error says so; cudarc alone would panic.
#[test]
fn a_missing_gpu_is_an_error_with_words() {
    match CudaDevice::open() {
        Ok(device) => println!("there is {}", device.name()),
        Err(why) => assert!(why.to_string().starts_with("cuda is not available: "), "{why}"),
    }
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
    assert!(!said.is_empty() && said.len() <= 8, "{said:?}"); // a row of D
    assert!(said[0].contains("trial 100: D register"), "{}", said[0]);
    // a sweep that is gone, and inputs that are not today's
    let cut = text.find("\nsweep random").unwrap()..text.find("\nsweep accumulate").unwrap();
    let mut short = text.clone();
    short.replace_range(cut, "");
    let why = replay(&file::read(&short).unwrap(), &Emulated).unwrap_err().to_string();
    assert!(why.ends_with("random/selector0: the file lacks this sweep"), "{why}");
    let digest = text.split_once("inputs ").unwrap().1.split(' ').next().unwrap();
    let stale = text.replacen(digest, "0123456789abcdef", 1);
    let why = replay(&file::read(&stale).unwrap(), &Emulated).unwrap_err().to_string();
    assert!(why.ends_with("recorded with other inputs; record it anew"), "{why}");
}

/// A fault, and the kind of sweep that must show it.
struct Fault {
    what: &'static str,
    change: fn(&Form, &mut Inputs),
    shows_in: fn(Kind) -> bool,
}

const ONE_HOT: fn(Kind) -> bool = |k| matches!(k, Kind::OneHotA { .. } | Kind::OneHotB { .. });
const NIBBLES: fn(Kind) -> bool = |k| k == Kind::Nibbles;

#[rustfmt::skip] // one fault, one line
const FAULTS: &[Fault] = &[
    Fault { what: "lanes 1 and 2 of A", change: |_, i| i.a.swap(1, 2), shows_in: ONE_HOT },
    Fault { what: "registers 0 and 1 of A", change: |f, i| i.a.swap(0, f.lanes()), shows_in: ONE_HOT },
    Fault { what: "lanes 1 and 2 of B", change: |_, i| i.b.swap(1, 2), shows_in: ONE_HOT },
    Fault { what: "lanes of C", change: |_, i| i.c.swap(2, 12), shows_in: |k| k == Kind::Accumulate },
    Fault { what: "quads of metadata", change: |_, i| i.metadata.rotate_left(4), shows_in: NIBBLES },
    Fault { what: "lanes of a quad of metadata", change: rotate_quads, shows_in: NIBBLES },
    Fault { what: "halves of metadata", change: rotate_words, shows_in: NIBBLES },
];

fn rotate_quads(_: &Form, inputs: &mut Inputs) {
    inputs.metadata.chunks_mut(4).for_each(|quad| quad.rotate_left(1));
}

fn rotate_words(_: &Form, inputs: &mut Inputs) {
    inputs.metadata.iter_mut().for_each(|word| *word = word.rotate_left(16));
}

/// Each wrong map of an operand shows in the sweep that is for it, in every form that has the operand.
#[test]
fn a_swapped_map_is_caught_in_every_form() {
    let mut caught = 0;
    for form in FORMS {
        let asked = |fault: &&Fault| match fault.what {
            what if what.contains("metadata") => form.explores_metadata(),
            what if what.starts_with("registers") => form.a == Place::Registers,
            _ => true,
        };
        for Fault { what, change, shows_in } in FAULTS.iter().filter(asked) {
            let noticed = sweeps(form).iter().filter(|s| shows_in(s.kind)).any(|sweep| {
                let probe = Probe::new(form, sweep.selector);
                let trials: Vec<_> = (0..sweep.trials()).map(|trial| sweep.inputs(trial)).collect();
                Faulty { change }.run(&probe, &trials) != ClosedForm.run(&probe, &trials)
            });
            assert!(noticed, "{}: nobody notices exchanged {what}", form.name);
            caught += 1;
        }
    }
    println!("{caught} faults in {} forms are noticed", FORMS.len());
}

/// The same through a file: the words that differ are told by register and lane.
#[test]
fn a_swapped_lane_is_told_by_its_name() {
    let folder = Folder::new("swapped");
    let form = form("mma_sp_m16n8k32_f16").unwrap();
    record_form(&Emulated, &header(), &folder.0, form.name, &mut |_| {}).unwrap();
    let swapped = Faulty { change: |_: &Form, inputs: &mut Inputs| inputs.a.swap(1, 6) };
    let said = replay(&folder.read(form), &swapped).unwrap()[0].to_string();
    // lane 1's first element goes to row 1, where lane 6 is
    let want = "mma_sp_m16n8k32_f16: one-hot-a/digit0/selector0, trial 2: D register 0 of lane 0 is 5 \
                in the file, 0 as computed";
    assert_eq!(said, want);
}
