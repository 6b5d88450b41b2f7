//! A file of results is taken only if it is one: of this form, whole, of these kernels.

use quickpick::cpu::Cpu;
use quickpick_parity::{Cell, Digest, FORM, FileError, Outcome, Report, Scope};

/// Two kernels on the CPU.
fn report() -> Report {
    let scope = Scope { only: "argmax".into(), ..Scope::default() };
    let mut told = 0;
    let column = scope.run("here", &Cpu::new(), &mut |_| told += 1);
    assert_eq!(told, column.cells.len());
    Report::of(&scope, [column])
}

/// The refusal of a report that was changed and sealed again.
fn refused(change: impl FnOnce(&mut Report)) -> String {
    let mut report = report();
    change(&mut report);
    Report::from_json(&report.to_json()).unwrap_err().to_string()
}

#[test]
fn a_report_survives_its_file() {
    let report = report();
    assert_eq!(report.columns[0].tally(None).passed, 8, "{report}");
    assert!(report.is_one_answer(), "{report}");
    assert_eq!(Report::from_json(&report.to_json()).unwrap(), report);
}

#[test]
fn an_unknown_form_is_named() {
    let text = report().to_json();
    let own = format!("\"quickpick-parity\":{FORM}");
    let other = text.replacen(&own, "\"quickpick-parity\":7", 1);
    assert_eq!(Report::from_json(&other), Err(FileError::Form(7)));
    // whatever else such a form holds
    assert_eq!(Report::from_json("{\"quickpick-parity\":9,\"x\":[]}"), Err(FileError::Form(9)));
    for text in ["", "{}", "[1]", "{\"quickpick-parity\":\"1\"}", &text[..text.len() / 2]] {
        let error = Report::from_json(text).unwrap_err();
        assert!(matches!(error, FileError::NoResults(_)), "{text}: {error}");
    }
}

#[test]
fn an_edited_file_breaks_its_seal() {
    let text = report().to_json();
    let edited = text.replacen("here", "hire", 1);
    let error = Report::from_json(&edited).unwrap_err();
    assert!(matches!(error, FileError::Seal(..)), "{error}");
    // a field more would not be in the seal
    let more = text.replacen("\"version\"", "\"note\":1,\"version\"", 1);
    assert!(matches!(Report::from_json(&more), Err(FileError::NoResults(_))));
}

#[test]
fn doctored_cells_are_found_behind_a_new_seal() {
    let kernels = refused(|r| r.kernels = Digest(7));
    assert!(kernels.contains("other kernels: texts of digest 00000007"), "{kernels}");

    let missing = refused(|r| drop(r.columns[0].cells.remove(3)));
    assert!(missing.contains("stands where argmax_f32_cpu::"), "{missing}");
    let shorter = refused(|r| drop(r.columns[0].cells.pop()));
    assert!(shorter.contains("is missing, and what comes after 7 cells"), "{shorter}");
    let more = refused(|r| {
        let cell = r.columns[0].cells[0].clone();
        r.columns[0].cells.push(cell);
    });
    assert!(more.contains("1 cells more than there are cases"), "{more}");
    let twice = refused(|r| {
        let mut other = r.columns[0].clone();
        other.cells[0].outcome = Outcome::Failed("wrong".into());
        r.columns.push(other);
    });
    assert!(twice.starts_with("there are two columns of here on "), "{twice}");

    let outcome = |outcome: Outcome| refused(|r| r.columns[0].cells[2].outcome = outcome);
    let bits = Digest(1);
    let beyond = outcome(Outcome::Passed { ppm: 1_000_001, exact: false, bits });
    assert!(beyond.contains("passed with 1000001 millionths"), "{beyond}");
    let inexact = outcome(Outcome::Passed { ppm: 1, exact: true, bits });
    assert!(inexact.contains("exact, with an error of 1"), "{inexact}");
    assert!(outcome(Outcome::Skipped(String::new())).contains("gives no reason"));
}

#[test]
fn reports_merge_if_they_asked_the_same() {
    let mine = report();
    let named = |name: &str| {
        let mut other = mine.clone();
        other.columns[0].executor = name.into();
        other
    };
    let all = Report::merge([mine.clone(), named("there")]).unwrap();
    assert_eq!(all.columns.len(), 2);
    assert!(all.is_one_answer());

    // the same column is one; a device more is one more; other answers of one device are refused
    assert_eq!(Report::merge([mine.clone(), mine.clone()]), Ok(mine.clone()));
    let mut elsewhere = mine.clone();
    elsewhere.columns[0].device = "another".into();
    assert_eq!(Report::merge([mine.clone(), elsewhere]).unwrap().columns.len(), 2);
    let mut other = mine.clone();
    other.columns[0].cells[1].outcome = Outcome::Failed("wrong".into());
    assert!(matches!(Report::merge([mine.clone(), other]), Err(FileError::Twice(..))));
    let mut narrower = named("there");
    narrower.only = "here::argmax".into();
    assert!(matches!(Report::merge([mine.clone(), narrower]), Err(FileError::Scopes(..))));
}

#[test]
fn other_bits_contradict_where_only_certain_ones_pass() {
    let mut all = report();
    let mut other = all.columns[0].clone();
    other.executor = "there".into();
    let Outcome::Passed { bits, exact: true, .. } = &mut other.cells[5].outcome else {
        panic!("places of the largest are exact")
    };
    *bits = Digest(0);
    let Cell { kernel, case, .. } = other.cells[5].clone();
    all.columns.push(other);
    let found = all.contradictions();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with(&format!("there::{kernel}::{case} has the bits 00000000, of here"))
    );
    assert!(!all.is_one_answer());
    assert!(all.to_html().contains("other bits") && all.to_string().contains("must be equal"));
}
