//! `cargo bench -p quickpick-benches`: linear layers on the CPU, 2:4 and dense, by criterion. For
//! rivals and records: `cargo xtask bench`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use quickpick::Backend;
use quickpick::Cpu;
use quickpick::kernels::{DType, Weights, select};
use quickpick_benches::contender::{Contender, Method};
use quickpick_benches::ours::{Ours, Uploaded, problem};
use quickpick_benches::shapes::{LAYERS, Shape};
use quickpick_benches::weights::random;
use std::time::Duration;

/// A sample is one rotation of the inputs; criterion decides how many.
const METHOD: Method = Method { rounds: 1, sample: Duration::ZERO, rotate_bytes: 64 << 20 };

fn linear(c: &mut Criterion) {
    let cpu = Cpu::new();
    let layer = LAYERS[0];
    let weight = random(DType::F16, layer.m, layer.k, 1).expect("a layer of the table");
    let mut uploaded = Uploaded::new(&cpu, &*weight, METHOD);
    let mut group = c.benchmark_group(layer.label());
    for n in [1, 16, 128] {
        let shape = Shape { layer, n };
        // operations of the dense layer, for both: the rate is dense-equivalent
        group.throughput(Throughput::Elements(shape.operations() as u64));
        for weights in [Weights::Sparse24, Weights::Dense] {
            let problem = problem(weights, DType::F16, layer.m, n, layer.k);
            let plan = select(&problem, cpu.caps()).expect("the host serves every shape").plan;
            let mut ours = Ours::new(&mut uploaded, &plan).expect("a right answer");
            let name = BenchmarkId::new(ours.about().kernel.clone(), n);
            group.bench_function(name, |b| {
                b.iter_custom(|launches| {
                    let us = (0..launches).map(|_| ours.sample().expect("a run")).sum::<f64>();
                    Duration::from_secs_f64(us / 1e6)
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, linear);
criterion_main!(benches);
