//! A restore whose source records have been deleted.

use std::time::Duration;

use rdkafka::message::OwnedHeaders;

use super::*;
use crate::clock::Reading;
use crate::session::{Checkpoint, Effect, Packed, Policy, Record, SessionRecord, Span, UserId};
use crate::tracker::offset_metadata::LogIdentity;
use crate::wire::record::TimestampKind;
use crate::wire::routing::RoutingKey;

const IDLE: Span = Span::from_secs(60);
const WATERMARK: Timestamp = Timestamp::from_millis(1_764_000_000_000);

/// A checkpoint record.
struct Written {
    value: Vec<u8>,
    covers_to: Option<i64>,
}

impl SourceRecord for Written {
    fn offset(&self) -> i64 {
        0
    }

    fn timestamp(&self) -> (Timestamp, TimestampKind) {
        (WATERMARK, TimestampKind::CreateTime)
    }

    fn key(&self) -> Option<&[u8]> {
        Some(b"s")
    }

    fn value(&self) -> Option<&[u8]> {
        Some(&self.value)
    }

    fn headers(&self) -> Option<OwnedHeaders> {
        None
    }
}

/// A log with one session in the checkpoint; its activity from offset 3 on has been deleted.
#[derive(Default)]
struct Deleted {
    now: Timestamp,
    /// By which its offset was committed.
    routing: Option<Routing>,
    /// How many sessions there were when it was committed.
    sessions: Option<u64>,
    /// What the checkpoint record states, if it was written outside a transaction.
    covers_to: Option<i64>,
    /// How much of the source has been deleted.
    first: Option<i64>,
}

impl RestoreLog for Deleted {
    type Error = anyhow::Error;
    type Record<'a> = Written;

    fn reading(&self) -> Reading {
        Reading {
            wall: self.now,
            elapsed: Duration::ZERO,
        }
    }

    fn committed(&mut self) -> Result<Option<CommittedOffset>, anyhow::Error> {
        let metadata = OffsetMetadata {
            watermark: Some(WATERMARK),
            replay_from: 3,
            identity: LogIdentity {
                sessions: self.sessions,
                ..LogIdentity::default()
            },
            routing: self.routing,
        };
        Ok(Some(CommittedOffset {
            offset: 9,
            metadata: metadata.encode(),
        }))
    }

    fn identity(&mut self) -> Result<LogIdentity, anyhow::Error> {
        Ok(LogIdentity::default())
    }

    fn source_offsets(&mut self) -> Result<OffsetRange, anyhow::Error> {
        let first = self.first.unwrap_or(9);
        Ok(OffsetRange { first, end: first })
    }

    fn checkpoint_end(&mut self) -> Result<i64, anyhow::Error> {
        Ok(1)
    }

    fn checkpoint_stable_offsets(&mut self) -> Result<OffsetRange, anyhow::Error> {
        Ok(OffsetRange { first: 0, end: 1 })
    }

    fn pause(&mut self) -> Result<(), anyhow::Error> {
        Ok(())
    }

    fn start_reading(&mut self, topic: RestoreTopic, from: i64) -> Result<(), anyhow::Error> {
        assert_eq!((topic, from), (RestoreTopic::Checkpoint, 0));
        Ok(())
    }

    fn poll(
        &mut self,
        visit: &mut impl FnMut(&Written) -> Result<(), anyhow::Error>,
    ) -> Result<ReadProgress, anyhow::Error> {
        let started = WATERMARK - Span::from_secs(50);
        let mut value = Vec::new();
        let live = Checkpoint {
            user: UserId {
                text: Packed::new("1"),
                number: true,
            },
            started_at: started,
            authenticated_at: started,
            logged_in: false,
            began_with_login: false,
            last_activity: started,
            warned_of: None,
            attributes: None,
            attributes_at: None,
            deferred: Vec::new(),
            awaits_check: false,
            position: 1,
        };
        let record = Record::Session(SessionRecord {
            session: Packed::new("s"),
            live: Some(live),
            ended: None,
            unmatched: Vec::new(),
        });
        record.encode(&mut value);
        let covers_to = self.covers_to;
        visit(&Written { value, covers_to })?;
        Ok(ReadProgress::Record { next: 1 })
    }

    fn position(&mut self) -> Result<i64, anyhow::Error> {
        Ok(1)
    }

    fn stop_reading(&mut self) -> Result<(), anyhow::Error> {
        Ok(())
    }

    fn covered_position(record: &Written) -> Option<i64> {
        record.covers_to
    }
}

fn routing(partitions: i32) -> Routing {
    let key = RoutingKey::SessionId;
    Routing { partitions, key }
}

fn settings() -> RestoreSettings {
    let policies = PolicySet::new(Vec::new(), Policy::built_in(IDLE, None)).unwrap();
    RestoreSettings {
        partition: 0,
        routing: routing(1),
        table: TableConfig::default(),
        policies: Arc::new(policies),
        decode_limits: DecodeLimits::default(),
        clocks: Clocks::new(Span::ZERO),
    }
}

/// Activity that was read before the offset was committed may have happened after the watermark
/// in its metadata, so that watermark is too early.
#[test]
fn sessions_whose_activity_has_been_deleted_count_as_active_now() {
    let now = WATERMARK + Span::from_secs(20);
    let mut log = Deleted {
        now,
        ..Deleted::default()
    };
    let mut partition = restore(&mut log, &settings()).unwrap().partition;
    partition.on_end_offset(9, now + IDLE + Span::from_secs(600), Span::ZERO);
    partition.on_no_upstream();
    partition.advance(&mut 10);
    let batch = partition.flush(now, &mut 10).unwrap();
    let ended_at = batch.effects.iter().find_map(|effect| match effect {
        Effect::Ended(ending) => Some(ending.ended_at),
        _ => None,
    });
    assert_eq!(ended_at, Some(now + IDLE));
}

#[test]
fn sessions_that_were_distributed_otherwise_are_held() {
    let restored = |partitions| {
        let mut log = Deleted {
            now: WATERMARK,
            routing: Some(routing(partitions)),
            ..Deleted::default()
        };
        restore(&mut log, &settings())
    };
    assert!(restored(1).is_ok());
    let hold = restored(2).unwrap_err().downcast::<StateHold>().unwrap();
    let expected = StateHold::LayoutDiffers {
        committed: 2,
        own: 1,
    };
    assert_eq!(hold, expected);
}

/// Outside transactions, a tracker may end between a checkpoint record and the commit of its offset. If what
/// the record covers is deleted before the next one starts, the record counts, although there was no session
/// when the offset was committed.
#[test]
fn checkpoint_records_after_the_commit_count_if_what_they_cover_has_been_deleted() {
    let degraded = |covers_to| {
        let mut log = Deleted {
            now: WATERMARK,
            sessions: Some(0),
            covers_to,
            first: Some(12),
            ..Deleted::default()
        };
        let restored = restore(&mut log, &settings());
        restored.map(|restored| restored.degraded)
    };
    let replay_deleted = Degraded::ReplayDeleted {
        replay_from: 3,
        start: 12,
    };
    assert_eq!(degraded(Some(11)).unwrap(), Some(replay_deleted));
    let hold = degraded(Some(8)).unwrap_err().downcast::<StateHold>();
    let incomplete = StateHold::CheckpointIncomplete {
        committed: 0,
        found: 1,
    };
    assert_eq!(hold.unwrap(), incomplete);
}
