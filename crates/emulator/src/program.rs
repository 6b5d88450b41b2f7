//! A parsed kernel, and its launch over a grid.

use crate::block::Block;
use crate::memory::Global;
use crate::trap::{Fault, Site, Trap};
use quickpick_ptx::{Guard, Inst, Kind, Line, Name, ParamKind, ParseError, parse_located};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A kernel, ready to run.
pub struct Program {
    pub(crate) code: Vec<Step>,
    labels: HashMap<Name, usize>,
    /// First slot of each declared role, by class.
    roles: HashMap<(Kind, Name), usize, BuildHasherDefault<Mix>>,
    pub(crate) slots: usize,
    params: Vec<(Name, ParamKind)>,
    static_shared: Option<u32>,
    threads: Option<u32>,
    max_threads: Option<u32>,
    budget: u64,
}

/// Every operand of every lane is looked up by its role, so the hash must be quick; names are the
/// kernel's own, and a clash costs a comparison.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        let tail = rest.iter().fold(0, |word, byte| word << 8 | *byte as u64);
        for word in words.iter().map(|w| u64::from_le_bytes(*w)).chain([tail]) {
            self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// An instruction, its guard, its line.
pub(crate) struct Step {
    pub guard: Option<Guard>,
    pub inst: Inst,
    line: usize,
}

/// A kernel's argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    /// A pointer; 0 where there is none.
    U64(u64),
    /// A number, or an f32's bits.
    U32(u32),
}

/// A launch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block, along x; a multiple of 32.
    pub block: u32,
    /// Bytes of dynamic shared memory.
    pub shared_bytes: u32,
    /// One per parameter of the kernel, in order.
    pub args: Vec<Arg>,
}

/// What a run counted; exact and repeatable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Instructions issued, counted once per warp.
    pub instructions: u64,
    /// Warp-wide multiplies among them.
    pub multiplies: u64,
    /// Extra wavefronts of shared memory, over the fewest that an access's size allows.
    pub bank_conflicts: u64,
}

/// A run that issues more is taken to hang, unless the caller knows better.
const BUDGET: u64 = 1 << 32;

impl Program {
    /// Reads a kernel's text.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let located = parse_located(text)?;
        let kernel = located.module.kernel;
        let (mut code, mut labels) = (Vec::new(), HashMap::new());
        for (line, at) in kernel.lines.iter().zip(located.at) {
            match line {
                Line::Label(label) => {
                    labels.insert(label.0, code.len());
                }
                Line::Inst { guard, inst } => {
                    code.push(Step { guard: *guard, inst: *inst, line: at });
                }
                Line::Section(_) | Line::Note(_) => {}
            }
        }
        let (mut roles, mut slots) = (HashMap::default(), 0);
        for declared in kernel.registers() {
            roles.insert((declared.kind, declared.role), slots);
            slots += declared.count.unwrap_or(1) as usize;
        }
        Ok(Self {
            code,
            labels,
            roles,
            slots,
            params: kernel.params.iter().map(|p| (p.name, p.kind)).collect(),
            static_shared: kernel.shared.and_then(|s| s.bytes),
            threads: kernel.limits.threads,
            max_threads: kernel.limits.max_threads,
            budget: BUDGET,
        })
    }

    /// The same, but a run that issues more instructions than this is taken to hang.
    pub fn within(mut self, instructions: u64) -> Self {
        self.budget = instructions;
        self
    }

    /// Runs the grid, block after block, the first first.
    pub fn run(&self, launch: &Launch, memory: &mut Global) -> Result<Report, Trap> {
        self.run_in_order(launch, memory, false)
    }

    /// Runs the grid with the last block first: blocks may run in any order.
    pub fn run_reversed(&self, launch: &Launch, memory: &mut Global) -> Result<Report, Trap> {
        self.run_in_order(launch, memory, true)
    }

    fn run_in_order(
        &self,
        launch: &Launch,
        memory: &mut Global,
        reversed: bool,
    ) -> Result<Report, Trap> {
        let params = self.bind(launch).map_err(|why| Trap {
            fault: Fault::Launch(why),
            site: Site { line: 0, text: "the launch".into() },
            block: [0; 3],
            warp: 0,
        })?;
        memory.begin_launch();
        let mut report = Report::default();
        let shared = launch.shared_bytes.max(self.static_shared.unwrap_or(0));
        let [x, y, z] = launch.grid.map(u64::from);
        let total = x * y * z;
        for i in 0..total {
            let i = if reversed { total - 1 - i } else { i };
            let at = [i % x, i / x % y, i / (x * y)].map(|c| c as u32);
            let mut block = Block {
                program: self,
                launch,
                params: &params,
                at,
                number: i as u32,
                memory,
                shared: crate::memory::Shared::new(shared as usize),
                report,
                budget: self.budget,
            };
            block.run()?;
            report = block.report;
        }
        Ok(report)
    }

    fn bind(&self, launch: &Launch) -> Result<HashMap<Name, u64>, String> {
        if launch.args.len() != self.params.len() {
            let (got, want) = (launch.args.len(), self.params.len());
            return Err(format!("{got} arguments for {want} parameters"));
        }
        let threads = launch.block;
        if threads == 0 || threads % 32 != 0 || threads > 1024 {
            return Err(format!("{threads} threads: a multiple of 32 up to 1024 is wanted"));
        }
        if self.threads.is_some_and(|t| t != threads)
            || self.max_threads.is_some_and(|t| t < threads)
        {
            return Err(format!("{threads} threads, against the kernel's own bound"));
        }
        let mut values = HashMap::new();
        for (&(name, kind), arg) in self.params.iter().zip(&launch.args) {
            let value = match (kind, *arg) {
                (ParamKind::U64, Arg::U64(value)) => value,
                (ParamKind::U32 | ParamKind::F32, Arg::U32(value)) => value as u64,
                _ => return Err(format!("parameter {name} is {}", kind.directive())),
            };
            values.insert(name, value);
        }
        Ok(values)
    }

    pub(crate) fn target(&self, label: Name) -> Option<usize> {
        self.labels.get(&label).copied()
    }

    pub(crate) fn role(&self, kind: Kind, role: Name) -> Option<usize> {
        self.roles.get(&(kind, role)).copied()
    }

    pub(crate) fn site(&self, pc: usize) -> Site {
        match self.code.get(pc) {
            Some(step) => Site { line: step.line, text: step.inst.text() },
            None => Site { line: 0, text: "the end of the kernel".into() },
        }
    }
}
