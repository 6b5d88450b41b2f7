//! What the suite of all backends cannot see: memory, locks, threads, instruction sets.

use super::{Buffer, Cpu, Path, Step};
use crate::backend::{Backend, Slice};
use crate::error::Error;
use half::{bf16, f16};
use quickpick_format::{E4m3, E5m2, Element, Matrix24, Order, Pair};
use quickpick_kernels::{
    Activation, Attention, DType, Epilogue, Linear, Plan, Problem, SpmmCsr, SwiGlu, Weights, select,
};

fn swiglu(cpu: &Cpu) -> Plan {
    let problem = Problem::SwiGlu(SwiGlu { n: 1, d: 32, out: DType::F32 });
    select(&problem, cpu.caps()).unwrap().plan
}

fn step(cpu: &Cpu, plan: &Plan, operands: &[&Buffer]) -> Result<Step, Error> {
    let slices: Vec<_> = operands.iter().map(|&b| Some(Slice::from(b.clone()))).collect();
    cpu.step(plan, &slices)
}

fn floats(cpu: &Cpu, buffer: &Buffer) -> Vec<f32> {
    bytemuck::pod_collect_to_vec(&cpu.read(buffer, 0, cpu.len(buffer)).unwrap())
}

#[test]
fn inputs_may_share_a_buffer_and_outputs_may_not() {
    let cpu = Cpu::new();
    let plan = swiglu(&cpu);
    let x = cpu.upload(bytemuck::cast_slice(&[2.0f32; 32])).unwrap();
    let y = cpu.buffer(128).unwrap();
    cpu.run(&[step(&cpu, &plan, &[&x, &x, &y]).unwrap()]).unwrap();
    let silu = 2.0 / (1.0 + (-2.0f32).exp());
    assert!(floats(&cpu, &y).iter().all(|v| (v - silu * 2.0).abs() < 1e-6));
    assert!(matches!(step(&cpu, &plan, &[&x, &y, &y]), Err(Error::Aliased { .. })));
}

#[test]
fn buffers_refuse_what_lies_outside() {
    let cpu = Cpu::new();
    let buffer = cpu.buffer(6).unwrap();
    assert_eq!(cpu.len(&buffer), 6);
    assert_eq!(cpu.read(&buffer, 0, 8).unwrap(), [0; 8]); // padded to a multiple of 4
    cpu.write(&buffer, 4, &[1, 2, 3, 4]).unwrap();
    for (offset, bytes) in [(2, 4), (0, 3), (8, 4), (u64::MAX - 3, 4)] {
        let wrong = cpu.write(&buffer, offset, &vec![0; bytes]);
        assert!(matches!(wrong, Err(Error::Argument { .. })), "{offset}, {bytes}: {wrong:?}");
    }
    assert!(matches!(cpu.buffer(1 << 62), Err(Error::Device { .. })));
}

#[test]
fn crossed_steps_on_two_threads_do_not_wait_for_each_other() {
    let cpu = Cpu::new();
    let plan = swiglu(&cpu);
    let (a, b) = (cpu.buffer(128).unwrap(), cpu.buffer(128).unwrap());
    let there = [step(&cpu, &plan, &[&a, &a, &b]).unwrap()];
    let back = [step(&cpu, &plan, &[&b, &b, &a]).unwrap()];
    std::thread::scope(|scope| {
        for steps in [&there, &back] {
            scope.spawn(|| (0..2000).for_each(|_| cpu.run(steps).unwrap()));
        }
    });
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let (dtypes, tokens) = ([DType::F32, DType::BF16, DType::I8], [1, 40, 70]);
    let cases = dtypes.into_iter().flat_map(|dtype| tokens.map(|n| (dtype, n)));
    for (dtype, n) in cases {
        for weights in [Weights::Dense, Weights::Sparse24] {
            let (m, k) = (1000, 1024);
            let epilogue = Epilogue { activation: Activation::Gelu, ..Epilogue::NONE };
            let p = Linear { m, n, k, weights, dtype, out: DType::F32, epilogue };
            let cpu = Cpu::new();
            let plan = select(&Problem::Linear(p), cpu.caps()).unwrap().plan;
            let operands = Vec::from_iter(plan.bindings.iter().map(|binding| {
                let count = binding.bytes as usize / dtype.bytes();
                let floats = (0..count).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0);
                let bytes: Vec<u8> = match (binding.name, dtype) {
                    ("metadata", _) => [0xC4, 0xE8, 0x9D, 0x4C].repeat(binding.bytes as usize / 4),
                    (_, DType::F32) => floats.flat_map(f32::to_le_bytes).collect(),
                    (_, DType::BF16) => {
                        floats.flat_map(|x| bf16::from_f32(x).to_le_bytes()).collect()
                    }
                    _ => floats.map(|x| (100.0 * x) as i8 as u8).collect(),
                };
                (!bytes.is_empty()).then(|| Slice::from(cpu.upload(&bytes).unwrap()))
            }));
            let y = operands.last().cloned().flatten().unwrap().buffer;
            let steps = [cpu.step(&plan, &operands).unwrap()];
            let run = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| cpu.run(&steps)).unwrap();
                cpu.read(&y, 0, cpu.len(&y)).unwrap()
            };
            assert_eq!(run(1), run(3), "{weights:?}, n = {n}, {dtype}");
        }
    }
}

/// Every way to cut tokens into panels, and rows that end within a strip: small integers, so that all sums are exact and
/// every path gives the same.
#[test]
fn every_number_of_tokens_gives_the_exact_product() {
    fn check<T: Element>(cpu: &Cpu, weights: Weights, n: usize) {
        let (m, k) = (19 + n % 3 * 16, 160);
        let small = |i: usize, j: usize| ((i * 7 + j * 5 + i * j) % 5) as f32 - 2.0;
        // columns 4g + a and 4g + b are kept, every pair in its turn
        let pair = |i: usize, group: usize| Pair::ALL[(i + group) % 6];
        let kept = |i: usize, j: usize| {
            let pair = pair(i, j / 4);
            weights == Weights::Dense || j % 4 == pair.first() || j % 4 == pair.second()
        };
        let weight = |i: usize, j: usize| if kept(i, j) { small(i, j) } else { 0.0 };
        let w = Vec::from_iter((0..m * k).map(|i| T::from_f32(weight(i / k, i % k))));
        let x = Vec::from_iter((0..n * k).map(|i| T::from_f32(small(i % k, i / k + 3))));
        let p = Linear {
            m: m as u32,
            n: n as u32,
            k: k as u32,
            weights,
            dtype: T::DTYPE,
            out: DType::F32,
            epilogue: Epilogue::NONE,
        };
        let plan = select(&Problem::Linear(p), cpu.caps()).unwrap().plan;
        let packed = (weights == Weights::Sparse24)
            .then(|| Matrix24::compress(&w, m, k).unwrap().pack(Order::Strips).unwrap());
        let operands = Vec::from_iter(plan.bindings.iter().map(|binding| {
            let bytes = match (binding.name, &packed) {
                ("values", Some(packed)) => packed.value_bytes(),
                ("metadata", Some(packed)) => packed.metadata_bytes(),
                ("x", _) => bytemuck::cast_slice(&x),
                ("y", _) => &vec![0xFF; binding.bytes as usize],
                _ => bytemuck::cast_slice(&w),
            };
            (binding.bytes > 0).then(|| Slice::from(cpu.upload(bytes).unwrap()))
        }));
        let y = operands.last().cloned().flatten().unwrap().buffer;
        cpu.run(&[cpu.step(&plan, &operands).unwrap()]).unwrap();
        for (at, y) in floats(cpu, &y).into_iter().enumerate() {
            let (token, row) = (at / m, at % m);
            let products = (0..k).map(|j| weight(row, j) * small(j, token + 3));
            let want: f32 = products.sum();
            let path = cpu.path();
            assert_eq!(y, want, "{path}, {weights:?} {}, n = {n}: y[{token}][{row}]", T::DTYPE);
        }
    }
    for path in Path::available() {
        let cpu = Cpu::with_path(path).unwrap();
        for n in (1..=36).chain([250, 257, 261]) {
            for weights in [Weights::Dense, Weights::Sparse24] {
                check::<f32>(&cpu, weights, n);
                check::<f16>(&cpu, weights, n);
                check::<bf16>(&cpu, weights, n);
                check::<E4m3>(&cpu, weights, n);
                check::<E5m2>(&cpu, weights, n);
                check::<i8>(&cpu, weights, n);
            }
        }
    }
}

/// The largest sums that 8-bit integers can have, on every path: more products than f32 holds exactly, and the most
/// that i32 holds.
#[test]
fn sums_of_8_bit_integers_are_exact() {
    for path in Path::available() {
        let cpu = Cpu::with_path(path).unwrap();
        for (n, k) in [(1, 131_040), (5, 131_040), (1, 4192), (6, 4192)] {
            for weights in [Weights::Dense, Weights::Sparse24] {
                let (dtype, out, epilogue) = (DType::I8, DType::F32, Epilogue::NONE);
                let p = Linear { m: 1, n, k, weights, dtype, out, epilogue };
                let plan = select(&Problem::Linear(p), cpu.caps()).unwrap().plan;
                let lowest = vec![-128i8; (k * n) as usize];
                let packed = Matrix24::from_parts(
                    lowest[..k as usize / 2].to_vec(),
                    vec![0x4444_4444; k as usize / 32],
                    1,
                    k as usize,
                );
                let packed = packed.unwrap().pack(Order::Strips).unwrap();
                let operands = plan.bindings.iter().map(|binding| {
                    let bytes = match (binding.name, weights) {
                        ("values", Weights::Sparse24) => packed.value_bytes(),
                        ("metadata", _) => packed.metadata_bytes(),
                        ("y", _) => &vec![0; binding.bytes as usize],
                        _ => &bytemuck::cast_slice(&lowest)[..binding.bytes as usize],
                    };
                    (binding.bytes > 0).then(|| Slice::from(cpu.upload(bytes).unwrap()))
                });
                let operands: Vec<_> = operands.collect();
                let y = operands.last().cloned().flatten().unwrap().buffer;
                cpu.run(&[cpu.step(&plan, &operands).unwrap()]).unwrap();
                let products = if weights == Weights::Dense { k } else { k / 2 };
                let want = products as f32 * 16384.0;
                assert!(
                    floats(&cpu, &y).iter().all(|y| *y == want),
                    "{path}, {weights:?}, k = {k}"
                );
            }
        }
    }
}

/// A cache so long that heads are shared out, in halves or in thirds.
#[test]
fn attention_does_not_depend_on_the_number_of_threads() {
    let cpu = Cpu::new();
    let (heads, head_dim, max_seq, cache, out) = (12, 72, 700, DType::F16, DType::F32);
    let p = Attention { n: 3, heads, kv_heads: 4, head_dim, max_seq, cache, out };
    let plan = select(&Problem::Attention(p), cpu.caps()).unwrap().plan;
    let wave = |len: u32| (0..len).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0);
    let q: Vec<f32> = wave(3 * heads * head_dim).collect();
    let rows: Vec<f16> = wave(max_seq * 4 * head_dim).map(f16::from_f32).collect();
    let [q, rows] = [bytemuck::cast_slice(&q), bytemuck::cast_slice(&rows)];
    let [q, k, v] = [q, rows, rows].map(|bytes| cpu.upload(bytes).unwrap());
    let pos = cpu.upload(&690u32.to_ne_bytes()).unwrap();
    let y = cpu.buffer(4 * u64::from(3 * heads * head_dim)).unwrap();
    let steps = [step(&cpu, &plan, &[&q, &k, &v, &pos, &y]).unwrap()];
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| cpu.run(&steps)).unwrap();
        floats(&cpu, &y)
    };
    let alone = run(1);
    assert!(alone.iter().all(|y| y.is_finite()) && alone.iter().any(|y| *y != 0.0));
    assert_eq!([run(2), run(5)], [alone.clone(), alone]);
}

/// Row pointers that fall or lead nowhere, columns past the last: y is whatever, and nothing panics.
#[test]
fn what_is_no_sparse_residual_ends_no_process() {
    let cpu = Cpu::new();
    let p = SpmmCsr { m: 4, n: 2, k: 32, nnz: 3, dtype: DType::F16, residual: false };
    for n in [1, 2, 9, 70] {
        let plan = select(&Problem::SpmmCsr(SpmmCsr { n, ..p }), cpu.caps()).unwrap().plan;
        let words = |words: &[u32]| Some(cpu.upload(bytemuck::cast_slice(words)).unwrap().into());
        let rows = words(&[2, 1, u32::MAX, 0, 3]);
        let entries = words(&[0x3C00_FFFF, u32::MAX, 32]);
        let x = Some(cpu.buffer(64 * u64::from(n)).unwrap().into());
        let y = cpu.buffer(16 * u64::from(n)).unwrap();
        let steps = [cpu.step(&plan, &[rows, entries, x, None, Some(y.into())]).unwrap()];
        cpu.run(&steps).unwrap();
    }
}

#[test]
fn foreign_instruction_sets_are_refused_and_the_best_is_named() {
    let foreign = if cfg!(target_arch = "aarch64") { Path::Avx512 } else { Path::Neon };
    assert!(matches!(Cpu::with_path(foreign), Err(Error::Unavailable { .. })));
    let best = Path::available().next().unwrap();
    assert!(Cpu::new().describe().contains(&best.to_string()));
    assert_eq!(Cpu::with_path(Path::Portable).unwrap().path(), Path::Portable);
}
