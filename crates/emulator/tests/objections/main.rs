//! What the emulator objects to. Each kernel is right with its lines that begin with `+` (what the
//! manual demands there). Without them, and with those that begin with `-`, it must be refused, under
//! every schedule, in these words.

mod block;
mod grid;
mod hopper;

use quickpick_emulator::{Arg, Global, Launch, Options, Program, Schedule};

#[derive(Clone, Copy)]
struct Kernel {
    name: &'static str,
    threads: u32,
    grid: u32,
    cluster: u32,
    body: &'static str,
    /// What the objection says.
    says: &'static str,
}

const SCHEDULES: [Schedule; 5] = [
    Schedule::Early,
    Schedule::Late,
    Schedule::Random(1),
    Schedule::Random(2),
    Schedule::Random(3),
];

/// The kernel's text, right or not.
fn text(kernel: &Kernel, whole: bool) -> String {
    let chosen = |line: &'static str| match line.as_bytes().first() {
        Some(b'+') => whole.then(|| &line[1..]),
        Some(b'-') => (!whole).then(|| &line[1..]),
        _ => Some(line),
    };
    let lines: Vec<_> = kernel.body.lines().filter_map(|l| chosen(l.trim())).collect();
    let body = lines.join("\n");
    format!(
        ".version 8.5\n.target sm_90a\n.address_size 64\n\
         .visible .entry k(.param .u64 x, .param .u64 y)\n{{\n\
         .shared .align 1024 .b8 smem[16384];\n\
         .shared .align 8 .b8 bars[64];\n\
         .reg .pred %p, %q, %done, %first, %last;\n\
         .reg .b32 %t, %lane, %a, %b, %c, %d, %at, %bar, %mine, %r<8>;\n\
         .reg .b64 %x, %y, %px, %desc, %state;\n.reg .f32 %acc<4>, %f;\n\
         mov.u32 %t, %tid.x;\nmov.u32 %lane, %laneid;\n\
         mov.u32 %at, smem;\nmov.u32 %bar, bars;\n\
         ld.param.u64 %x, [x];\nld.param.u64 %y, [y];\n\
         mad.wide.u32 %px, %t, 4, %x;\nmad.lo.u32 %mine, %t, 4, %at;\n\
         setp.eq.u32 %first, %t, 0;\n\
         {body}\n\
         ret;\n}}\n"
    )
}

fn run(kernel: &Kernel, whole: bool, schedule: Schedule) -> Result<(), String> {
    let text = text(kernel, whole);
    let program = Program::parse(&text).map_err(|e| format!("{e}\n{text}"))?;
    let mut memory = Global::default();
    let input: Vec<u8> = (0..4096u32).flat_map(|i| i.to_le_bytes()).collect();
    let x = memory.put("x", &input, false);
    let y = memory.put("y", &vec![0; 16384], false);
    let launch = Launch {
        cluster: [kernel.cluster, 1, 1],
        ..Launch::new([kernel.grid, 1, 1], kernel.threads, vec![Arg::U64(x), Arg::U64(y)])
    };
    let options = Options { schedule, budget: 600_000, ..Options::default() };
    program.run_with(&launch, &mut memory, &options).map(drop).map_err(|trap| trap.to_string())
}

#[test]
fn each_is_right_as_it_stands_and_refused_without() {
    let mut wrong = Vec::new();
    for kernel in [block::KERNELS, grid::KERNELS, hopper::KERNELS].concat() {
        for schedule in SCHEDULES {
            if let Err(trap) = run(&kernel, true, schedule) {
                wrong.push(format!("{}, {schedule:?}, as it stands: {trap}", kernel.name));
            }
            match run(&kernel, false, schedule) {
                Err(trap) if trap.contains(kernel.says) => {}
                Err(trap) => wrong.push(format!("{}, {schedule:?}, without: {trap}", kernel.name)),
                Ok(()) => {
                    wrong.push(format!("{}, {schedule:?}, without: no objection", kernel.name))
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const fn kernel(
    name: &'static str,
    threads: u32,
    says: &'static str,
    body: &'static str,
) -> Kernel {
    Kernel { name, threads, grid: 1, cluster: 1, body, says }
}
