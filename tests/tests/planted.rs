//! Parity objects: one wrong constant in a shader, in a PTX text, and in what a CPU path is given fails cells of
//! that kernel on that executor, and no other.

use quickpick::cpu::{Cpu, Path};
use quickpick::kernels::{Caps, KERNELS, KernelSpec, Plan, Problem};
use quickpick::{Backend, Result, Slice, Wgpu};
use quickpick_emulator::{Program, Schedule};
use quickpick_parity::{Cell, Column, Kind, Report, Scope};
use quickpick_tests::emulated::Emulated;
use quickpick_tests::skip;
use std::sync::Arc;

/// The only row whose name is this.
fn row(name: &str) -> &'static KernelSpec {
    KERNELS.iter().find(|spec| spec.to_string() == name).expect("a row of that name")
}

/// A kernel's text with one constant changed, once.
fn planted(spec: &KernelSpec, right: &str, wrong: &str) -> String {
    let text = spec.text().expect("a row has text");
    assert!(text.contains(right), "{spec}: no {right:?} in\n{text}");
    text.replacen(right, wrong, 1)
}

/// The failed cells are of the planted kernel alone, and there are some.
fn judge(wrong: &KernelSpec, sound: &KernelSpec, kind: Kind, cells: [Vec<Cell>; 2]) {
    let cells = cells.concat();
    let column = Column { executor: "planted".into(), kind, device: "here".into(), cells };
    let report = Report::of(&Scope::default(), [column]);
    let failed: Vec<_> = report.failures().map(|(_, cell)| cell.kernel.clone()).collect();
    assert!(!failed.is_empty(), "{wrong}: nothing failed:\n{report}");
    assert!(failed.iter().all(|kernel| *kernel == wrong.to_string()), "{report}");
    assert!(report.columns[0].tally(Some(&sound.to_string())).passed > 0, "{report}");
    assert!(report.to_string().contains(&format!("FAILED  planted::{wrong}::")), "{report}");
    assert!(!report.is_one_answer());
}

#[test]
fn in_a_shader() {
    let wgpu = match Wgpu::open() {
        Ok(wgpu) => wgpu,
        Err(why) => return skip("wgpu", format!("planted: {why}")),
    };
    let (wrong, sound) = (row("swiglu_f16_wgsl"), row("rmsnorm_f16_wgsl"));
    let text = planted(wrong, "1.0 + exp(", "1.001 + exp(");
    let scope = Scope::default();
    let (_, makes) = scope.cases("planted", wrong).remove(0);
    let plan = wrong.plan(&makes[0]().problem, wgpu.caps()).unwrap();
    wgpu.adopt(&plan, &text).unwrap();
    let cells = [wrong, sound].map(|spec| scope.cells("planted", spec, &wgpu, &mut |_| {}));
    judge(wrong, sound, Kind::Wgpu, cells);
}

#[test]
fn in_a_ptx_text() {
    let (wrong, sound) = (row("swiglu_f16_sm80"), row("swiglu_bf16_sm80"));
    let text = planted(wrong, "0fBFB8AA3B", "0fBFB8AA00");
    let program = Arc::new(Program::parse(&text).unwrap());
    let emulated = Emulated::running(Schedule::Early, wrong, program, u64::MAX);
    let scope = Scope::default();
    let cells = [wrong, sound].map(|spec| scope.cells("planted", spec, &emulated, &mut |_| {}));
    judge(wrong, sound, Kind::Emulator, cells);
}

#[test]
fn in_a_cpu_path() {
    let (wrong, sound) = (row("rmsnorm_f16_cpu"), row("rmsnorm_bf16_cpu"));
    let cpu = WrongEps { cpu: Cpu::with_path(Path::Portable).unwrap(), wrong };
    let scope = Scope::default();
    let cells = [wrong, sound].map(|spec| scope.cells("planted", spec, &cpu, &mut |_| {}));
    judge(wrong, sound, Kind::Cpu, cells);
}

/// A CPU path that takes another ε than it is given, in one kernel.
struct WrongEps {
    cpu: Cpu,
    wrong: &'static KernelSpec,
}

impl Backend for WrongEps {
    type Buffer = <Cpu as Backend>::Buffer;
    type Step = <Cpu as Backend>::Step;

    fn name(&self) -> &'static str {
        "planted"
    }

    fn describe(&self) -> String {
        self.cpu.describe()
    }

    fn caps(&self) -> &Caps {
        self.cpu.caps()
    }

    fn buffer(&self, bytes: u64) -> Result<Self::Buffer> {
        self.cpu.buffer(bytes)
    }

    fn len(&self, buffer: &Self::Buffer) -> u64 {
        self.cpu.len(buffer)
    }

    fn write(&self, buffer: &Self::Buffer, offset: u64, bytes: &[u8]) -> Result<()> {
        self.cpu.write(buffer, offset, bytes)
    }

    fn read(&self, buffer: &Self::Buffer, offset: u64, len: u64) -> Result<Vec<u8>> {
        self.cpu.read(buffer, offset, len)
    }

    fn step(&self, plan: &Plan, operands: &[Option<Slice<Self::Buffer>>]) -> Result<Self::Step> {
        let mut plan = plan.clone();
        if let (Problem::RmsNorm(p), true) = (&mut plan.problem, plan.spec == self.wrong) {
            p.eps *= 2.0;
        }
        self.cpu.step(&plan, operands)
    }

    fn run(&self, steps: &[Self::Step]) -> Result<()> {
        self.cpu.run(steps)
    }
}
