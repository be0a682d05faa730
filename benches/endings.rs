//! Throughput of the handler: one webhook call per terminal event.
//!
//!     cargo bench --bench endings                       100,000 endings, 64 at once
//!     cargo bench --bench endings -- --endings 20000 --concurrency 16
//!
//! Brings up its own Kafka (`tests/kafka/kafka`), or uses SUNDOWN_TEST_BOOTSTRAP. The
//! receiver answers at once, on the same machine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a benchmark measures time, prints, and panics when it cannot go on"
)]
#![allow(missing_docs, dead_code, unreachable_pub, reason = "not a library")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tempfile::TempDir;
use uuid::Uuid;

#[path = "../tests/support/mod.rs"]
mod support;

mod measure;

use measure::flags::flag;
use measure::usage::memory_mib;
use support::installation::Installation;
use support::kafka::Kafka;

const PARTITIONS: u64 = 3;
/// Without progress for so long, the handler has stopped.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(60);

fn main() {
    let (endings, concurrency) = (flag("--endings", 100_000), flag("--concurrency", 64));
    let kafka = Kafka::shared();
    let installation = Installation::without_topics(kafka, "endings", PARTITIONS);
    fill(&installation, endings);

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let calls = Arc::new(AtomicU64::new(0));
    let address = runtime.block_on(sink(Arc::clone(&calls)));
    let folder = TempDir::new().unwrap();
    let actions = folder.path().join("actions.yaml");
    let text = format!(
        "actions:\n- {{name: notify, type: webhook, url: 'http://{address}/hook', \
         secret: {{valueFrom: {{env: PATH}}}}}}\n"
    );
    std::fs::write(&actions, text).unwrap();
    let concurrency_text = concurrency.to_string();
    let launch = installation.sundown(&["handler", "--concurrency", &concurrency_text]);
    let handler = launch.arg("--actions").arg(&actions).start();
    let id = handler.id();
    println!(
        "| endings | concurrent calls | endings/s | peak MiB after a tenth | peak MiB at the end |"
    );
    println!("|---|---|---|---|---|");
    await_calls(&calls, 1);
    let begun = Instant::now();
    await_calls(&calls, endings / 10);
    let early = memory_mib(id, "VmHWM");
    await_calls(&calls, endings);
    let rate = endings as f64 / begun.elapsed().as_secs_f64();
    let peak = memory_mib(id, "VmHWM");
    println!("| {endings} | {concurrency} | {rate:.0} | {early:.0} | {peak:.0} |");
    drop(handler);
}

/// Waits until there have been so many calls.
fn await_calls(calls: &AtomicU64, count: u64) {
    let (mut last, mut at) = (0, Instant::now());
    loop {
        let now = calls.load(Ordering::Relaxed);
        if now >= count {
            return;
        }
        if now > last {
            (last, at) = (now, Instant::now());
        }
        assert!(
            at.elapsed() < PROGRESS_TIMEOUT,
            "the handler has stopped at {now}"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

async fn sink(calls: Arc<AtomicU64>) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let receive = move || {
        calls.fetch_add(1, Ordering::Relaxed);
        std::future::ready(StatusCode::NO_CONTENT)
    };
    let router = Router::new().route("/hook", post(receive));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn fill(installation: &Installation<'_>, endings: u64) {
    installation.create_topics();
    let producer: BaseProducer = installation
        .kafka
        .client()
        .set("queue.buffering.max.messages", "10000000")
        .create()
        .unwrap();
    let topic = installation.topic("expired_sessions");
    for number in 0..endings {
        let (id, session) = (Uuid::new_v4(), Uuid::new_v4().to_string());
        let ending = format!(
            r#"{{"event_id":"{id}","session_id":"{session}","user_id":{number},"reason":"idle_timeout","policy":{{"name":"default","generation":1}},"started_at":"2025-02-07T11:00:00.000Z","last_activity":"2025-02-07T12:00:00.000Z","ended_at":"2025-02-07T13:00:00.000Z","detected_at":"2025-02-07T13:00:05.000Z","attributes":{{}}}}"#
        );
        let record = BaseRecord::to(&topic).key(&session).payload(&ending);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.poll(Duration::ZERO);
    }
    producer.flush(PROGRESS_TIMEOUT).unwrap();
}
