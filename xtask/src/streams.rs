//! How well the kernels for few tokens stream weights, on paper: a section of `ptx/README.md`.
//!
//! A decoder's layer takes as long as its weights take to arrive, if nothing else is in the way. What may be is
//! counted: bytes asked for twice, requests that spread over sectors, too few loads under way, too many
//! instructions, X and partial sums. A kernel that asks for more of W than exists is an error.

use crate::counts::run;
use crate::error::{Result, failed};
use quickpick_emulator::{Class, Count, LineCount, Report};
use quickpick_kernels::clocks::L2_BYTES;
use quickpick_kernels::{
    Caps, CudaCaps, Epilogue, Form, KERNELS, KernelSpec, Linear, OpKind, Plan, Problem,
};
use std::fmt::Write;

/// The layer: o of a Llama-3-8B, features and input features.
const LAYER: [u32; 2] = [4096, 4096];
/// The device: an H200.
const SMS: u32 = 132;
/// What is emulated: as much of the layer, and of the device.
const CUT: u32 = 32;
/// Bytes a second from memory, nominal.
const BANDWIDTH: f64 = 4.8e12;
/// Clocks a second, at the most.
const CLOCK: f64 = 1.98e9;
/// Seconds from a load to its data while memory is busy: an assumption.
const LATENCY: f64 = 700e-9;
/// Instructions that a multiprocessor's four schedulers issue in a clock.
const ISSUE: f64 = 4.0;
/// How much more of W than exists a kernel may ask for.
const MOST: f64 = 1.02;

/// The section of the README.
pub fn section() -> Result<String> {
    let mut out = preface();
    let mut bad = Vec::new();
    for spec in KERNELS {
        let tokens: &[u32] = match (spec.op, spec.form) {
            (OpKind::Linear(_), Form::Skinny { .. }) => &[1, 16],
            // tiles that `select` takes for up to 64 tokens
            (OpKind::Linear(_), Form::Tiled { tile, .. })
                if spec.target.is_ptx() && tile.n == 64 =>
            {
                &[64]
            }
            _ => continue,
        };
        for &n in tokens {
            let row = Row::new(spec, n)?;
            bad.extend(row.fault());
            let _ = writeln!(out, "{}", row.line());
        }
    }
    if bad.is_empty() { Ok(out) } else { failed(bad.join("\n")) }
}

fn preface() -> String {
    let ([m, k], ns) = (LAYER, LATENCY * 1e9);
    let (terabytes, gigahertz, cut) = (BANDWIDTH / 1e12, CLOCK / 1e9, m / CUT);
    let needed = LATENCY * BANDWIDTH / f64::from(SMS) / 1024.0;
    format!(
        "
## Decoding, on paper

How the kernels for few tokens stream the weights of a layer of {m} features and {k} input features, on an H200 of {SMS}
multiprocessors: **computed from what the emulator counts; what was measured is in the records that README
names.** Counted is 1/{CUT} of it, {cut} features on {} multiprocessors, which share out k as the whole does; without
bias, activation and residual. (No H200's `mma` takes 8-bit floats: those rows are of a device with its memory and such an `mma`; rows that end in `_f16` are its own.)

- *W*: bytes of values and metadata that loads ask for, over those that exist; `gen-kernels` fails above {MOST}.
- *all*: bytes of W, X, Y and partial sums that are asked for and stored, over those of W, X and Y, each
  once. What is more than 1 comes from L2.
- *sectors*: of 32 bytes, that a request for W touches; 16 for 16 bytes a lane, 4 for a word of metadata.
- *in flight*: KiB of W that a multiprocessor has asked for when a warp first multiplies: what loads stand before
  that in the text, a warp × warps × blocks that are there at once, for which the text leaves registers
  (`.minnctapersm`) and the plan has blocks. A nominal {terabytes} TB/s and an assumed {ns:.0} ns need {needed:.1} KiB.
- *instructions*: of PTX, a warp's, for each KiB of W.
- *latency*, *issue*, *L2*: the share of those {terabytes} TB/s that each allows alone: in flight over what is needed;
  {ISSUE} instructions a clock at {gigahertz} GHz; all bytes at {L2_BYTES:.1} a clock and multiprocessor, an assumption (above).
- *roofline*: the least of them, at most 100 %, over what is asked of W more than once.

| kernel | tokens | W | all | sectors | in flight | instructions | latency | issue | L2 | roofline |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|
",
        SMS / CUT
    )
}

/// A kernel for so many tokens, and what was counted.
struct Row {
    spec: &'static KernelSpec,
    n: u32,
    streamed: Streamed,
    /// Bytes of W in flight on a multiprocessor.
    in_flight: f64,
}

/// Bytes and instructions of the part that was emulated.
struct Streamed {
    /// Of W: that exist, that are asked for, and how often by how many sectors.
    w: f64,
    requested: Count,
    /// Of all operands: that exist, and that move.
    needed: f64,
    moved: f64,
    instructions: f64,
}

impl Row {
    fn new(spec: &'static KernelSpec, n: u32) -> Result<Self> {
        let plan = |cut: u32| -> Result<Plan> {
            let [m, k] = LAYER;
            let (OpKind::Linear(weights), dtype) = (spec.op, spec.dtype) else {
                return failed(format!("{spec} is no linear layer"));
            };
            let (out, epilogue) = (Linear::narrow_out(dtype), Epilogue::NONE);
            let p = Linear { m: m / cut, n, k, weights, dtype, out, epilogue };
            let sms = SMS / cut;
            // the same memory, but a compute capability whose `mma` multiplies the type
            let sm = if spec.multiplies_float8() { 120 } else { 90 };
            let caps = CudaCaps { name: None, sm, shared_bytes: 227 << 10, sms };
            let planned = spec.plan(&Problem::Linear(p), &Caps::Cuda(caps));
            planned.or_else(|why| failed(format!("{spec} {why}: no account of its streams")))
        };
        let text = quickpick_codegen::emit(spec).unwrap_or_default();
        let (whole, part) = (plan(1)?, plan(CUT)?);
        let counted = run(&part, &text);
        let report = counted.or_else(|why| failed(format!("{spec}: no counts: {why}")))?;
        let in_flight = in_flight(&report, spec.threads() / 32) * blocks_at_once(&whole, &text)?;
        Ok(Self { spec, n, streamed: Streamed::new(&part, &report), in_flight })
    }

    /// What is asked of W, over what exists.
    fn repeated(&self) -> f64 {
        self.streamed.requested.global[0] as f64 / self.streamed.w
    }

    fn fault(&self) -> Option<String> {
        let Self { spec, n, .. } = self;
        let repeated = self.repeated();
        // less than all: the account would be of a kernel that leaves something out
        (!(1.0..=MOST).contains(&repeated)).then(|| {
            format!("{spec}, {n} tokens: asks for {repeated:.3} times the bytes of W; 1 to {MOST}")
        })
    }

    fn line(&self) -> String {
        let Self { spec, n, streamed: s, in_flight } = self;
        let sectors = s.requested.sectors as f64 / s.requested.requests as f64;
        let [latency, issue, l2] = self.shares();
        let roofline = [latency, issue, l2, 1.0].into_iter().fold(1.0, f64::min) / self.repeated();
        let percent = |share: f64| format!("{:.0} %", 100.0 * share);
        let (repeated, moved) = (self.repeated(), s.moved / s.needed);
        let (kib, each) = (in_flight / 1024.0, 1024.0 * s.instructions / s.w);
        let shares = [latency, issue, l2, roofline].map(percent).join(" | ");
        format!(
            "| `{spec}` | {n} | {repeated:.3} | {moved:.2} | {sectors:.1} | {kib:.1} | {each:.1} | {shares} |"
        )
    }

    /// What latency, issue slots and L2 allow of the bandwidth.
    fn shares(&self) -> [f64; 3] {
        let (s, each) = (&self.streamed, BANDWIDTH / f64::from(SMS));
        let latency = self.in_flight / (LATENCY * each);
        let issue = ISSUE * CLOCK * s.w / s.instructions / each;
        let l2 = L2_BYTES * CLOCK * s.w / s.moved / each;
        [latency, issue, l2]
    }
}

impl Streamed {
    fn new(plan: &Plan, report: &Report) -> Self {
        let of = |wanted: &dyn Fn(&str) -> bool| -> f64 {
            let bindings = plan.bindings.iter().filter(|b| wanted(b.name));
            bindings.map(|b| b.bytes as f64).sum()
        };
        let requested = WEIGHTS.iter().fold(Count::default(), |mut sum, name| {
            sum.add(&report.buffer(name));
            sum
        });
        let total = report.total();
        Self {
            w: of(&|name| WEIGHTS.contains(&name)),
            requested,
            needed: of(&|name| name != "workspace"),
            moved: (total.global[0] + total.global[1]) as f64,
            instructions: report.instructions() as f64,
        }
    }
}

/// The bindings of W.
const WEIGHTS: [&str; 2] = ["values", "metadata"];

/// Bytes of W that a block has asked for when its warps first multiply. A request stands before the first
/// multiply that is executed; one in a loop is made once until then.
fn in_flight(report: &Report, warps: u32) -> f64 {
    let is_multiply = |line: &&LineCount| line.class == Class::Tensor && line.count.issued > 0;
    let first = report.lines.iter().find(is_multiply).map_or(0, |line| line.line);
    let before = report.lines.iter().filter(|line| line.line < first);
    let requests = before.flat_map(|line| &line.buffers);
    let of_w = requests.filter(|(name, _)| WEIGHTS.contains(&name.as_str()));
    let each = of_w.map(|(_, count)| count.global[0] as f64 / count.requests.max(1) as f64);
    each.sum::<f64>() * f64::from(warps)
}

/// Blocks that a multiprocessor of the whole device has at once, on average: as many as the text leaves
/// registers for and shared memory has room for, if there are so many.
fn blocks_at_once(plan: &Plan, text: &str) -> Result<f64> {
    let module = quickpick_ptx::parse(text).or_else(|why| failed(why.to_string()))?;
    let promised = module.kernel.limits.min_blocks.unwrap_or(1);
    // each block's shared memory takes a KiB more (CUDA programming guide, compute capability 9.0)
    let fits = (228 << 10) / (plan.shared_bytes + 1024);
    let there = f64::from(plan.grid.iter().product::<u32>()) / f64::from(SMS);
    Ok(f64::from(promised.min(fits)).min(there))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickpick_emulator::{Arg, Global, Launch, Program};

    /// Every kernel for few tokens, for one and for the most that it takes.
    #[test]
    fn every_kernel_for_few_tokens_has_its_rows() {
        let section = section().unwrap();
        for spec in KERNELS {
            let rows = section.matches(&format!("| `{spec}` |")).count();
            let want = match spec.form {
                Form::Skinny { .. } => 2,
                Form::Tiled { tile, .. } if spec.target.is_ptx() && tile.n == 64 => 1,
                _ => 0,
            };
            assert_eq!(rows, want, "{spec}");
        }
    }

    fn row() -> Row {
        let spec = KERNELS.iter().find(|spec| matches!(spec.form, Form::Skinny { .. })).unwrap();
        let requested = Count { global: [1 << 20, 0], ..Count::default() };
        let (w, needed) = (f64::from(1 << 20), f64::from(1 << 20));
        let streamed = Streamed { w, requested, needed, moved: w, instructions: w / 64.0 };
        // just what memory needs
        Row { spec, n: 1, streamed, in_flight: LATENCY * BANDWIDTH / f64::from(SMS) }
    }

    /// A warp that loads 512 bytes of W and 256 of X, multiplies, and loads as much of W again.
    const STREAM: &str = "\
.version 7.0
.target sm_80
.address_size 64

.visible .entry stream(
    .param .u64 values,
    .param .u64 x
)
{
    .reg .b32 %thread, %a<4>, %b<2>;
    .reg .b64 %w, %x;
    .reg .f32 %c<4>;
    ld.param.u64 %w, [values];
    ld.param.u64 %x, [x];
    mov.u32 %thread, %tid.x;
    mad.wide.u32 %w, %thread, 16, %w;
    mad.wide.u32 %x, %thread, 8, %x;
    ld.global.v4.b32 {%a0, %a1, %a2, %a3}, [%w];
    ld.global.v2.b32 {%b0, %b1}, [%x];
    mov.f32 %c0, 0f00000000;
    mov.f32 %c1, 0f00000000;
    mov.f32 %c2, 0f00000000;
    mov.f32 %c3, 0f00000000;
    mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%c0, %c1, %c2, %c3}, {%a0, %a1, %a2, %a3}, {%b0, %b1}, {%c0, %c1, %c2, %c3};
    ld.global.v4.b32 {%a0, %a1, %a2, %a3}, [%w+512];
    ret;
}
";

    #[test]
    fn in_flight_is_what_is_asked_for_before_the_first_multiply() {
        let mut memory = Global::default();
        let args = [("values", 1024), ("x", 256)]
            .map(|(name, bytes)| Arg::U64(memory.put(name, &vec![0; bytes], true)));
        let launch = Launch::new([1; 3], 32, args.into());
        let report = Program::parse(STREAM).unwrap().run(&launch, &mut memory).unwrap();
        assert_eq!(in_flight(&report, 1), 512.0);
        assert_eq!(in_flight(&report, 8), 8.0 * 512.0);
        let [w, x] = ["values", "x"].map(|name| report.buffer(name));
        assert_eq!((w.global, w.requests, w.sectors), ([1024, 0], 2, 32));
        assert_eq!((x.global, x.requests, x.sectors), ([256, 0], 1, 8));
    }

    #[test]
    fn shares_are_what_the_constants_say() {
        let [latency, issue, l2] = row().shares();
        assert!((latency - 1.0).abs() < 1e-9);
        // 64 bytes an instruction, 4 instructions a clock, 18.4 bytes a clock from memory
        assert!((issue - 4.0 * 64.0 / (4.8e12 / 132.0 / 1.98e9)).abs() < 1e-9);
        assert!((l2 - L2_BYTES / (4.8e12 / 132.0 / 1.98e9)).abs() < 1e-9);
    }

    #[test]
    fn weights_that_are_read_twice_or_not_at_all_are_faults() {
        let mut row = row();
        assert_eq!(row.fault(), None);
        for bytes in [(1 << 20) - 16, (1 << 20) + (1 << 15)] {
            row.streamed.requested.global[0] = bytes;
            let fault = row.fault().unwrap();
            assert!(fault.contains("times the bytes of W"), "{fault}");
        }
    }
}
