//! `docs/reference/metrics.md` lists every metric of every role.
#![allow(clippy::unwrap_used, reason = "tests panic on unexpected values")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use clap::Parser;
use prometheus::proto::{MetricFamily, MetricType};
use prometheus::{Registry, TextEncoder};
use sundown::clock::Clock;
use sundown::controller::metrics::{ControllerMetrics, PartitionLag, PolicyGauges, SourceGauges};
use sundown::handler::event::Trigger;
use sundown::handler::metrics::HandlerMetrics;
use sundown::health::Health;
use sundown::ingest::http::metrics::HttpMetrics;
use sundown::ingest::metrics::IngestMetrics;
use sundown::kafka::ConnectionArgs;
use sundown::metrics::{certificates, registry};
use sundown::processes::{ActivePolicy, Assignment};
use sundown::session::{Span, Timestamp};
use sundown::tracker::metrics::{AssignedPartition, LivePartition, TrackerMetrics};
use sundown::wire::watermark::Upstream;
use tempfile::NamedTempFile;

const PAGE: &str = "docs/reference/metrics.md";
/// A self-signed test certificate.
const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBdDCCARugAwIBAgIUTs0grNLIgkjTbKWeEXrHaHI1YRwwCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjMwMDQ2MzZaGA8yMTI2MTAzMDAwNDYz
NlowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABFlu
3Xer6XkkMke5AqN5oFMEx05c0FzoTgabEJFTDMxehSY6Is15xVT0YVD8QleohclY
RVcffG8a8ck8uJ2p0byjUzBRMB0GA1UdDgQWBBQoeyj9wkWp4GxQOlgTd3HTtwwy
IDAfBgNVHSMEGDAWgBQoeyj9wkWp4GxQOlgTd3HTtwwyIDAPBgNVHRMBAf8EBTAD
AQH/MAoGCCqGSM49BAMCA0cAMEQCIB3T/PLNsCvogxgv9qrxTeA/kfVBpj+yGxCL
fukTL8rDAiA/trU1E2bMMltixmXdhu7CjLSWtKhZt4XDBLk+XZ5AHw==
-----END CERTIFICATE-----
";

#[test]
fn the_page_lists_the_metrics_of_every_role() {
    let page = read(PAGE);
    let rows: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let roles = [tracker(), handler(), controller(), ingest()];
    let roles = roles.map(|registry| registry.gather().iter().map(row).collect::<Vec<_>>());
    let everywhere = |row: &String| roles.iter().all(|rows| rows.contains(row));
    // The page lists metrics of all roles once.
    let (shared, own): (Vec<_>, Vec<_>) = roles
        .iter()
        .flatten()
        .cloned()
        .partition(|row| everywhere(row));
    let expected = [&shared[..shared.len() / roles.len()], &own].concat();
    assert!(
        rows == expected,
        "the rows of {PAGE} should be\n{}",
        expected.join("\n")
    );
}

/// Finds metrics that the registries of the test above do not gather because they have no
/// label values yet.
#[test]
fn the_page_lists_every_metric_in_the_sources() {
    let page = read(PAGE);
    let mut names = 0;
    let modules = [
        "src/metrics",
        "src/tracker/metrics",
        "src/handler/metrics",
        "src/controller/metrics",
        "src/ingest/metrics",
    ];
    for source in modules.into_iter().flat_map(sources) {
        let texts = source.split('"').skip(1).step_by(2);
        for name in texts.filter(|text| text.starts_with("sundown_") || text.starts_with("kafka_"))
        {
            names += 1;
            assert!(page.contains(&format!("| `{name}` |")), "{name}");
        }
    }
    assert!(names > 30, "{names}");
}

/// Prints the duration of a scrape of a thousand partitions; it depends on the machine, so
/// there is no limit.
#[test]
fn a_thousand_partitions_are_scraped() {
    let registry = registry("controller", &Health::default()).unwrap();
    let metrics = TrackerMetrics::new(&registry).unwrap();
    metrics.assignment((0..1_000).map(live));
    let numbers: Vec<_> = (0..1_000).collect();
    let lags = numbers.iter().flat_map(|&partition| {
        ["sundown-tracker", "sundown-handler"].map(|group| lag(group, partition))
    });
    let controller = ControllerMetrics::new(&registry).unwrap();
    controller.set_lag(&lags.collect::<Vec<_>>());

    let clock = Clock::default();
    let scrapes = 20;
    let mut text = String::new();
    for _ in 0..scrapes {
        text = TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap();
    }
    let each = clock.elapsed() / scrapes;
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    assert!(series > 7_000, "{series}");
    println!(
        "{series} series, {} KiB: {each:?} per scrape",
        text.len() / 1024
    );
}

fn tracker() -> Registry {
    let registry = with_shared_metrics("tracker");
    let metrics = TrackerMetrics::new(&registry).unwrap();
    metrics.assignment([live(0)].into_iter());
    metrics.clock_skew(Some(Span::ZERO));
    metrics.upstream(&Upstream {
        source_topics: BTreeMap::from([("clicks".to_owned(), Timestamp::from_millis(1))]),
        ..Upstream::default()
    });
    metrics.policies(&[ActivePolicy {
        name: "default/p".to_owned(),
        generation: 1,
        sessions: None,
    }]);
    registry
}

fn live(number: i32) -> AssignedPartition {
    let live = LivePartition {
        sessions: 1,
        unread: 0,
        watermark: Timestamp::from_millis(1),
        paused: false,
    };
    AssignedPartition {
        number,
        live: Some(live),
    }
}

fn lag(group: &str, partition: i32) -> PartitionLag<'_> {
    PartitionLag {
        group,
        topic: "session_logs",
        partition,
        records: 1,
        seconds: Some(1.0),
    }
}

/// Returns the registry of a process that is not ready and has a TLS certificate.
fn with_shared_metrics(role: &str) -> Registry {
    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        connection: ConnectionArgs,
    }
    let health = Health::default();
    health.set_not_ready("kafka", "looking for the topics");
    let registry = registry(role, &health).unwrap();
    let certificate = NamedTempFile::new().unwrap();
    fs::write(certificate.path(), CERTIFICATE).unwrap();
    let path = certificate.path().to_str().unwrap();
    let flags = Flags::parse_from(["test", "--tls-ca-file", path]);
    certificates::register(&registry, &flags.connection).unwrap();
    registry
}

fn handler() -> Registry {
    let registry = with_shared_metrics("handler");
    let metrics = HandlerMetrics::new(&registry, ["notify"], &["malformed"]).unwrap();
    metrics.create_consumer_series("notify", Trigger::Ending);
    registry
}

fn controller() -> Registry {
    let registry = with_shared_metrics("controller");
    let metrics = ControllerMetrics::new(&registry).unwrap();
    metrics.set_policies(&[PolicyGauges {
        name: "default/p",
        generation: 1,
        sessions: 1,
        trackers: 1,
        ready: true,
    }]);
    metrics.set_sources(&[SourceGauges {
        name: "default/s",
        ready: true,
        processes: 1,
    }]);
    metrics.set_lag(&[lag("sundown-tracker", 0)]);
    registry
}

fn ingest() -> Registry {
    let registry = with_shared_metrics("ingest");
    let metrics = IngestMetrics::new(&registry).unwrap();
    metrics.assigned("clicks", 1);
    let assignment = Assignment {
        topic: "clicks".to_owned(),
        partition: 0,
        restoring: false,
        position: Some(1),
        end: Some(2),
        watermark: Some("2025-02-07T12:00:00Z".to_owned()),
        sessions: 0,
        paused: false,
    };
    metrics.show("clicks", &[assignment]);
    let http = HttpMetrics::new(&registry).unwrap();
    http.answered(202);
    http.written("shop", 1);
    registry
}

fn row(family: &MetricFamily) -> String {
    let kind = match family.get_field_type() {
        MetricType::COUNTER => "counter",
        MetricType::GAUGE => "gauge",
        MetricType::HISTOGRAM => "histogram",
        other => panic!("{}: {other:?}", family.name()),
    };
    let labels = family.get_metric()[0].get_label().iter();
    let labels: Vec<_> = labels.map(|label| format!("`{}`", label.name())).collect();
    let (name, help) = (family.name(), family.help());
    format!("| `{name}` | {kind} | {} | {help} |", labels.join(", "))
}

/// Returns the sources of a module and its submodules.
fn sources(module: &str) -> Vec<String> {
    let mut sources = vec![read(&format!("{module}.rs"))];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(module);
    let files = fs::read_dir(folder).into_iter().flatten();
    for file in files.map(|file| file.unwrap().path()) {
        if file.extension().is_some() {
            let name = file.file_stem().unwrap().to_str().unwrap();
            sources.extend(self::sources(&format!("{module}/{name}")));
        }
    }
    sources
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_default()
}
