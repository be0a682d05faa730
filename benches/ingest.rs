//! Maps records with five expressions, and drains source topics with ingest, exactly-once, beside a bare
//! consumer.
//!
//!     cargo bench --bench ingest                              2 M records, JSON and Avro
//!     cargo bench --bench ingest -- --mapping                 the mapping alone, without Kafka
//!     cargo bench --bench ingest -- --records 500000 --rounds 1
//!
//! Brings up its own Kafka (`tests/kafka/kafka`), or uses SUNDOWN_TEST_BOOTSTRAP. Both readers read the same
//! topic on the same machine, so their ratio means something; the figures by themselves depend on the machine.
//! Records per second and core are those per second of CPU time of all threads of the process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a benchmark measures time, prints, and panics when it cannot go on"
)]
#![allow(missing_docs, dead_code, unreachable_pub, reason = "not a library")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use sundown::source::mapping::{Mapped, Mapping};
use sundown::source::record::InputRecord;

#[path = "../tests/support/mod.rs"]
mod support;

#[path = "ingest/formats.rs"]
mod formats;
mod measure;

use formats::Format;
use measure::bare::{self, Timing};
use measure::drained::Watch;
use measure::flags::{flag, has_flag};
use measure::usage::cpu_seconds;
use measure::{STEP_TIMEOUT, stop};
use support::installation::Installation;
use support::kafka::Kafka;

const PARTITIONS: u64 = 3;
const TOPIC: &str = "clicks";
/// Different records, mapped again and again.
const SAMPLES: u64 = 10_000;

fn main() {
    let (records, rounds) = (flag("--records", 2_000_000), flag("--rounds", 3));
    map(records);
    if has_flag("--mapping") {
        return;
    }
    println!("\n{records} records, {PARTITIONS} partitions, {rounds} rounds, medians\n");
    println!("| format | reader | records/s | CPU µs a record | records/s and core | ratio |");
    println!("|---|---|---|---|---|---|");
    for format in [Format::Json, Format::Avro] {
        drain(format, records, rounds);
    }
}

/// The mapping alone, on one thread.
fn map(records: u64) {
    println!("| mapping of JSON, five expressions | records/s and core | µs a record |");
    println!("|---|---|---|");
    let source = serde_yaml::from_str(&formats::source(Format::Json, TOPIC, "")).unwrap();
    let mapping = Mapping::compile(&source).unwrap();
    let values: Vec<_> = (0..SAMPLES)
        .map(|number| Format::Json.encode(number))
        .collect();
    for round in 1..=3 {
        let cpu = cpu_seconds("self");
        for value in values
            .iter()
            .cycle()
            .take(usize::try_from(records).unwrap())
        {
            let record = InputRecord {
                topic: TOPIC,
                value: Some(value),
                ..InputRecord::default()
            };
            let mapped = mapping.map(&record).unwrap();
            assert!(matches!(black_box(mapped), Mapped::Event(_)));
        }
        let cpu = cpu_seconds("self") - cpu;
        let (rate, each) = (records as f64 / cpu, cpu / records as f64 * 1e6);
        println!("| round {round} | {rate:.0} | {each:.2} |");
    }
}

fn drain(format: Format, records: u64, rounds: u64) {
    let name = format!("ingest-{}", format.name());
    let installation = Installation::without_topics(Kafka::shared(), &name, PARTITIONS);
    installation.create_topics();
    let topic = installation.topic(TOPIC);
    let partitions = i32::try_from(PARTITIONS).unwrap();
    installation.kafka.create_topic(&topic, partitions, &[]);
    fill(&installation, format, records);
    let registry = formats::Registry::start();
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source.yaml");
    std::fs::write(&source, formats::source(format, &topic, &registry.url())).unwrap();
    let source = source.to_str().unwrap();
    let (mut bare, mut ingest) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        bare.push(drain_bare(&installation, records));
        let group = format!("round-{round}");
        ingest.push(drain_ingest(&installation, source, &group));
    }
    let (bare, ingest) = (median(bare), median(ingest));
    let ratio = bare.seconds / ingest.seconds;
    row(format, "bare consumer", &bare, records, 1.0);
    row(format, "ingest, exactly-once", &ingest, records, ratio);
}

fn row(format: Format, reader: &str, drain: &Timing, records: u64, ratio: f64) {
    let records = records as f64;
    println!(
        "| {} | {reader} | {:.0} | {:.2} | {:.0} | {ratio:.2} |",
        format.name(),
        records / drain.seconds,
        drain.cpu_seconds / records * 1e6,
        records / drain.cpu_seconds,
    );
}

/// The drain that was neither the quickest nor the slowest.
fn median(mut drains: Vec<Timing>) -> Timing {
    drains.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    drains.swap_remove(drains.len() / 2)
}

fn fill(installation: &Installation<'_>, format: Format, records: u64) {
    let producer: BaseProducer = installation
        .kafka
        .client()
        .set("linger.ms", "20")
        .set("queue.buffering.max.kbytes", "65536")
        .create()
        .unwrap();
    let topic = installation.topic(TOPIC);
    for number in 0..records {
        let value = format.encode(number);
        let mut record = BaseRecord::<[u8], [u8]>::to(&topic).payload(&value);
        while let Err((_full, again)) = producer.send(record) {
            producer.poll(Duration::from_millis(10));
            record = again;
        }
    }
    producer.flush(STEP_TIMEOUT).unwrap();
}

/// A poll loop that does nothing with the records, with the settings of ingest.
fn drain_bare(installation: &Installation<'_>, records: u64) -> Timing {
    let settings = [("queued.max.messages.kbytes", "32768")];
    bare::read(installation, (TOPIC, PARTITIONS), records, &settings)
}

/// From the assignment until the last offset is committed.
fn drain_ingest(installation: &Installation<'_>, source: &str, group: &str) -> Timing {
    let args = ["ingest", "--sources", source, "--group", group];
    let ingest = installation.sundown(&args).print_warnings().start();
    ingest.wait_for_lines(STEP_TIMEOUT, 1, "\"assigned\"");
    let start = Instant::now();
    let group = format!("{group}.{}", installation.topic(TOPIC));
    Watch::of_topic(installation, &group, (TOPIC, PARTITIONS)).await_drained();
    let drain = Timing {
        seconds: start.elapsed().as_secs_f64(),
        cpu_seconds: cpu_seconds(ingest.id()),
    };
    stop(ingest);
    drain
}
