//! How plans are cut where a device binds less at a time than they do: every element once, every binding within the
//! limit and aligned, and no cut too early or too late.

use quickpick_kernels::plan::{ALIGNMENT, Part};
use quickpick_kernels::{
    Activation, ArgMax, Attention, Caps, DType, Epilogue, Form, Gather, KERNELS, KernelSpec,
    Linear, OpKind, Order, Packing, Plan, Problem, Quantize, RmsNorm, SpmmCsr, SwiGlu, Unsupported,
    Weights, WgpuCaps,
};

const ALL: Epilogue = Epilogue {
    scales: false,
    bias: true,
    activation: Activation::Silu,
    residual: true,
    transposed: false,
    gated: false,
};

fn caps(binding_bytes: u64) -> Caps {
    Caps::Wgpu(WgpuCaps {
        name: None,
        f16: true,
        subgroup: 8,
        cooperative: None,
        software: true,
        workgroup_bytes: 16 << 10,
        invocations: 256,
        workgroups: 65535,
        binding_bytes,
        storage_buffers: 8,
    })
}

fn row(op: OpKind) -> &'static KernelSpec {
    KERNELS.iter().find(|s| s.op == op && s.target.is_wgsl()).expect("a row")
}

fn planned(op: OpKind, problem: Problem, limit: u64) -> Result<Plan, Unsupported> {
    row(op).plan(&problem, &caps(limit))
}

fn len(part: &Part, i: usize) -> u64 {
    part.ranges[i].end - part.ranges[i].start
}

/// A linear layer's plan computes each element of Y once, from its own rows of W and X.
fn covers(plan: &Plan, p: &Linear, limit: u64) {
    let at = |name| plan.bindings.iter().position(|b| b.name == name).expect("a binding");
    let (y, x, values) = (at("y"), at("x"), at("values"));
    let (element, of_x) = (p.out.bytes() as u64, (p.dtype.bytes() as u32 * p.k) as u64);
    let of_w = plan.bindings[values].bytes / p.m as u64;
    let mut seen = vec![0u8; (p.m * p.n) as usize];
    for part in plan.launches() {
        let [m, n, k, flags, stride] = part.params[..] else { panic!("{:?}", part.params) };
        assert_eq!((k, flags, stride), (p.k, p.epilogue.flags(p.out), p.m), "{plan}");
        for (i, range) in part.ranges.iter().enumerate() {
            let name = plan.bindings[i].name;
            assert!(range.start % ALIGNMENT == 0, "{plan}: {name} begins at {}", range.start);
            assert!(range.end <= plan.bindings[i].bytes, "{plan}: {name} ends past its end");
            assert!(len(&part, i) <= limit, "{plan}: {} bytes of {name}", len(&part, i));
        }
        let (token, feature) = (part.ranges[x].start / of_x, part.ranges[values].start / of_w);
        assert_eq!((len(&part, x), len(&part, values)), (n as u64 * of_x, m as u64 * of_w));
        for binding in plan.bindings.iter().zip(&part.ranges).filter(|(b, _)| b.bytes > 0) {
            let (name, range) = (binding.0.name, binding.1);
            let (from, to) = match name {
                "bias" => (4 * feature, 4 * (feature + m as u64)),
                "metadata" => {
                    let row = p.k as u64 / 8;
                    (row * feature, row * (feature + m as u64))
                }
                "y" | "residual" => {
                    let first = token * p.m as u64 + feature;
                    let last = first + (n as u64 - 1) * p.m as u64 + m as u64;
                    (first * element, last * element)
                }
                _ => continue,
            };
            assert_eq!((range.start, range.end), (from, to), "{plan}: {name}");
        }
        for t in 0..n {
            for f in 0..m {
                let i = part.ranges[y].start / element + (t * stride + f) as u64;
                assert_eq!(i, (token + t as u64) * p.m as u64 + feature + f as u64);
                seen[i as usize] += 1;
            }
        }
        let tiles = plan.spec.plan(&Problem::Linear(Linear { m, n, ..*p }), &caps(u64::MAX));
        assert_eq!(part.grid, tiles.unwrap().grid, "{plan}");
    }
    assert!(seen.iter().all(|&times| times == 1), "{plan}: not every element once");
}

#[test]
fn every_element_is_computed_once_from_its_own_operands() {
    let mut cut = 0;
    for spec in KERNELS.iter().filter(|s| s.target.is_wgsl()) {
        let OpKind::Linear(weights) = spec.op else { continue };
        for (m, n, k) in
            [(301, 133, 320), (1024, 9, 64), (257, 16, 96), (2, 700, 128), (769, 1, 32)]
        {
            for out in [DType::F16, DType::F32] {
                for epilogue in [ALL, Epilogue::NONE] {
                    let p = Linear { m, n, k, weights, dtype: spec.dtype, out, epilogue };
                    let whole = spec.plan(&Problem::Linear(p), &caps(u64::MAX));
                    let Ok(whole) = whole else { continue }; // more tokens than the kernel takes
                    assert_eq!(whole.parts, []);
                    let most = whole.bindings.iter().map(|b| b.bytes).max().unwrap();
                    for limit in [most, most - 1, most / 2, most / 3 + 7, most / 5] {
                        match spec.plan(&Problem::Linear(p), &caps(limit)) {
                            Ok(plan) => {
                                assert_eq!(plan.parts.is_empty(), limit == most, "{plan}");
                                cut += plan.parts.len();
                                covers(&plan, &p, limit);
                            }
                            // the least part is larger: 256 features, or as many tokens as align Y
                            Err(Unsupported::Limit { what, needs, has }) => {
                                assert_eq!((what, has), ("bytes in one binding", limit));
                                assert!(needs > limit && needs <= most, "{needs} of {most}");
                            }
                            Err(other) => panic!("{spec}: {other}"),
                        }
                    }
                }
            }
        }
    }
    assert!(cut > 500, "{cut} parts");
}

fn dense(m: u32, n: u32, k: u32, out: DType, limit: u64) -> Result<Vec<(u32, u32)>, Unsupported> {
    let (weights, dtype, epilogue) = (Weights::Dense, DType::F16, Epilogue::NONE);
    let p = Linear { m, n, k, weights, dtype, out, epilogue };
    let op = OpKind::Linear(weights);
    // a form that takes any number of tokens
    let serves = |s: &&KernelSpec| s.op == op && matches!(s.form, Form::Tiled { .. });
    let spec = KERNELS.iter().filter(|s| s.target.is_wgsl()).find(serves).expect("a row");
    let plan = spec.plan(&Problem::Linear(p), &caps(limit))?;
    Ok(plan.parts.iter().map(|part| (part.params[0], part.params[1])).collect())
}

#[test]
fn cuts_are_where_the_limit_is() {
    // rows of W of 256 bytes: 256 features are 64 KiB
    let features = |limit| dense(700, 1, 128, DType::F16, limit);
    assert_eq!(features(700 * 256), Ok(vec![]));
    assert_eq!(features(700 * 256 - 1), Ok(vec![(512, 1), (188, 1)]));
    assert_eq!(features(512 * 256), Ok(vec![(512, 1), (188, 1)]));
    assert_eq!(features(512 * 256 - 1), Ok(vec![(256, 1), (256, 1), (188, 1)]));
    assert_eq!(features(65536), Ok(vec![(256, 1), (256, 1), (188, 1)]));
    let least = |needs, has| Err(Unsupported::Limit { what: "bytes in one binding", needs, has });
    assert_eq!(features(65535), least(65536, 65535));
    // rows of Y of 256 bytes: any token may begin a part
    let tokens = |limit| dense(64, 250, 32, DType::F32, limit);
    assert_eq!(tokens(64000), Ok(vec![]));
    assert_eq!(tokens(63999), Ok(vec![(64, 248), (64, 2)]), "4 tokens of X are 256 bytes");
    assert_eq!(tokens(25600), Ok(vec![(64, 100), (64, 100), (64, 50)]));
    assert_eq!(tokens(25599), Ok(vec![(64, 96), (64, 96), (64, 58)]));
    // 3 features: 128 tokens of f16 end at a multiple of 256 bytes, 127 do not
    let odd = |limit| dense(3, 300, 32, DType::F16, limit);
    assert_eq!(odd(300 * 64), Ok(vec![]));
    assert_eq!(odd(300 * 64 - 1), Ok(vec![(3, 256), (3, 44)]));
    assert_eq!(odd(256 * 64 - 1), Ok(vec![(3, 128), (3, 128), (3, 44)]));
    assert_eq!(odd(128 * 64 - 1), least(128 * 64, 128 * 64 - 1));
    // a part's last row of Y is as short as the part
    let both = |limit| dense(512, 2, 1024, DType::F32, limit);
    assert_eq!(both(256 * 2048), Ok(vec![(256, 2), (256, 2)]));
}

/// Llama 3's vocabulary at wgpu's default limit.
#[test]
fn a_vocabulary_is_no_longer_too_large() {
    let (limit, vocab, d) = (128 << 20, 128256, 4096);
    for (weights, features) in [(Weights::Sparse24, 32768), (Weights::Dense, 16384)] {
        let (dtype, out, epilogue) = (DType::F16, DType::F32, Epilogue::NONE);
        let p = Linear { m: vocab, n: 1, k: d, weights, dtype, out, epilogue };
        let plan = planned(OpKind::Linear(weights), Problem::Linear(p), limit).unwrap();
        assert_eq!(plan.parts.len() as u32, vocab.div_ceil(features), "{plan}");
        assert!(plan.to_string().ends_with(&format!(", in {} parts", plan.parts.len())));
    }
    let table = Gather { n: 5, d, vocab, dtype: DType::F16 };
    let plan = planned(OpKind::Gather, Problem::Gather(table), limit).unwrap();
    let mut end = 0;
    for part in &plan.parts {
        let [n, d, rows, first] = part.params[..] else { panic!("{:?}", part.params) };
        assert_eq!((n, d, first), (5, 4096, end), "in the order of ids");
        assert_eq!(part.ranges[0], 8192 * first as u64..8192 * (first + rows) as u64);
        assert_eq!((len(part, 1), len(part, 2)), (20, 5 * 4 * 4096));
        end = first + rows;
    }
    assert_eq!((plan.parts.len(), end), (8, vocab));
}

#[test]
fn rows_are_cut_along_tokens() {
    let (n, d, out, dtype) = (1000, 96, DType::F16, DType::F16);
    let csr = SpmmCsr { m: 64, n, k: 96, nnz: 5, dtype, residual: true };
    for (op, problem, along) in [
        (OpKind::RmsNorm, Problem::RmsNorm(RmsNorm { n, d, eps: 1e-5, out }), [0, 2]),
        (OpKind::SwiGlu, Problem::SwiGlu(SwiGlu { n, d, out }), [0, 2]),
        (OpKind::SpmmCsr, Problem::SpmmCsr(csr), [2, 4]),
        (OpKind::ArgMax, Problem::ArgMax(ArgMax { n, d }), [0, 1]),
        (OpKind::Quantize, Problem::Quantize(Quantize { n, d, dtype, out: DType::I8 }), [1, 2]),
    ] {
        let plan = planned(op, problem, 100 << 10).unwrap();
        assert!(plan.parts.len() > 1, "{plan}");
        for binding in along {
            let mut end = 0;
            for part in &plan.parts {
                let range = &part.ranges[binding];
                assert_eq!((range.start, range.start % ALIGNMENT), (end, 0), "{plan}");
                assert!(len(part, binding) <= 100 << 10, "{plan}");
                end = range.end;
            }
            assert_eq!(end, plan.bindings[binding].bytes, "{plan}");
        }
        for part in &plan.parts {
            let tokens = part.ranges[along[0]].clone();
            let tokens = (tokens.end - tokens.start) / (plan.bindings[along[0]].bytes / n as u64);
            let counted = match op {
                OpKind::SwiGlu => part.params[0] / d,
                OpKind::SpmmCsr => part.params[1],
                _ => part.params[0],
            };
            assert_eq!(counted as u64, tokens, "{plan}");
        }
    }
}

/// Rows of a packed matrix: parts follow each other in every operand, and count their groups on.
#[test]
fn packing_is_cut_along_rows() {
    let (m, k, limit) = (1000, 96, 100 << 10);
    for op in [OpKind::Pack24, OpKind::Unpack24] {
        for order in Order::ALL {
            let p = Packing { m, k, dtype: DType::F16, order };
            let problem =
                if op == OpKind::Pack24 { Problem::Pack24(p) } else { Problem::Unpack24(p) };
            let plan = planned(op, problem, limit);
            if order == Order::MmaSpSm80 {
                let (what, needs, has) = ("bytes in one binding", 192_000, limit);
                assert_eq!(plan, Err(Unsupported::Limit { what, needs, has }));
                continue;
            }
            let plan = plan.unwrap();
            assert_eq!(plan.parts.len(), 2, "{plan}");
            for (i, binding) in plan.bindings.iter().enumerate() {
                let mut end = 0;
                for part in &plan.parts {
                    let range = &part.ranges[i];
                    assert!(range.start % ALIGNMENT == 0 && len(part, i) <= limit, "{plan}");
                    match binding.name {
                        "status" => assert_eq!(*range, 0..4),
                        _ => assert_eq!(range.start, end, "{plan}: {}", binding.name),
                    }
                    end = range.end;
                }
                assert_eq!(end, binding.bytes, "{plan}: {}", binding.name);
            }
            let of = |part: &Part| [part.params[0], part.params[7]];
            assert_eq!(plan.parts.iter().map(of).collect::<Vec<_>>(), [[512, 0], [488, 512 * 24]]);
        }
    }
    let wide = Packing { m: 300, k: 1 << 16, dtype: DType::F16, order: Order::Strips };
    let why = planned(OpKind::Pack24, Problem::Pack24(wide), 1 << 24).unwrap_err();
    assert!(matches!(why, Unsupported::Limit { needs: 33554432, has: 16777216, .. }), "{why}");
}

#[test]
fn what_cannot_be_cut_says_so_with_the_numbers() {
    let (heads, kv_heads, head_dim, cache, out) = (8, 8, 128, DType::F16, DType::F16);
    let p = Attention { n: 1, heads, kv_heads, head_dim, max_seq: 1 << 17, cache, out };
    let why = planned(OpKind::Attention, Problem::Attention(p), 128 << 20).unwrap_err();
    assert_eq!(why.to_string(), "needs 268435456 bytes in one binding, the device has 134217728");
    // 64 places of tokens are 256 bytes
    let p = ArgMax { n: 100, d: 1000 };
    let why = planned(OpKind::ArgMax, Problem::ArgMax(p), 200_000).unwrap_err();
    let (what, needs, has) = ("bytes in one binding", 4 * 64 * 1000, 200_000);
    assert_eq!(why, Unsupported::Limit { what, needs, has });
    let gain = RmsNorm { n: 1, d: 1 << 20, eps: 1e-5, out };
    let why = planned(OpKind::RmsNorm, Problem::RmsNorm(gain), 1 << 20).unwrap_err();
    assert!(matches!(why, Unsupported::Limit { needs: 4194304, has: 1048576, .. }), "{why}");
}
