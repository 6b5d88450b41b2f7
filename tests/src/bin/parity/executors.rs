//! The executors of this machine, and those that are not here.

use quickpick::cpu::{Cpu, Path};
use quickpick::kernels::KernelSpec;
use quickpick::wgpu::adapters;
use quickpick::{Backend, Cuda};
use quickpick_emulator::Schedule;
use quickpick_parity::{Cell, Kind, Scope};
use quickpick_tests::emulated::Emulated;

type Seen<'a> = &'a mut dyn FnMut(&Cell);
type Ask = Box<dyn Fn(&Scope, &'static KernelSpec, Seen) -> Vec<Cell> + Send + Sync>;

/// Something that runs kernels.
pub struct Executor {
    /// Unlike any other's.
    pub name: String,
    pub kind: Kind,
    /// Device, driver and version, in words.
    pub device: String,
    /// Asks it for one kernel.
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
        Self::new(name, kind, device, Box::new(ask))
    }
}

/// A name and a reason.
pub type Absent = (String, String);

/// All that this machine has, and what it has not, and why.
pub fn here() -> (Vec<Executor>, Vec<Absent>) {
    let oracle = |scope: &Scope, spec, seen: Seen| scope.oracle("oracle", spec, seen);
    let words = "f64, rounded to the types of the outputs";
    let mut found = vec![Executor::new("oracle", Kind::Oracle, words, Box::new(oracle))];
    let mut absent = Vec::new();
    for path in Path::ALL {
        let name = format!("cpu-{path}").to_lowercase();
        match Cpu::with_path(path) {
            Ok(cpu) => found.push(Executor::backend(&name, cpu)),
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
    (found, absent)
}

/// The least device of each kernel, what has no order as early or as late as may be.
fn emulator((name, schedule): (&'static str, Schedule)) -> Executor {
    let ask = move |scope: &Scope, spec: &'static KernelSpec, seen: Seen| {
        scope.cells(name, spec, &Emulated::least(spec, schedule), seen)
    };
    let device = format!(
        "quickpick-emulator {}, the least device of each kernel, {schedule:?}",
        env!("CARGO_PKG_VERSION")
    );
    Executor::new(name, Kind::Emulator, device, Box::new(ask))
}
