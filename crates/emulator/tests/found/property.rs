//! What holds for every program; the fuzz target `emulate` tries it on arbitrary ones.

use quickpick_emulator::{Arg, Global, Launch, Program};
use quickpick_ptx::{ParamKind, parse};

/// Instructions of a warp, after which a kernel is taken to hang.
const BUDGET: u64 = 4096;
/// Bytes of each buffer.
const BYTES: usize = 1024;

/// A text is refused, or what was read runs to its end, to a trap, or out of its budget; it never
/// panics and never hangs.
pub fn ends(text: &str) {
    let (Ok(module), Ok(program)) = (parse(text), Program::parse(text)) else { return };
    let program = program.within(BUDGET);
    for block in [32, 64] {
        let mut memory = Global::default();
        let args = module.kernel.params.iter().enumerate().map(|(i, param)| match param.kind {
            // in turn: what is read, what is written, nothing
            ParamKind::U64 if i % 3 == 0 => Arg::U64(memory.put("read", &[0x3C; BYTES], true)),
            ParamKind::U64 if i % 3 == 1 => Arg::U64(memory.poisoned("written", BYTES)),
            ParamKind::U64 => Arg::U64(0),
            ParamKind::U32 | ParamKind::F32 => Arg::U32(48),
        });
        let args = args.collect();
        let launch = Launch { grid: [2, 1, 1], block, shared_bytes: BYTES as u32, args };
        let _ = program.run(&launch, &mut memory);
    }
}
