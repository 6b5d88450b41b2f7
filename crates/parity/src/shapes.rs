//! The cases of a kernel: shapes around every edge of its tile, all data, epilogues and types.

use crate::case::{Case, Rows};
use crate::data::Fill;
use crate::quantize;
use quickpick_kernels::{
    Activation, ArgMax, Attention, DType, Epilogue, Form, Gather, KernelSpec, Linear, OpKind,
    RmsNorm, Rotary, SpmmCsr, SwiGlu, Target, Tile, Weights, Wgmma,
};

/// Makes a case when asked: oracles cost time, and a filter may leave it out.
pub type Make = Box<dyn Fn() -> Case + Send>;

/// The cases of a kernel by name, `m17_n3_k64` for instance. A name stands for all of its cases.
pub fn cases(spec: &KernelSpec) -> Vec<(String, Vec<Make>)> {
    match spec.op {
        OpKind::Linear(weights) => linear(spec, weights),
        OpKind::RmsNorm => rmsnorm(spec),
        OpKind::Rotary => rotary(spec),
        OpKind::Attention => attention(spec),
        OpKind::SwiGlu => swiglu(spec),
        OpKind::Gather => gather(spec),
        OpKind::SpmmCsr => spmm_csr(spec),
        OpKind::ArgMax => argmax(),
        OpKind::Quantize => quantize::cases(spec),
        OpKind::Pack24 | OpKind::Unpack24 => crate::packing::cases(spec),
    }
}

/// Sizes around the edges of one kernel's cuts.
struct Edges {
    m: Vec<u32>,
    n: Vec<u32>,
    k: Vec<u32>,
}

fn around(tile: u32) -> Vec<u32> {
    let mut sizes = vec![1, tile.saturating_sub(1).max(1), tile, tile + 1];
    sizes.dedup();
    sizes
}

fn edges(spec: &KernelSpec) -> Edges {
    let unit = spec.k_multiple();
    match spec.form {
        Form::Tiled { tile, stages, .. } => Edges {
            m: around(tile.m),
            n: around(tile.n),
            // the least, one tile, one more, and past the whole pipeline
            k: vec![unit, tile.k, tile.k + unit, tile.k * (stages + 1) + unit],
        },
        // rows of Y are multiples of 16 bytes; the second warpgroup's rows begin in the middle
        Form::Wgmma(Wgmma { tile, stages, .. }) => Edges {
            m: vec![8, tile.m / 2 + 8, tile.m, tile.m + 8],
            n: around(tile.n),
            k: vec![32, tile.k, tile.k + 32, tile.k * (stages + 1) + 32],
        },
        Form::Skinny { tile, warps, .. } => Edges {
            m: around(tile.m),
            n: around(tile.n).into_iter().filter(|n| *n <= tile.n).collect(),
            // one warp's step, each warp's, and more than one round, with ragged ends
            k: [unit, tile.k]
                .into_iter()
                .chain([tile.k * warps - unit, tile.k * warps + unit, tile.k * warps * 3 + unit])
                .collect(),
        },
        Form::Gemv { rows, lanes, tokens } => Edges {
            m: around(rows),
            n: vec![1, 2, tokens + 1, 16],
            k: vec![32, 64, 32 * lanes - 32, 32 * lanes, 32 * lanes + 32],
        },
        // register blocks of 3, 4 and 6 rows, tasks of 48; dots up to 8 tokens, panels of 1, 2 and
        // 4 vectors of 4, 8 or 16 tokens, passes of 256; blocks of k of 128
        Form::Host => Edges {
            m: vec![1, 3, 4, 7, 17, 47, 48, 53],
            n: vec![1, 2, 3, 8, 9, 16, 17, 33, 64, 65, 257],
            k: vec![32, 96, 128, 160, 288],
        },
        Form::Rowwise { .. } => Edges { m: vec![], n: vec![], k: vec![] },
    }
}

fn linear(spec: &KernelSpec, weights: Weights) -> Vec<(String, Vec<Make>)> {
    let Edges { m: ms, n: ns, k: ks } = edges(spec);
    let mut list = Vec::new();
    let mut seed = 0;
    let dtype = spec.dtype;
    let outs = Linear::outs(dtype);
    let all = epilogues(spec);
    for (i, &m) in ms.iter().enumerate() {
        for (j, &n) in ns.iter().enumerate() {
            let k = ks[(i + j) % ks.len()];
            seed += 1;
            let make = |fill, epilogue: Epilogue, out, seed| -> Make {
                let (m, n) = (rows(m, epilogue), tokens(spec, n, epilogue));
                let p = Linear { m, n, k, weights, dtype, out, epilogue };
                Box::new(move || Case::linear(p, fill, seed))
            };
            let varied = all[seed as usize * 11 % all.len()];
            let placed =
                Epilogue { transposed: spec.transposes() && seed % 2 == 0, ..Epilogue::NONE };
            list.push((
                format!("m{m}_n{n}_k{k}"),
                vec![
                    make(Fill::Random, varied, outs[seed as usize % outs.len()], seed),
                    make(Fill::Ramp, Epilogue::NONE, DType::F32, seed),
                    make(Fill::OneHot, placed, outs[0], seed),
                ],
            ));
        }
    }
    // every epilogue and output type, at one ragged shape
    let beyond = if matches!(spec.form, Form::Wgmma(_)) { 8 } else { 2 };
    let (m, n, k) = (ms[ms.len() - 1] + beyond, ns[ns.len() / 2], ks[1]);
    for epilogue in all {
        let (m, n) = (rows(m, epilogue), tokens(spec, n, epilogue));
        let cases = outs.iter().map(|&out| -> Make {
            let p = Linear { m, n, k, weights, dtype, out, epilogue };
            Box::new(move || Case::linear(p, Fill::Random, 99))
        });
        list.push((format!("m{m}_n{n}_k{k}_{}", name(epilogue)), cases.collect()));
    }
    // more tiles along m than a kernel walks before it goes along n; small tiles suffice, for the
    // walk is the same for all
    if let Form::Tiled { tile, .. } = spec.form
        && tile.m * tile.n <= 64 * 64
    {
        let (m, n, k) = (17 * tile.m + 1, tile.n + 1, spec.k_multiple());
        let p = Linear { m, n, k, weights, dtype, out: outs[0], epilogue: Epilogue::NONE };
        let make: Make = Box::new(move || Case::linear(p, Fill::OneHot, 7));
        list.push((format!("m{m}_n{n}_k{k}_strips"), vec![make]));
    }
    // so deep that the blocks of a tile share k; of large tiles one
    if let Form::Tiled { tile, .. } = spec.form
        && spec.target == Target::Sm80
    {
        let n = if tile.m * tile.n <= 64 * 64 { tile.n + 1 } else { 3 };
        for (k, epilogue) in [
            (24 * tile.k + spec.k_multiple(), Epilogue::NONE),
            (25 * tile.k, Epilogue { bias: true, residual: true, ..Epilogue::NONE }),
        ] {
            let (m, out) = (tile.m - 1, outs[0]);
            let p = Linear { m, n, k, weights, dtype, out, epilogue };
            let make: Make = Box::new(move || Case::linear(p, Fill::Random, 12));
            list.push((format!("m{m}_n{n}_k{k}_parts"), vec![make]));
        }
    }
    // on eight blocks: as many m-tiles, which are not cut, and every warp's ring of copies goes round more than
    // once; more, and a share ends within each; one, which all blocks share
    if let Form::Skinny { tile, warps, .. } = spec.form {
        let k = 9 * tile.k * warps + spec.k_multiple();
        for (m, name) in [(7 * tile.m + 1, "whole"), (10 * tile.m + 1, "cut"), (tile.m, "shared")] {
            let (n, out, epilogue) = (tile.n - 3, outs[0], Epilogue::NONE);
            let p = Linear { m, n, k, weights, dtype, out, epilogue };
            let make: Make = Box::new(move || Case::linear(p, Fill::Random, 8));
            list.push((format!("m{m}_n{n}_k{k}_{name}"), vec![make]));
        }
    }
    if let Form::Wgmma(w) = spec.form {
        list.extend(shared_work(spec, weights, &w));
    }
    // sums of 8-bit values that f32 does not hold: past 2²⁴, for kept values alone; of f16 they are infinity
    if outs[0] != dtype {
        let (m, n, k) = (8, 3, 8192 + spec.k_multiple());
        let cases = outs.iter().map(|&out| -> Make {
            let p = Linear { m, n, k, weights, dtype, out, epilogue: Epilogue::NONE };
            Box::new(move || Case::linear(p, Fill::Extreme, 10))
        });
        list.push((format!("m{m}_n{n}_k{k}_extreme"), cases.collect()));
    }
    list
}

/// As many rows of W, or the next multiple of 16 where they are gates and ups.
fn rows(m: u32, epilogue: Epilogue) -> u32 {
    if epilogue.gated { m.next_multiple_of(16) } else { m }
}

/// As many tokens, or the next multiple of 8 where rows of Y are tokens and tensor copies store them.
fn tokens(spec: &KernelSpec, n: u32, epilogue: Epilogue) -> u32 {
    let by_copies = matches!(spec.form, Form::Wgmma(_));
    if by_copies && epilogue.transposed { n.next_multiple_of(8) } else { n }
}

/// Blocks that take one tile after the other, and tiles that are cut along k: on the emulated device's
/// few multiprocessors.
fn shared_work(spec: &KernelSpec, weights: Weights, w: &Wgmma) -> Vec<(String, Vec<Make>)> {
    let Tile { m, n, k } = w.tile;
    let dtype = spec.dtype;
    let out = Linear::narrow_out(dtype);
    let full = Epilogue { bias: true, residual: true, ..Epilogue::NONE };
    let make = |m, n, k, out, epilogue| -> Make {
        let p = Linear { m, n, k, weights, dtype, out, epilogue };
        Box::new(move || Case::linear(p, Fill::Random, 11))
    };
    // so deep that a tile is worth cutting, the last share ragged
    let deep = deep(spec, weights, w);
    // three tiles for a group, and two for the others
    let rounds = 7 * m * w.cluster - 8;
    let both = |m, n, k| vec![make(m, n, k, out, full), make(m, n, k, DType::F32, full)];
    let mut list = vec![
        (format!("m{rounds}_n{n}_k{}_rounds", k + 32), both(rounds, n, k + 32)),
        (format!("m{}_n{n}_k{deep}_cut", m - 8), both(m - 8, n, deep)),
    ];
    if m * n * w.cluster <= 64 * 128 {
        // whole tiles, and a round that is cut; more tiles along m than are walked before n
        let (across, rest) = (2 * m - 8, n + 1);
        list.push((
            format!("m{across}_n{rest}_k{deep}_whole_and_cut"),
            vec![make(across, rest, deep, out, full)],
        ));
        let (across, along) = (17 * m + 8, n + 1);
        list.push((
            format!("m{across}_n{along}_k{k}_strips"),
            vec![make(across, along, k, out, Epilogue::NONE)],
        ));
    }
    list
}

/// So many input features that one tile of `w`, on three groups, is cut along k; ragged.
pub fn deep(spec: &KernelSpec, weights: Weights, w: &Wgmma) -> u32 {
    let columns = if weights == Weights::Sparse24 { 1024 } else { 512 };
    columns * 2 / spec.dtype.bytes() as u32 * 3 / 2 + 4 * w.tile.k - 32
}

/// Every epilogue that the kernel has; those with scales, transposed or both, and gated ones, are some of every kind.
pub fn epilogues(spec: &KernelSpec) -> Vec<Epilogue> {
    let mut all = Vec::new();
    for activation in [Activation::None, Activation::Relu, Activation::Gelu, Activation::Silu] {
        for (bias, residual) in [(false, false), (true, false), (false, true), (true, true)] {
            all.push(Epilogue { bias, activation, residual, ..Epilogue::NONE });
        }
    }
    for (scales, transposed) in [(true, false), (false, true), (true, true)] {
        if (spec.scales() || !scales) && (spec.transposes() || !transposed) {
            for (bias, activation, residual) in [
                (false, Activation::None, false),
                (true, Activation::Relu, true),
                (true, Activation::Gelu, false),
                (false, Activation::Silu, true),
            ] {
                all.push(Epilogue {
                    scales,
                    bias,
                    activation,
                    residual,
                    transposed,
                    ..Epilogue::NONE
                });
            }
        }
    }
    if spec.gates() {
        for (scales, bias, activation, residual, transposed) in [
            (false, false, Activation::Silu, false, false),
            (true, true, Activation::Silu, true, false),
            (false, true, Activation::Gelu, false, true),
            (true, false, Activation::Relu, true, true),
            (true, true, Activation::None, true, false),
        ] {
            let (scales, transposed) = (scales && spec.scales(), transposed && spec.transposes());
            all.push(Epilogue { scales, bias, activation, residual, transposed, gated: true });
        }
    }
    all
}

/// An epilogue as a part of a case's name.
pub fn name(e: Epilogue) -> String {
    let scales = if e.scales { "scales_" } else { "" };
    let bias = if e.bias { "bias_" } else { "" };
    let residual = if e.residual { "_residual" } else { "" };
    let transposed = if e.transposed { "_transposed" } else { "" };
    let gated = if e.gated { "_gated" } else { "" };
    format!("{scales}{bias}{:?}{residual}{transposed}{gated}", e.activation).to_lowercase()
}

/// Both types that an output may have.
fn outs(spec: &KernelSpec) -> Vec<DType> {
    let mut outs = vec![spec.dtype, DType::F32];
    outs.dedup();
    outs
}

fn group<P: Copy + Send + 'static>(
    name: String,
    problems: impl IntoIterator<Item = P>,
    make: impl Fn(P, Fill) -> Case + Copy + Send + 'static,
) -> (String, Vec<Make>) {
    let mut list: Vec<Make> = Vec::new();
    for p in problems {
        list.push(Box::new(move || make(p, Fill::Random)));
        list.push(Box::new(move || make(p, Fill::Ramp)));
    }
    (name, list)
}

fn rmsnorm(spec: &KernelSpec) -> Vec<(String, Vec<Make>)> {
    let shapes =
        [(1, 32), (2, 64), (1, 256), (3, 288), (1, 1024), (5, 1056), (2, 4096), (130, 160)];
    let list = shapes.into_iter().map(|(n, d)| {
        let problems = outs(spec).into_iter().map(|out| RmsNorm { n, d, eps: 1e-5, out });
        let problems: Vec<_> = problems.collect();
        group(format!("n{n}_d{d}"), problems, |p, fill| Case::rmsnorm(p, fill, 1))
    });
    list.collect()
}

fn rotary(spec: &KernelSpec) -> Vec<(String, Vec<Make>)> {
    let cache = spec.dtype;
    let shapes = [
        // n, heads, kv_heads, head_dim, max_seq, pos
        (1, 1, 1, 8, 1, 0),
        (1, 4, 2, 64, 9, 8),
        (3, 3, 3, 24, 8, 0),
        (5, 8, 1, 128, 7, 2),
        (2, 6, 2, 40, 300, 257),
    ];
    let list = shapes.into_iter().map(|(n, heads, kv_heads, head_dim, max_seq, pos)| {
        let p = Rotary { n, heads, kv_heads, head_dim, max_seq, cache };
        let name = format!("n{n}_h{heads}_kv{kv_heads}_d{head_dim}_pos{pos}");
        group(name, [p], move |p, fill| Case::rotary(p, pos, fill, 2))
    });
    list.collect()
}

fn attention(spec: &KernelSpec) -> Vec<(String, Vec<Make>)> {
    let cache = spec.dtype;
    let shapes = [
        // n, heads, kv_heads, head_dim, max_seq, pos
        (1, 1, 1, 8, 1, 0),
        (1, 4, 2, 64, 64, 32),
        (7, 2, 2, 24, 40, 0),
        (3, 8, 1, 128, 70, 66),
        (1, 4, 4, 64, 300, 256),
        (33, 6, 2, 40, 130, 97),
        // heads that no vector divides; a cache of one row; one of many blocks
        (1, 3, 1, 120, 2, 0),
        (2, 4, 2, 72, 1100, 1037),
    ];
    let list = shapes.into_iter().map(|(n, heads, kv_heads, head_dim, max_seq, pos)| {
        let p = |out| Attention { n, heads, kv_heads, head_dim, max_seq, cache, out };
        let name = format!("n{n}_h{heads}_kv{kv_heads}_d{head_dim}_pos{pos}");
        let problems: Vec<_> = outs(spec).into_iter().map(p).collect();
        group(name, problems, move |p, fill| Case::attention(p, pos, fill, 3))
    });
    list.collect()
}

fn swiglu(spec: &KernelSpec) -> Vec<(String, Vec<Make>)> {
    let list = [(1, 32), (3, 96), (1, 1024), (2, 1056), (9, 4096)].into_iter().map(|(n, d)| {
        let problems: Vec<_> = outs(spec).into_iter().map(|out| SwiGlu { n, d, out }).collect();
        // from where e⁻ˣ is small to where it is infinite
        group(format!("n{n}_d{d}"), problems, |p, fill| {
            Case::swiglu(p, if fill == Fill::Ramp { 120.0 } else { 4.0 }, fill, 4)
        })
    });
    list.collect()
}

fn gather(spec: &KernelSpec) -> Vec<(String, Vec<Make>)> {
    let dtype = spec.dtype;
    let shapes = [(1, 32, 1), (5, 96, 7), (3, 1056, 256), (300, 64, 11)];
    let list = shapes.into_iter().map(|(n, d, vocab)| {
        let p = Gather { n, d, vocab, dtype };
        group(format!("n{n}_d{d}_v{vocab}"), [p], |p, fill| Case::gather(p, fill, 5))
    });
    list.collect()
}

/// Rows around a block's threads and the CPU's tasks, as many as there are kinds of rows.
fn argmax() -> Vec<(String, Vec<Make>)> {
    let shapes = [(1, 1), (7, 31), (2, 255), (1, 256), (7, 257), (3, 1000), (7, 16385), (1, 49153)];
    let list = shapes.into_iter().map(|(n, d)| {
        group(format!("n{n}_d{d}"), [ArgMax { n, d }], |p, fill| Case::argmax(p, fill, 7))
    });
    list.collect()
}

/// Rows around the blocks of WGSL (32 rows, 8 lanes each) and the tasks of the CPU (64 rows, batches of
/// 32 entries); tokens around the CPU's panels of 1, 4, 16 and 64.
fn spmm_csr(spec: &KernelSpec) -> Vec<(String, Vec<Make>)> {
    let dtype = spec.dtype;
    let (even, third, one) = (Rows::Even, Rows::Third, Rows::One);
    let shapes = [
        // m, n, k, entries, and where they lie
        (1, 1, 32, 0, even),
        (1, 1, 32, 1, even),
        (70, 3, 64, 0, even),
        (31, 1, 96, 40, even),
        (32, 2, 32, 32 * 32, even),
        (33, 4, 64, 33 * 8, even),
        (64, 5, 160, 64 * 31, even),
        (65, 16, 96, 65 * 9 + 3, even),
        (130, 17, 288, 130 * 33 + 1, even),
        (7, 64, 2048, 7 * 65, even),
        (129, 65, 64, 129 * 7, third),
        (100, 1, 4096, 33 * 82, third),
        (67, 130, 32, 22 * 32, third),
        (40, 1, 512, 512, one),
        (3, 9, 1056, 1000, one),
        (5, 2, 65536, 300, even),
    ];
    let list = shapes.into_iter().map(|(m, n, k, nnz, spread)| {
        let p = |residual| SpmmCsr { m, n, k, nnz, dtype, residual };
        let make =
            |p: SpmmCsr, fill| -> Make { Box::new(move || Case::spmm_csr(p, spread, fill, 6)) };
        let cases = vec![
            make(p(true), Fill::Random),
            make(p(false), Fill::Random),
            make(p(true), Fill::Ramp),
            make(p(false), Fill::OneHot),
        ];
        (format!("m{m}_n{n}_k{k}_nnz{nnz}_{spread:?}").to_lowercase(), cases)
    });
    list.collect()
}
