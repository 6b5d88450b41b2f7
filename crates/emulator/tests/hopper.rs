//! A small Hopper GEMM: tensor copies with a 128-byte swizzle into a ring of stages, one producer
//! thread, a consumer warpgroup with `wgmma` (dense, or sparse with metadata), the result stored by a
//! tensor copy. Right under every schedule; and refused, or wrong, without any one of its lines that
//! begin with `+`.

use quickpick_emulator::{
    Arg, Global, Interleave, Launch, OobFill, Options, Program, Schedule, Swizzle, TensorMap,
    TensorType, TiledMap,
};

const SCHEDULES: [Schedule; 4] =
    [Schedule::Early, Schedule::Late, Schedule::Random(1), Schedule::Random(2)];

/// Rows of A, columns of B; a step of 64 columns of stored A each.
const M: usize = 64;
const N: usize = 64;
const STEP: usize = 64;
/// Two stages, each 8 KB of A and, of a step of B, `64 · (1 or 2)` columns.
const STAGES: usize = 2;

struct Problem {
    sparse: bool,
    /// Columns of B and of A before compression; ragged on purpose.
    k: usize,
    /// Rows of A that there are.
    m: usize,
    /// Blocks of a cluster, which share B by multicast.
    cluster: u32,
}

impl Problem {
    /// Columns of A as stored.
    fn stored(&self) -> usize {
        if self.sparse { self.k / 2 } else { self.k }
    }

    fn steps(&self) -> usize {
        self.stored().div_ceil(STEP)
    }

    /// Tiles of B of 64 columns in a step.
    fn b_tiles(&self) -> usize {
        if self.sparse { 2 } else { 1 }
    }
}

/// The kernel, its lines of `+` numbered by the caller.
fn lines(p: &Problem) -> Vec<String> {
    let a_bytes = M * STEP * 2;
    let b_bytes = N * STEP * 2;
    let stage = a_bytes + p.b_tiles() * b_bytes;
    let (steps, cluster) = (p.steps(), p.cluster);
    let d: Vec<String> = (0..N / 2).map(|i| format!("%d{i}")).collect();
    let d = d.join(", ");
    let mut t = String::from(
        ".version 8.5\n.target sm_90a\n.address_size 64\n.visible .entry gemm(\n\
         .param .align 64 .b8 map_a[128],\n.param .align 64 .b8 map_b[128],\n\
         .param .align 64 .b8 map_y[128],\n.param .u64 meta)\n{\n",
    );
    let out = stage * STAGES;
    t += &format!(
        ".shared .align 1024 .b8 smem[{}];\n.shared .align 8 .b8 full[{n}];\n\
         .shared .align 8 .b8 empty[{n}];\n\
         .reg .pred %p, %q, %done, %producer, %one;\n\
         .reg .b32 %t, %warp, %step, %slot, %phase, %bar, %gone, %at, %b_at, %x, %rank, %c, %row, %e<4>;\n\
         .reg .b16 %mask;\n\
         .reg .b64 %state, %map_a, %map_b, %map_y, %desc_a, %desc_b, %wide, %meta, %hi;\n.reg .f32 %d<{}>;\n",
        out + M * N * 4,
        N / 2,
        n = 8 * STAGES,
    );
    for map in ["map_a", "map_b", "map_y"] {
        t += &format!("mov.b64 %{map}, {map};\ncvta.param.u64 %{map}, %{map};\n");
    }
    t += "mov.u32 %t, %tid.x;\nmov.u32 %rank, %cluster_ctarank;\nshr.u32 %warp, %t, 5;\n\
          setp.eq.u32 %p, %t, 0;\n@!%p bra ready;\n";
    for stage in 0..STAGES {
        t += &format!(
            "mbarrier.init.shared::cta.b64 [full+{at}], 1;\n\
             mbarrier.init.shared::cta.b64 [empty+{at}], {};\n",
            4 * cluster,
            at = 8 * stage,
        );
    }
    t += "+fence.mbarrier_init.release.cluster;\nready:\n";
    t += match cluster {
        1 => "+bar.sync 0;\n",
        _ => "+barrier.cluster.arrive.aligned;\n+barrier.cluster.wait.aligned;\n",
    };
    // warp 4 produces
    t += "setp.eq.u32 %producer, %warp, 4;\n@!%producer bra consume;\n";
    t += "setp.ne.u32 %p, %t, 128;\n@%p bra end;\nmov.u32 %step, 0;\nproduce:\n";
    t += &format!(
        "rem.u32 %slot, %step, {STAGES};\ndiv.u32 %phase, %step, {STAGES};\n\
         and.b32 %phase, %phase, 1;\nxor.b32 %phase, %phase, 1;\n\
         mov.u32 %gone, empty;\nmad.lo.u32 %gone, %slot, 8, %gone;\n\
         mov.u32 %bar, full;\nmad.lo.u32 %bar, %slot, 8, %bar;\n\
         mov.u32 %at, smem;\nmad.lo.u32 %at, %slot, {stage}, %at;\n\
         free:\n+mbarrier.try_wait.parity.shared::cta.b64 %done, [%gone], %phase;\n\
         +@!%done bra free;\n\
         +mbarrier.arrive.expect_tx.shared::cta.b64 %state, [%bar], {stage};\n\
         mul.lo.u32 %x, %step, {STEP};\nmov.u32 %row, %ctaid.x;\nmul.lo.u32 %row, %row, {M};\n\
         +cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes \
         [%at], [%map_a, {{%x, %row}}], [%bar];\n"
    );
    for tile in 0..p.b_tiles() {
        t += &format!(
            "add.u32 %b_at, %at, {};\nmul.lo.u32 %x, %step, {};\nadd.u32 %x, %x, {};\n",
            a_bytes + tile * b_bytes,
            STEP * p.b_tiles(),
            STEP * tile,
        );
        if cluster == 1 {
            t += "mov.u32 %c, 0;\n+cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%b_at], [%map_b, {%x, %c}], [%bar];\n";
        } else {
            // each block brings its half of B's rows to both
            t += &format!(
                "mul.lo.u32 %c, %rank, {half};\nmad.lo.u32 %b_at, %rank, {bytes}, %b_at;\nmov.u16 %mask, 3;\n\
                 +cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%b_at], [%map_b, {{%x, %c}}], [%bar], %mask;\n",
                half = N / 2,
                bytes = b_bytes / 2,
            );
        }
    }
    t += &format!(
        "add.u32 %step, %step, 1;\nsetp.lt.u32 %p, %step, {steps};\n@%p bra produce;\nbra end;\n"
    );
    // warps 0 to 3 consume
    t += "consume:\nmov.u32 %step, 0;\nmov.u32 %c, 0;\nsetp.ne.u32 %q, %c, 0;\nld.param.u64 %meta, [meta];\n\
          setp.eq.u32 %one, %warp, %warp;\nmul.wide.u32 %wide, %t, 4;\nadd.u64 %meta, %meta, %wide;\n";
    t += &format!(
        "next:\nrem.u32 %slot, %step, {STAGES};\ndiv.u32 %phase, %step, {STAGES};\nand.b32 %phase, %phase, 1;\n\
         mov.u32 %gone, empty;\nmad.lo.u32 %gone, %slot, 8, %gone;\n\
         mov.u32 %bar, full;\nmad.lo.u32 %bar, %slot, 8, %bar;\n\
         mov.u32 %at, smem;\nmad.lo.u32 %at, %slot, {stage}, %at;\n"
    );
    if p.sparse {
        t += "mad.wide.u32 %wide, %step, 2048, %meta;\n";
        for i in 0..4 {
            t += &format!("ld.global.b32 %e{i}, [%wide+{}];\n", 512 * i);
        }
    }
    t += "full:\n+mbarrier.try_wait.parity.shared::cta.b64 %done, [%bar], %phase;\n+@!%done bra full;\n";
    t += "+wgmma.fence.sync.aligned;\n";
    for i in 0..4 {
        // 16 stored columns of A, 32 bytes; of B as many bytes, or twice
        let (b_tile, b_byte) = if p.sparse { (i / 2, 64 * (i % 2)) } else { (0, 32 * i) };
        t += &format!(
            "add.u32 %x, %at, {};\nshr.u32 %x, %x, 4;\ncvt.u64.u32 %desc_a, %x;\n\
             or.b64 %desc_a, %desc_a, {hi};\n\
             add.u32 %x, %at, {};\nshr.u32 %x, %x, 4;\ncvt.u64.u32 %desc_b, %x;\n\
             or.b64 %desc_b, %desc_b, {hi};\n",
            32 * i,
            a_bytes + b_tile * b_bytes + b_byte,
            hi = (1u64 << 62 | 64 << 32 | 1 << 16) as i64,
        );
        t += &match p.sparse {
            false => format!(
                "+wgmma.mma_async.sync.aligned.m64n{N}k16.f32.f16.f16 {{{d}}}, %desc_a, %desc_b, %q, 1, 1, 0, 0;\n"
            ),
            true => format!(
                "+wgmma.mma_async.sp.sync.aligned.m64n{N}k32.f32.f16.f16 {{{d}}}, %desc_a, %desc_b, %e{i}, 0, %q, 1, 1, 0, 0;\n"
            ),
        };
        t += "setp.eq.u32 %q, %warp, %warp;\n";
    }
    t += "+wgmma.commit_group.sync.aligned;\n+wgmma.wait_group.sync.aligned 0;\n";
    t += "and.b32 %x, %t, 31;\nsetp.eq.u32 %p, %x, 0;\n";
    if cluster == 1 {
        t += "+@%p mbarrier.arrive.shared::cta.b64 %state, [%gone];\n";
    } else {
        for rank in 0..cluster {
            t += &format!(
                "mapa.shared::cluster.u32 %x, %gone, {rank};\n\
                 +@%p mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%x];\n"
            );
        }
    }
    t += &format!("add.u32 %step, %step, 1;\nsetp.lt.u32 %p, %step, {steps};\n@%p bra next;\n");
    // D to shared memory, row by row, and from there by one copy
    t += &format!(
        "mov.u32 %at, smem;\nand.b32 %x, %t, 31;\nshr.u32 %row, %x, 2;\nmad.lo.u32 %row, %warp, 16, %row;\n\
         and.b32 %x, %x, 3;\nshl.b32 %x, %x, 3;\nmad.lo.u32 %x, %row, {row}, %x;\nadd.u32 %at, %at, %x;\n\
         add.u32 %at, %at, {out};\n",
        row = 4 * N,
    );
    for j in 0..N / 8 {
        t += &format!(
            "st.shared.v2.f32 [%at+{}], {{%d{}, %d{}}};\nst.shared.v2.f32 [%at+{}], {{%d{}, %d{}}};\n",
            32 * j,
            4 * j,
            4 * j + 1,
            32 * j + 8 * 4 * N,
            4 * j + 2,
            4 * j + 3,
        );
    }
    t += &format!(
        "+fence.proxy.async.shared::cta;\n+bar.sync 1, 128;\nsetp.ne.u32 %p, %t, 0;\n@%p bra end;\n\
         mov.u32 %at, smem;\nadd.u32 %at, %at, {out};\nmov.u32 %row, %ctaid.x;\nmul.lo.u32 %row, %row, {M};\nmov.u32 %c, 0;\n\
         +cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%map_y, {{%c, %row}}], [%at];\n\
         +cp.async.bulk.commit_group;\n+cp.async.bulk.wait_group.read 0;\nend:\n"
    );
    if cluster > 1 {
        // a block stays while others copy into it and arrive at its barriers
        t +=
            "bar.warp.sync -1;\n+barrier.cluster.arrive.aligned;\n+barrier.cluster.wait.aligned;\n";
    }
    t += "ret;\n}\n";
    t.lines().map(str::to_string).collect()
}

/// The text without line `without`, if that is one of `+`.
fn text(lines: &[String], without: Option<usize>) -> String {
    let keep = |(i, line): (usize, &String)| match line.strip_prefix('+') {
        Some(_) if without == Some(i) => String::new(),
        Some(line) => line.to_string(),
        None => line.clone(),
    };
    lines.iter().enumerate().map(keep).collect::<Vec<_>>().join("\n")
}

/// f16 of small integers, exact in every sum.
fn half(value: i32) -> [u8; 2] {
    half::f16::from_f32(value as f32).to_le_bytes()
}

fn run(p: &Problem, text: &str, schedule: Schedule) -> Result<(), String> {
    let program = Program::parse(text).map_err(|e| format!("refused: {e}"))?;
    let (rows, k, stored) = (p.m, p.k, p.stored());
    let value = |i: usize, j: usize| ((i * 7 + j * 3) % 9) as i32 - 4;
    let a: Vec<i32> = (0..rows * stored).map(|i| value(i / stored, i % stored)).collect();
    let b: Vec<i32> = (0..N * k).map(|i| value(i % k + 5, i / k)).collect();
    let code = |row: usize, group: usize| [0x4u32, 0x8, 0x9, 0xC, 0xD, 0xE][(row * 5 + group) % 6];
    // of row g or g + 8, per step 4 multiplies of k32: 2 lanes hold 16 columns of a row each
    let mut meta = vec![0u8; p.steps() * 2048 * p.cluster as usize];
    if p.sparse {
        for step in 0..p.steps() {
            for i in 0..4 {
                for t in 0..128usize {
                    let (g, u) = (16 * (t / 32) + t % 32 / 4, t % 2);
                    let group = |c: usize| step * 32 + 8 * i + 4 * u + c;
                    let word = (0..4).fold(0u32, |w, c| {
                        w | code(g, group(c)) << (4 * c) | code(g + 8, group(c)) << (4 * c + 16)
                    });
                    let at = step * 2048 + 512 * i + 4 * t;
                    meta[at..at + 4].copy_from_slice(&word.to_le_bytes());
                }
            }
        }
    }
    let mut memory = Global::default();
    let bytes = |all: &[i32]| all.iter().flat_map(|v| half(*v)).collect::<Vec<u8>>();
    let a_at = memory.put("a", &bytes(&a), true);
    let b_at = memory.put("b", &bytes(&b), true);
    let y_at = memory.poisoned("y", rows * N * 4);
    let meta_at = memory.put("meta", &meta, true);
    let map = |at, element, dims: [u64; 2], boxes: [u32; 2], swizzle| {
        let bytes = if element == TensorType::F32 { 4 } else { 2 };
        let map = TensorMap::tiled(TiledMap {
            element,
            address: at,
            dims: &dims,
            strides: &[dims[0] * bytes],
            box_dims: &boxes,
            element_strides: &[1, 1],
            interleave: Interleave::None,
            swizzle,
            oob: OobFill::Zero,
        });
        Arg::Bytes(map.expect("a map").encode().to_vec())
    };
    let (f16, f32) = (TensorType::F16, TensorType::F32);
    let b_rows = N as u32 / p.cluster;
    let args = vec![
        map(a_at, f16, [stored as u64, rows as u64], [STEP as u32, M as u32], Swizzle::B128),
        map(b_at, f16, [k as u64, N as u64], [STEP as u32, b_rows], Swizzle::B128),
        map(y_at, f32, [N as u64, rows as u64], [N as u32, M as u32], Swizzle::None),
        Arg::U64(meta_at),
    ];
    let grid = (rows.div_ceil(M) as u32).next_multiple_of(p.cluster);
    let launch = Launch { cluster: [p.cluster, 1, 1], ..Launch::new([grid, 1, 1], 160, args) };
    let options = Options { schedule, budget: 400_000, ..Options::default() };
    program.run_with(&launch, &mut memory, &options).map_err(|trap| trap.to_string())?;
    let (y, written) = memory.get(y_at).ok_or("no y")?;
    if let Some(gap) = written.iter().position(|w| !w) {
        return Err(format!("byte {gap} of y is unwritten"));
    }
    let places = |row: usize, j: usize| match p.sparse {
        false => j,
        true => 4 * (j / 2) + (code(row % M, j / 2) >> (2 * (j % 2)) & 3) as usize,
    };
    for row in 0..rows {
        for col in 0..N {
            let sum = (0..stored).map(|j| {
                let at = places(row, j);
                if at < k { a[row * stored + j] * b[col * k + at] } else { 0 }
            });
            let at = 4 * (row * N + col);
            let got = f32::from_le_bytes([y[at], y[at + 1], y[at + 2], y[at + 3]]);
            let want = sum.sum::<i32>() as f32;
            if got != want {
                return Err(format!("y[{row}, {col}] is {got}, not {want}"));
            }
        }
    }
    Ok(())
}

#[track_caller]
fn right_and_refused_without_any_line(p: &Problem) {
    let lines = lines(p);
    for schedule in SCHEDULES {
        let whole = text(&lines, None);
        if let Err(why) = run(p, &whole, schedule) {
            panic!("{schedule:?}: {why}");
        }
    }
    let mut survivors = Vec::new();
    for (i, line) in lines.iter().enumerate().filter(|(_, l)| l.starts_with('+')) {
        let mutant = text(&lines, Some(i));
        let killed = SCHEDULES.iter().find_map(|schedule| run(p, &mutant, *schedule).err());
        match killed {
            Some(why) => println!("without `{line}`: {why}"),
            None => survivors.push(line.clone()),
        }
    }
    assert!(survivors.is_empty(), "nobody objects without\n{}", survivors.join("\n"));
}

#[test]
fn dense() {
    right_and_refused_without_any_line(&Problem { sparse: false, k: 200, m: 100, cluster: 1 });
}

#[test]
fn sparse() {
    right_and_refused_without_any_line(&Problem { sparse: true, k: 512, m: 64, cluster: 1 });
}

#[test]
fn dense_with_multicast() {
    right_and_refused_without_any_line(&Problem { sparse: false, k: 320, m: 128, cluster: 2 });
}
