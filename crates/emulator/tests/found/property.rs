//! What holds for every program; the fuzz target `emulate` tries it on arbitrary ones.

use quickpick_emulator::{Arg, Global, Launch, Options, Program, Schedule};

/// Instructions of a launch, after which a kernel is taken to hang.
const BUDGET: u64 = 2048;
/// Bytes of each buffer.
const BYTES: usize = 1024;

/// Threads of a block, and the order of what has none.
pub const CASES: [(u32, Schedule); 3] =
    [(32, Schedule::Early), (64, Schedule::Late), (160, Schedule::Random(1))];

/// A text is refused, or what was read runs to its end, to a trap, or out of its budget; it never
/// panics and never hangs.
pub fn ends(text: &str, (threads, schedule): (u32, Schedule)) {
    let Ok(program) = Program::parse(text) else { return };
    let mut memory = Global::default();
    let args = program.params().enumerate().map(|(i, (_, bytes))| match bytes {
        // in turn: what is read, what is written, nothing
        8 if i % 3 == 0 => Arg::U64(memory.put("read", &[0x3C; BYTES], true)),
        8 if i % 3 == 1 => Arg::U64(memory.poisoned("written", BYTES)),
        8 => Arg::U64(0),
        4 => Arg::U32(48),
        other => Arg::Bytes(vec![1; other.min(1 << 16)]),
    });
    let args = args.collect();
    let launch = Launch {
        block: program.threads().unwrap_or([threads, 1, 1]),
        cluster: program.cluster().unwrap_or([1; 3]),
        shared_bytes: BYTES as u32,
        ..Launch::new([2, 1, 1], threads, args)
    };
    let options = Options { schedule, budget: BUDGET, tolerate_metadata: false };
    let _ = program.run_with(&launch, &mut memory, &options);
}
