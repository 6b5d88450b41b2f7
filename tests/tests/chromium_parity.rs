//! Rung 7: Chromium's WebGPU answers what every device is asked, and Tint, its compiler, reads every shader.

use quickpick::Wgpu;
use quickpick::kernels::{KERNELS, KernelSpec};
use quickpick_parity::{Column, Kind, Outcome, Questions, Report, Scope};
use quickpick_tests::chromium::{Chromium, dawn, web};
use quickpick_tests::{TempDir, skip};

/// The executor's name in reports.
const NAME: &str = "chromium";

/// What Chromium answers to a scope, in a folder whose files `change` may change first.
fn asked(scope: &Scope, change: impl FnOnce(&TempDir)) -> Option<Report> {
    let chromium = Chromium::find().map_err(|why| skip("chromium", why)).ok()?;
    let folder = TempDir::new(&format!("asked-{}", scope.only.replace(':', ""))).unwrap();
    Questions::save(scope, NAME, &folder.0, &mut |_| {}).unwrap();
    change(&folder);
    let report = Report::from_json(&chromium.ask(&folder.0, NAME).unwrap()).unwrap();
    eprintln!("{report}");
    Some(report)
}

/// Why SwiftShader cannot be asked for a kernel: nothing else is a reason.
fn reasons(why: &str) -> bool {
    ["need shader-f16", "subgroups of 8 lanes", "needs cooperative matrices"]
        .iter()
        .any(|reason| why.contains(reason))
}

#[test]
fn every_shader_that_it_can_run_gives_the_one_answer() {
    let Some(mut report) = asked(&Scope::default(), |_| {}) else { return };
    let column = &report.columns[0];
    assert_eq!(column.kind, Kind::Browser);
    assert!(report.is_one_answer(), "{report}");
    let mut ran = Vec::new();
    for cell in &column.cells {
        match &cell.outcome {
            Outcome::Skipped(why) => assert!(reasons(why), "{}: {why}", cell.kernel),
            _ if ran.last() == Some(&cell.kernel) => {}
            _ => ran.push(cell.kernel.clone()),
        }
    }
    assert!(ran.len() > 15, "only {ran:?}");
    // where only certain bits pass, lavapipe has them too
    let exact = |spec: &&KernelSpec| {
        let name = spec.to_string();
        ["argmax", "pack24", "unpack24"].iter().any(|op| name.starts_with(op))
    };
    let wgpu = match Wgpu::open() {
        Ok(wgpu) => wgpu,
        Err(why) => return skip("chromium", format!("beside wgpu: {why}")),
    };
    let specs = Scope::kernels(Kind::Wgpu).filter(exact);
    let cells = specs.flat_map(|spec| Scope::default().cells("wgpu", spec, &wgpu, &mut |_| {}));
    let cells = Vec::from_iter(cells);
    assert!(cells.iter().all(|c| matches!(c.outcome, Outcome::Passed { exact: true, .. })));
    let device = quickpick::Backend::describe(&wgpu);
    report.columns.push(Column { executor: "wgpu".into(), kind: Kind::Wgpu, device, cells });
    assert_eq!(report.contradictions(), [""; 0]);
}

#[test]
fn a_wrong_constant_fails_its_kernel_alone() {
    let scope = Scope { only: format!("{NAME}::s"), ..Scope::default() };
    let planted = "swiglu_f16_wgsl";
    let report = asked(&scope, |folder| {
        let file = folder.0.join(format!("shaders/{planted}.wgsl"));
        let text = std::fs::read_to_string(&file).unwrap();
        let wrong = text.replacen("1.0 + exp(", "1.001 + exp(", 1);
        assert_ne!(text, wrong);
        std::fs::write(&file, wrong).unwrap();
    });
    let Some(report) = report else { return };
    let failed = Vec::from_iter(report.failures().map(|(_, cell)| cell.kernel.as_str()));
    assert!(!failed.is_empty() && failed.iter().all(|kernel| *kernel == planted), "{report}");
    assert!(report.columns[0].tally(None).passed > 20, "{report}");
}

#[test]
fn the_page_asks_shows_and_sends() {
    let chromium = match Chromium::find() {
        Ok(chromium) => chromium,
        Err(why) => return skip("chromium", why),
    };
    let site = TempDir::new("asking").unwrap();
    for entry in std::fs::read_dir(web()).unwrap() {
        let file = entry.unwrap().path();
        std::fs::copy(&file, site.0.join(file.file_name().unwrap())).unwrap();
    }
    let scope = Scope { only: "::argmax".into(), ..Scope::default() };
    Questions::save(&scope, "browser", &site.0, &mut |_| {}).unwrap();
    let out = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("chromium/screenshots");
    let lines = chromium.drive("asking.mjs", &[site.0.clone().into(), out.into()]).unwrap();
    assert_eq!(lines.len(), 2);
    for line in lines {
        let status = "8 cases passed, 0 failed, 0 skipped. This page's server has the report.";
        assert_eq!(line["status"], status, "{line}");
        assert_eq!(line["rows"][1], "argmax_f32_wgsl800the same bits", "{line}");
        assert_eq!(line["wide"], false);
        assert_eq!(line["posted"]["path"], "/parity/results");
        let report = Report::from_json(line["posted"]["text"].as_str().unwrap()).unwrap();
        assert_eq!(report.columns[0].tally(None).passed, 8);
    }
}

/// What naga passes Tint may refuse: it demands uniform control flow around barriers and shuffles, say. Cooperative
/// matrices are wgpu's own.
#[test]
fn tint_compiles_every_shader() {
    let folder = TempDir::new("tint").unwrap();
    let shaders =
        KERNELS.iter().filter(|spec| spec.target.is_wgsl() && spec.target.cooperative().is_none());
    let mut names = Vec::new();
    for spec in shaders {
        std::fs::write(folder.0.join(format!("{spec}.wgsl")), spec.text().unwrap()).unwrap();
        names.push(spec.to_string());
    }
    // what naga takes and Tint does not: a name that WGSL reserves
    std::fs::write(folder.0.join("zz_refused.wgsl"), "fn active() {}").unwrap();
    let lines = match dawn("tint.mjs", &[folder.0.clone().into()]) {
        Ok(Ok(lines)) => lines,
        Ok(Err(why)) => return skip("chromium", format!("Tint: {why}")),
        Err(why) => panic!("{why}"),
    };
    assert_eq!(lines[0]["features"], "shader-f16 subgroups");
    let (last, shaders) = lines[1..].split_last().unwrap();
    assert_eq!(last["name"], "zz_refused");
    assert!(last["error"].as_str().is_some_and(|why| why.contains("active")), "{last}");
    assert_eq!(shaders.len(), names.len());
    for line in shaders {
        assert!(line["error"].is_null(), "{line}");
    }
    eprintln!("Tint compiles {} shaders", shaders.len());
}
