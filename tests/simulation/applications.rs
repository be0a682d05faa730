//! Writes of applications to the source topic: events on time and late, out of order and from the
//! future, in transactions and without, and malformed records.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use sundown::session::EventKind;
use sundown::wire::forwarded::{Forwarded, SourceOffset};
use sundown::wire::partitioner::murmur2_partition;

use crate::cluster::{Cluster, Place};
use crate::facts::{Fact, Stamps, counts_from_to};
use crate::log::Txn;
use crate::model;
use crate::orderly::{self, Orderly};
use crate::schedule::Settings;
use crate::users::user_on;

/// How long an application's transaction may stay open.
const UPSTREAM_TIMEOUT: i64 = 30_000;
const HOUR: i64 = 3_600_000;

/// Everything that writes session events.
#[derive(Debug)]
pub(crate) struct Applications {
    settings: Settings,
    /// Transactions that have not been ended.
    open: Vec<Txn>,
    /// Draws the events, if they keep their order.
    orderly: Option<Orderly>,
}

#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) session: Option<String>,
    pub(crate) user: u32,
    pub(crate) kind: EventKind,
    pub(crate) at: i64,
    pub(crate) attributes: &'static str,
    /// The same event for the reference model.
    pub(crate) model: Option<model::Event>,
}

impl Applications {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            open: Vec::new(),
            orderly: settings.orderly.then(|| Orderly::new(settings)),
        }
    }

    /// Some events, all in one transaction if it is to stay open.
    pub(crate) fn events(
        &mut self,
        cluster: &mut Cluster,
        rng: &mut ChaCha8Rng,
        in_transaction: bool,
    ) -> Vec<Fact> {
        let txn = in_transaction.then(|| cluster.begin(Some(UPSTREAM_TIMEOUT)));
        self.open.extend(txn);
        let count = rng.random_range(1..8);
        (0..count)
            .filter_map(|_| {
                let partition = rng.random_range(0..self.settings.partitions);
                let number = rng.random_range(0..self.settings.ids);
                let event = match &mut self.orderly {
                    Some(orderly) => orderly.event(cluster.now, rng, partition, number),
                    None => self.event(
                        cluster.now,
                        rng,
                        session(partition, number, self.settings.partitions),
                    ),
                };
                self.write(cluster, rng, txn, partition, &event)
            })
            .collect()
    }

    /// A session that is active at short intervals; the caller lets time pass between.
    pub(crate) fn chat(&mut self, cluster: &mut Cluster, rng: &mut ChaCha8Rng) -> Vec<Fact> {
        let partition = rng.random_range(0..self.settings.partitions);
        let number = rng.random_range(0..self.settings.ids);
        let event = Event {
            session: Some(session(partition, number, self.settings.partitions)),
            user: rng.random_range(0..3),
            kind: EventKind::Activity,
            at: cluster.now - rng.random_range(0..200),
            attributes: "",
            model: None,
        };
        let event = if self.settings.orderly {
            orderly::of_owner(event, self.settings, partition, number)
        } else {
            event
        };
        self.write(cluster, rng, None, partition, &event)
            .into_iter()
            .collect()
    }

    pub(crate) fn log_out_everywhere(
        &mut self,
        cluster: &mut Cluster,
        rng: &mut ChaCha8Rng,
    ) -> Vec<Fact> {
        let mut user = rng.random_range(0..3);
        let mut partitions = 0..self.settings.partitions;
        if self.settings.user_sessions.is_some() {
            let partition = rng.random_range(partitions);
            user = user_on(partition, user, self.settings.partitions);
            partitions = partition..partition + 1;
        }
        let event = Event {
            session: None,
            user,
            kind: [EventKind::Logout, EventKind::Revoke][rng.random_range(0..2)],
            at: cluster.now - rng.random_range(0..300),
            attributes: "",
            model: None,
        };
        let event = match &mut self.orderly {
            Some(orderly) => match orderly.end_of_user(event) {
                Some(event) => event,
                None => return Vec::new(),
            },
            None => event,
        };
        let count = self.known_partitions(cluster, rng);
        if self.settings.misrouted && rng.random_ratio(1, 2) {
            // To one partition, from which it is forwarded to all others.
            let partition = rng.random_range(0..count);
            let written = self.append(cluster, rng, None, (partition, None), &event);
            let fact = |home| {
                Some(Fact {
                    partition: home,
                    offset: (home == partition).then_some(written.as_ref()?.origin.offset),
                    ..written.clone()?
                })
            };
            return partitions.filter_map(fact).collect();
        }
        let key = Forwarded::copies(count).encode();
        let mut copy = |partition| {
            let place = (partition, Some(key.clone()));
            self.append(cluster, rng, None, place, &event)
        };
        let facts: Vec<Fact> = partitions.filter_map(&mut copy).collect();
        // Added partitions have no sessions.
        let _no_facts = (self.settings.partitions..count)
            .filter_map(&mut copy)
            .count();
        facts
    }

    pub(crate) fn garbage(&mut self, cluster: &mut Cluster, rng: &mut ChaCha8Rng) -> Vec<Fact> {
        let partition = rng.random_range(0..self.settings.partitions);
        let value = b"{\"session_id\":".to_vec();
        let appended = cluster.append(Place::Source(partition), None, (None, Some(value)), None);
        let offset = appended.expect("no transaction, no refusal");
        vec![Fact {
            partition,
            origin: SourceOffset { partition, offset },
            offset: Some(offset),
            upstream: None,
            appended: cluster.now,
            session: None,
            kind: EventKind::Activity,
            earliest: 0,
            latest: 0,
            describes: false,
            event: None,
            txn: None,
            garbage: true,
            deleted: false,
            lost: false,
        }]
    }

    /// Commits or aborts some transaction.
    pub(crate) fn end_one(&mut self, cluster: &mut Cluster, rng: &mut ChaCha8Rng) {
        if !self.open.is_empty() {
            let which = rng.random_range(0..self.open.len());
            let txn = self.open.swap_remove(which);
            // Refused if the brokers have given it up.
            let _timed_out = cluster.end(txn, rng.random_ratio(2, 3));
        }
    }

    /// Ends all of them.
    pub(crate) fn end_all(&mut self, cluster: &mut Cluster, rng: &mut ChaCha8Rng) {
        while !self.open.is_empty() {
            self.end_one(cluster, rng);
        }
    }

    fn event(&self, now: i64, rng: &mut ChaCha8Rng, session: String) -> Event {
        let kind = match rng.random_range(0..20) {
            0..14 => EventKind::Activity,
            14..17 => EventKind::Login,
            17..19 => EventKind::Logout,
            _ => [EventKind::Revoke, EventKind::Rotated][rng.random_range(0..2)],
        };
        let near_future = self.settings.max_future_skew - 4_000;
        let at = match rng.random_range(0..40) {
            0..24 => now - rng.random_range(0..300),
            24..30 => now - rng.random_range(0..3_000),
            30..35 => now - rng.random_range(0..30_000),
            35..38 => now + rng.random_range(0..near_future),
            38 => now + HOUR,
            _ => now + 9_000 * HOUR,
        };
        Event {
            session: Some(session),
            user: rng.random_range(0..3),
            kind,
            at,
            attributes: match rng.random_range(0..8) {
                0 => r#","attributes":{"tenant":"acme"}"#,
                1 => r#","attributes":{"tenant":"globex"}"#,
                2 => r#","attributes":{}"#,
                _ => "",
            },
            model: None,
        }
    }

    /// Writes an event that belongs on `partition`, there or elsewhere.
    fn write(
        &self,
        cluster: &mut Cluster,
        rng: &mut ChaCha8Rng,
        txn: Option<Txn>,
        partition: i32,
        event: &Event,
    ) -> Option<Fact> {
        let id = event.session.as_deref().unwrap_or_default();
        if self.settings.ingest > 0 && txn.is_none() && is_for_ingest(cluster, rng, event) {
            return Some(write_upstream(cluster, rng, (partition, id), event));
        }
        let mut place = (partition, Some(id.as_bytes().to_vec()));
        let count = self.known_partitions(cluster, rng);
        if count > self.settings.partitions {
            place.0 = murmur2_partition(Some(id.as_bytes()), count).unwrap_or_default();
        }
        if self.settings.misrouted {
            if rng.random_ratio(1, 3) {
                place.0 = rng.random_range(0..count);
            }
            place.1 = match rng.random_range(0..4) {
                0 => None,
                1 => Some(format!("\"{id}\"").into_bytes()),
                2 => Some(event.user.to_string().into_bytes()),
                _ => place.1,
            };
        }
        let written = self.append(cluster, rng, txn, place, event)?;
        Some(Fact {
            partition,
            offset: (written.origin.partition == partition).then_some(written.origin.offset),
            ..written
        })
    }

    /// How many partitions a producer knows, whose metadata may be older than the last change.
    fn known_partitions(&self, cluster: &Cluster, rng: &mut ChaCha8Rng) -> i32 {
        let count = i32::try_from(cluster.source.len()).expect("a few");
        rng.random_range(self.settings.partitions..=count)
    }

    /// Appends an event to a partition, under a key.
    fn append(
        &self,
        cluster: &mut Cluster,
        rng: &mut ChaCha8Rng,
        txn: Option<Txn>,
        (partition, key): (i32, Option<Vec<u8>>),
        event: &Event,
    ) -> Option<Fact> {
        let created = match rng.random_range(0..20) {
            0 => cluster.now + HOUR,
            1 => cluster.now - rng.random_range(0..60_000),
            _ => cluster.now,
        };
        let created = if self.settings.orderly {
            cluster.now
        } else {
            created
        };
        let pair = (key, Some(event.json()));
        // Refused if the transaction is over already.
        let offset = cluster
            .append(Place::Source(partition), txn, pair, Some(created))
            .ok()?;
        let stamps = if self.settings.append_time {
            Stamps::ByBrokers(cluster.clocks())
        } else {
            Stamps::ByProducer(created)
        };
        let skew = self.settings.max_future_skew;
        let (earliest, latest) = counts_from_to(event.at, cluster.now, stamps, skew);
        Some(Fact {
            partition,
            origin: SourceOffset { partition, offset },
            offset: Some(offset),
            upstream: None,
            appended: cluster.now,
            session: event.session.clone(),
            kind: event.kind,
            earliest,
            latest,
            describes: event.kind == EventKind::Login || !event.attributes.is_empty(),
            event: event.model.clone(),
            txn,
            garbage: false,
            deleted: false,
            lost: false,
        })
    }
}

/// Applications that Sundown does not know write most events. What a clock was ahead of depends on when
/// ingest writes it, so their clocks are not.
fn is_for_ingest(cluster: &Cluster, rng: &mut ChaCha8Rng, event: &Event) -> bool {
    event.at <= cluster.now && rng.random_ratio(2, 3)
}

/// Writes an event of a session that belongs on `partition` to some partition of the topic that ingest reads.
fn write_upstream(
    cluster: &mut Cluster,
    rng: &mut ChaCha8Rng,
    (partition, id): (i32, &str),
    event: &Event,
) -> Fact {
    let written = rng.random_range(0..cluster.upstream.partitions());
    let now = cluster.now;
    let offset = cluster
        .upstream
        .append(written, now, id.as_bytes(), event.json());
    let unknown = SourceOffset {
        partition,
        offset: -1,
    };
    Fact {
        partition,
        origin: unknown,
        offset: None,
        upstream: Some(SourceOffset {
            partition: written,
            offset,
        }),
        appended: now,
        session: event.session.clone(),
        kind: event.kind,
        earliest: event.at,
        latest: event.at,
        describes: event.kind == EventKind::Login || !event.attributes.is_empty(),
        event: event.model.clone(),
        txn: None,
        garbage: false,
        deleted: false,
        lost: false,
    }
}

impl Event {
    fn json(&self) -> Vec<u8> {
        let kind = match self.kind {
            EventKind::Activity => "activity",
            EventKind::Login => "login",
            EventKind::Logout => "logout",
            EventKind::Revoke => "revoke",
            EventKind::Rotated => "rotated",
        };
        let session = self.session.as_ref();
        let session = session.map_or_else(String::new, |id| format!(r#""session_id":"{id}","#));
        format!(
            r#"{{{session}"user_id":{},"activity_timestamp":{},"event":"{kind}"{}}}"#,
            self.user, self.at, self.attributes
        )
        .into_bytes()
    }
}

/// The id of one of the sessions that belong on a partition of `partitions`.
pub(crate) fn session(partition: i32, number: u32, partitions: i32) -> String {
    let ids = (0..).map(|salt: u32| format!("s{partition}-{number}-{salt}"));
    let is_there =
        |id: &String| murmur2_partition(Some(id.as_bytes()), partitions) == Some(partition);
    let mut there = ids.filter(is_there);
    there.next().expect("there are ids for every partition")
}
