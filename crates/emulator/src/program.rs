//! A kernel ready to run, its launch, and what may be asked of a run.

use crate::code::Step;
use crate::counts::Report;
use crate::machine::Machine;
use crate::memory::Global;
use crate::trap::{Site, Trap};
use quickpick_ptx::{ParseError, parse_entry};

/// A parsed kernel.
pub struct Program {
    pub(crate) name: String,
    pub(crate) code: Vec<Step>,
    pub(crate) slots: Vec<SlotInfo>,
    pub(crate) params: Vec<ParamInfo>,
    /// Bytes of all parameters.
    pub(crate) param_bytes: usize,
    /// Where dynamic shared memory begins: the end of the static arrays, aligned.
    pub(crate) dynamic_from: u32,
    /// The kernel's own bounds.
    pub(crate) exact_block: Option<[u32; 3]>,
    pub(crate) max_threads: Option<u64>,
    pub(crate) exact_cluster: Option<[u32; 3]>,
    /// Whether it has `wgmma`, so that registers may be owned.
    pub(crate) has_groups: bool,
}

/// A register.
#[derive(Clone, Debug)]
pub(crate) struct SlotInfo {
    /// As the text spells it.
    pub name: String,
    /// The bits that it holds.
    pub mask: u64,
}

/// A parameter's name, offset and bytes.
#[derive(Clone, Debug)]
pub(crate) struct ParamInfo {
    pub name: String,
    pub offset: usize,
    pub bytes: usize,
}

/// An argument of a launch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arg {
    /// Eight bytes: a pointer.
    U64(u64),
    /// Four bytes; a float by its bits.
    U32(u32),
    /// Any other parameter, a tensor map for instance, by its bytes.
    Bytes(Vec<u8>),
}

/// The shape of a launch.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block; 1024 at most.
    pub block: [u32; 3],
    /// Blocks of a cluster; 16 at most, and they divide the grid.
    pub cluster: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub shared_bytes: u32,
    /// One per parameter of the kernel, in order.
    pub args: Vec<Arg>,
}

impl Launch {
    /// Blocks of `threads` along x, without clusters or dynamic shared memory.
    pub fn new(grid: [u32; 3], threads: u32, args: Vec<Arg>) -> Self {
        Self { grid, block: [threads, 1, 1], cluster: [1; 3], shared_bytes: 0, args }
    }
}

/// The order in which what may happen at any time happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schedule {
    /// Asynchronous work is done at once; the first warp and block first.
    #[default]
    Early,
    /// Asynchronous work is done when something waits for it, as late as it may; the last warp and
    /// block first.
    Late,
    /// Warps, blocks and asynchronous work take turns by chance, from this seed.
    Random(u64),
}

/// What may be asked of a run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The order of what has none.
    pub schedule: Schedule,
    /// Instructions after which a run is taken to hang.
    pub budget: u64,
    /// Let metadata through that the manual does not allow, as other people's kernels pass beyond
    /// their matrices.
    pub tolerate_metadata: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { schedule: Schedule::Early, budget: 1 << 32, tolerate_metadata: false }
    }
}

/// An instruction about to be executed, for a trace.
pub struct Event<'a> {
    /// The block, (x, y, z), and the warp in it.
    pub block: [u32; 3],
    /// The warp.
    pub warp: u32,
    /// The instruction.
    pub site: Site,
    /// Lanes that execute it: those that are here and whose guard holds.
    pub lanes: u32,
    /// The registers that it wrote, by name, with each lane's value where it has one.
    pub wrote: &'a [(&'a str, [Option<u64>; 32])],
}

impl Program {
    /// Reads the text of one kernel.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        Self::parse_entry(text, None)
    }

    /// Reads one kernel, by its entry point, of a text that may have several.
    pub fn parse_entry(text: &str, entry: Option<&str>) -> Result<Self, ParseError> {
        crate::lower::program(&parse_entry(text, entry)?)
    }

    /// The entry point.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The parameters' names and bytes, in order.
    pub fn params(&self) -> impl Iterator<Item = (&str, usize)> {
        self.params.iter().map(|p| (p.name.as_str(), p.bytes))
    }

    /// Threads of a block, where the kernel itself demands them.
    pub fn threads(&self) -> Option<[u32; 3]> {
        self.exact_block
    }

    /// Blocks of a cluster, where the kernel itself demands them.
    pub fn cluster(&self) -> Option<[u32; 3]> {
        self.exact_cluster
    }

    /// Runs the grid by the default options.
    pub fn run(&self, launch: &Launch, memory: &mut Global) -> Result<Report, Trap> {
        self.run_with(launch, memory, &Options::default())
    }

    /// Runs the grid.
    pub fn run_with(
        &self,
        launch: &Launch,
        memory: &mut Global,
        options: &Options,
    ) -> Result<Report, Trap> {
        Machine::new(self, launch, memory, *options, None)?.run()
    }

    /// Runs the grid, and tells of each instruction.
    pub fn trace(
        &self,
        launch: &Launch,
        memory: &mut Global,
        options: &Options,
        observer: &mut dyn FnMut(&Event<'_>),
    ) -> Result<Report, Trap> {
        Machine::new(self, launch, memory, *options, Some(observer))?.run()
    }

    pub(crate) fn site(&self, pc: usize) -> Site {
        match self.code.get(pc) {
            Some(step) => Site { line: step.line, text: step.text.clone() },
            None => Site { line: 0, text: "the end of the kernel".into() },
        }
    }
}
