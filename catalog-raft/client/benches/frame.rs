//! Frames on a peer port: a submission of buys as its bytes, and the frame around them. `make microbench`.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use bytes::BytesMut;
use catalog_client::{
    Action, Command, CommandId, KeyOrigin, Line,
    frame::{decode, encode, put_frame, take_frame},
    protocol::{Envelope, REQUEST, Request},
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn submission(count: u64) -> Envelope<Request> {
    let buy = |n: u64| {
        let lines = vec![Line { item_number: 1 + n % 100, quantity: 1 }];
        let action = Action::PlaceOrder { lines };
        Command { id: CommandId::new(), origin: KeyOrigin::Made, born: 1_000_000, action }
    };
    let commands = (0..count).map(buy).collect();
    Envelope { id: 1_000_000, body: Request::Submit { commands, wait_ms: 3_000 } }
}

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("frame");
    for count in [1, 64, 256] {
        let submission = submission(count);
        let bytes = encode(&submission);
        let mut framed = BytesMut::new();
        put_frame(&mut framed, REQUEST, &bytes);
        group.throughput(Throughput::Elements(count));
        group.bench_function(format!("encode/{count} buys"), |b| b.iter(|| encode(&submission)));
        group.bench_function(format!("decode/{count} buys"), |b| {
            b.iter(|| decode::<Envelope<Request>>(&bytes).expect("it decodes"));
        });
        group.bench_function(format!("put/{count} buys"), |b| {
            let mut out = BytesMut::with_capacity(1 << 20);
            b.iter(|| {
                out.clear();
                put_frame(&mut out, REQUEST, &bytes);
            });
        });
        group.bench_function(format!("take/{count} buys"), |b| {
            b.iter_batched(|| framed.clone(), |mut buffer| take_frame(&mut buffer), criterion::BatchSize::SmallInput);
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
