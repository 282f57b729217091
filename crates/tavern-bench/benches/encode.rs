//! Encoding frames, with criterion's statistics.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tavern_bench::CASES;

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    for case in CASES {
        let payload = case.payload();
        group.throughput(Throughput::Bytes(u64::try_from(payload.len()).unwrap_or(0)));
        group.bench_with_input(
            BenchmarkId::from_parameter(case.name),
            &payload,
            |bench, payload| {
                bench.iter(|| case.encode(black_box(payload)));
            },
        );
    }
    group.finish();
}

criterion_group!(benches, encode);
criterion_main!(benches);
