//! `cargo bench -p quickpick-benches`: linear layers on the CPU, 2:4 and dense, by criterion.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use quickpick::Cpu;
use quickpick_benches::{SHAPES, TOKENS, Twin, Twins};

fn linear(c: &mut Criterion) {
    let cpu = Cpu::new();
    for &shape in &SHAPES[..2] {
        let mut group = c.benchmark_group(format!("{}×{}", shape.m, shape.k));
        for &n in TOKENS {
            let twins = match Twins::new(&cpu, shape, n) {
                Ok(twins) => twins,
                Err(error) => panic!("{} at {n} tokens: {error}", shape.name),
            };
            // multiply-adds of the dense layer, for both: the rate is dense-equivalent
            group.throughput(Throughput::Elements(shape.m as u64 * shape.k as u64 * n as u64));
            for twin in [&twins.sparse, &twins.dense] {
                bench(&mut group, &cpu, twin, n);
            }
        }
        group.finish();
    }
}

fn bench(
    group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
    cpu: &Cpu,
    twin: &Twin<Cpu>,
    n: u32,
) {
    let mut i = 0;
    group.bench_function(BenchmarkId::new(&twin.name, n), |b| {
        b.iter(|| {
            i += 1;
            twin.run(cpu, i)
        });
    });
}

criterion_group!(benches, linear);
criterion_main!(benches);
