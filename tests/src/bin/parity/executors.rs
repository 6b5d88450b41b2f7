//! The executors of this machine, and those that are not here.

use quickpick::cpu::{Cpu, Path};
use quickpick::kernels::KernelSpec;
use quickpick::wgpu::adapters;
use quickpick::{Backend, Cuda};
use quickpick_emulator::Schedule;
use quickpick_parity::{Cell, Kind, Questions, Report, Scope};
use quickpick_tests::TempDir;
use quickpick_tests::chromium::Chromium;
use quickpick_tests::emulated::Emulated;

type Seen<'a> = &'a mut dyn FnMut(&Cell);

/// How an executor is asked.
pub enum Ask {
    /// For one kernel after the other.
    Kernel(Box<dyn Fn(&Scope, &'static KernelSpec, Seen) -> Vec<Cell> + Send + Sync>),
    /// For all at once; or why it gives no answer.
    Whole(Box<dyn Fn(&Scope) -> Result<Vec<Cell>, String> + Send + Sync>),
}

/// Something that runs kernels.
pub struct Executor {
    /// Unlike any other's.
    pub name: String,
    pub kind: Kind,
    /// Device, driver and version, in words.
    pub device: String,
    pub ask: Ask,
}

impl Executor {
    /// The kernels that it is asked for.
    pub fn specs(&self) -> impl Iterator<Item = &'static KernelSpec> + use<> {
        Scope::kernels(self.kind)
    }

    fn new(name: &str, kind: Kind, device: impl Into<String>, ask: Ask) -> Self {
        Self { name: name.into(), kind, device: device.into(), ask }
    }

    fn backend<B: Backend + Send + Sync + 'static>(name: &str, backend: B) -> Self {
        let (kind, device, own) =
            (Kind::from(backend.caps()), backend.describe(), name.to_string());
        let ask = move |scope: &Scope, spec, seen: Seen| scope.cells(&own, spec, &backend, seen);
        Self::new(name, kind, device, Ask::Kernel(Box::new(ask)))
    }
}

/// A name and a reason.
pub type Absent = (String, String);

/// All that this machine has, and what it has not, and why.
pub fn here() -> (Vec<Executor>, Vec<Absent>) {
    let oracle = |scope: &Scope, spec, seen: Seen| scope.oracle("oracle", spec, seen);
    let words = "f64, rounded to the types of the outputs";
    let mut found =
        vec![Executor::new("oracle", Kind::Oracle, words, Ask::Kernel(Box::new(oracle)))];
    let mut absent = Vec::new();
    for path in Path::ALL {
        let name = format!("cpu-{path}").to_lowercase().replace(' ', "-");
        match Cpu::with_path(path) {
            Ok(cpu) => {
                let executor = Executor::backend(&name, cpu);
                let device = format!("{}: {}", processor(), executor.device);
                found.push(Executor { device, ..executor });
            }
            Err(why) => absent.push((name, why.to_string())),
        }
    }
    found.extend(
        [("emulator-early", Schedule::Early), ("emulator-late", Schedule::Late)].map(emulator),
    );
    let all = adapters();
    if all.is_empty() {
        absent.push((
            "wgpu".into(),
            "no Vulkan, Metal or DX12 driver answers on this machine".into(),
        ));
    }
    for (i, adapter) in all.iter().enumerate() {
        let name = format!("wgpu-{i}");
        match adapter.open() {
            Ok(wgpu) => found.push(Executor::backend(&name, wgpu)),
            Err(why) => absent.push((name, why.to_string())),
        }
    }
    match Cuda::open() {
        Ok(cuda) => found.push(Executor::backend("cuda", cuda)),
        Err(why) => absent.push(("cuda".into(), why.to_string())),
    }
    match browser() {
        Ok(browser) => found.push(browser),
        Err(why) => absent.push((BROWSER.into(), why)),
    }
    (found, absent)
}

/// The processor's name, where the system tells it, and the system.
fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    format!("{}, {}", name.map_or("a processor", |(_, name)| name), std::env::consts::OS)
}

/// The browser, in reports.
pub const BROWSER: &str = "chromium";

/// Chromium's WebGPU, which judges by itself and sends a report's file.
fn browser() -> Result<Executor, String> {
    let chromium = Chromium::find()?;
    let folder = TempDir::new("parity")?;
    let device = chromium.device(&folder.0)?;
    let ask = move |scope: &Scope| {
        Questions::save(scope, BROWSER, &folder.0, &mut |_| {})?;
        let text = chromium.ask(&folder.0, BROWSER)?;
        let report =
            Report::from_json(&text).map_err(|why| format!("{BROWSER}'s report: {why}"))?;
        Ok(report.columns.into_iter().flat_map(|column| column.cells).collect())
    };
    Ok(Executor::new(BROWSER, Kind::Browser, device, Ask::Whole(Box::new(ask))))
}

/// The least device of each kernel, what has no order as early or as late as may be.
fn emulator((name, schedule): (&'static str, Schedule)) -> Executor {
    let ask = move |scope: &Scope, spec: &'static KernelSpec, seen: Seen| {
        scope.cells(name, spec, &Emulated::least(spec, schedule), seen)
    };
    let device = format!(
        "quickpick-emulator {}, the least device of each kernel, what may happen at any time as {} as can be",
        env!("CARGO_PKG_VERSION"),
        format!("{schedule:?}").to_lowercase(),
    );
    Executor::new(name, Kind::Emulator, device, Ask::Kernel(Box::new(ask)))
}
