//! The emulator as a backend, so that the suite that judges every device judges the PTX too.
//!
//! Each operand becomes a buffer of exactly the bytes that the plan grants, so that one byte too many
//! is out of bounds; what the plan calls read-only is read-only.

use quickpick::kernels::{Access, Caps, CudaCaps, KernelSpec, Plan, Target};
use quickpick::{Backend, Error, Slice};
use quickpick_emulator::{Global, Options, Program, Report, Schedule, Trap};
use quickpick_launch::launch;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Runs the committed PTX in the emulator.
pub struct Emulated {
    caps: Caps,
    options: Options,
    programs: Mutex<Vec<(&'static KernelSpec, Arc<Program>)>>,
    report: Mutex<Report>,
    trap: Mutex<Option<Trap>>,
}

/// Memory of the emulated device.
#[derive(Clone)]
pub struct Memory(Arc<Mutex<Vec<u8>>>);

/// A plan bound to memory.
pub struct Bound {
    plan: Plan,
    program: Arc<Program>,
    operands: Vec<Option<Slice<Memory>>>,
}

impl Emulated {
    /// The least device that runs this kernel, but with few multiprocessors, so that small problems split k
    /// as large ones do on a real one: of Hopper three clusters find room, which share few tiles, and cut
    /// one along k.
    ///
    /// What has no order happens in that of the schedule.
    pub fn least(spec: &KernelSpec, schedule: Schedule) -> Self {
        let sms = if spec.target == Target::Sm90a { 3 * spec.cluster() } else { 4 };
        Self::with(CudaCaps::least(spec, sms), schedule)
    }

    /// A device with these limits.
    pub fn with(caps: CudaCaps, schedule: Schedule) -> Self {
        Self {
            caps: Caps::Cuda(caps),
            options: Options { schedule, ..Options::default() },
            programs: Mutex::default(),
            report: Mutex::default(),
            trap: Mutex::default(),
        }
    }

    /// The same, but for this kernel another program than the committed one, for at most so many
    /// instructions.
    pub fn running(
        schedule: Schedule,
        spec: &'static KernelSpec,
        program: Arc<Program>,
        budget: u64,
    ) -> Self {
        let mut emulated = Self::least(spec, schedule);
        emulated.options.budget = budget;
        lock(&emulated.programs).push((spec, program));
        emulated
    }

    /// What the last run counted.
    pub fn report(&self) -> Report {
        lock(&self.report).clone()
    }

    /// The last trap.
    pub fn trap(&self) -> Option<Trap> {
        lock(&self.trap).clone()
    }

    fn program(&self, spec: &'static KernelSpec) -> Result<Arc<Program>, Error> {
        let mut programs = lock(&self.programs);
        if let Some((_, program)) = programs.iter().find(|(s, _)| *s == spec) {
            return Ok(program.clone());
        }
        // what ships is what is checked; a candidate that is no row has only the generator's text
        let text = match spec.text() {
            Some(text) => text.to_owned(),
            None => quickpick_codegen::emit(spec).ok_or_else(|| device("no text", &spec))?,
        };
        let program = Arc::new(Program::parse(&text).map_err(|e| device(spec, &e))?);
        programs.push((spec, program.clone()));
        Ok(program)
    }
}

/// A test that panicked leaves nothing half-done behind these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn device(what: impl ToString, why: &dyn ToString) -> Error {
    Error::Device { backend: "emulator", what: what.to_string(), why: why.to_string() }
}

impl Backend for Emulated {
    type Buffer = Memory;
    type Step = Bound;

    fn name(&self) -> &'static str {
        "emulator"
    }

    fn describe(&self) -> String {
        let Caps::Cuda(caps) = &self.caps else { return self.name().into() };
        format!("emulated sm_{}", caps.sm)
    }

    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn buffer(&self, bytes: u64) -> Result<Memory, Error> {
        Ok(Memory(Arc::new(Mutex::new(vec![0; bytes as usize]))))
    }

    fn len(&self, buffer: &Memory) -> u64 {
        lock(&buffer.0).len() as u64
    }

    fn write(&self, buffer: &Memory, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let mut memory = lock(&buffer.0);
        let range = offset as usize..offset as usize + bytes.len();
        let target = memory.get_mut(range).ok_or_else(|| device("write", &"past the end"))?;
        target.copy_from_slice(bytes);
        Ok(())
    }

    fn read(&self, buffer: &Memory, offset: u64, len: u64) -> Result<Vec<u8>, Error> {
        let memory = lock(&buffer.0);
        let range = offset as usize..(offset + len) as usize;
        memory.get(range).map(<[u8]>::to_vec).ok_or_else(|| device("read", &"past the end"))
    }

    fn step(&self, plan: &Plan, operands: &[Option<Slice<Memory>>]) -> Result<Bound, Error> {
        let program = self.program(plan.spec)?;
        Ok(Bound { plan: plan.clone(), program, operands: operands.to_vec() })
    }

    fn run(&self, steps: &[Bound]) -> Result<(), Error> {
        for Bound { plan, program, operands } in steps {
            let mut memory = Global::default();
            let mut pointers = Vec::new();
            for (binding, operand) in plan.bindings.iter().zip(operands) {
                pointers.push(match operand {
                    Some(slice) if binding.is_present() => {
                        let (from, len) = (slice.offset as usize, binding.bytes as usize);
                        let bytes = &lock(&slice.buffer.0)[from..from + len];
                        memory.put(binding.name, bytes, binding.access == Access::Read)
                    }
                    _ => 0,
                });
            }
            let launch = launch(plan, &pointers).map_err(|why| device(plan.spec, &why))?;
            match program.run_with(&launch, &mut memory, &self.options) {
                Ok(report) => *lock(&self.report) = report,
                Err(trap) => {
                    let error = device(plan.spec, &trap);
                    *lock(&self.trap) = Some(trap);
                    return Err(error);
                }
            }
            for (at, operand) in pointers.into_iter().zip(operands) {
                if let Some(slice) = operand
                    && let Some((bytes, _)) = memory.get(at)
                {
                    let from = slice.offset as usize;
                    lock(&slice.buffer.0)[from..from + bytes.len()].copy_from_slice(bytes);
                }
            }
        }
        Ok(())
    }
}
