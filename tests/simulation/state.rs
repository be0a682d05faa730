//! What belongs together: topics, committed offsets and checkpoints. Accidents tear them apart, and an
//! operator decides how to continue.

use std::collections::{BTreeMap, BTreeSet};

use sundown::kafka::topic_reader::CommittedOffset;
use sundown::session::{Record, RecordKey};
use sundown::tracker::offset_metadata::{LogIdentity, OffsetMetadata};
use sundown::tracker::restore::NOWHERE;
use sundown::wire::routing::Routing;

use crate::cluster::{Cluster, Place, index};
use crate::log::Log;

/// What an accident does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accident {
    /// The source topic is deleted and created again.
    SourceRecreated,
    /// The checkpoint topic is deleted and created again.
    CheckpointRecreated,
    /// The committed offset of a partition is lost.
    OffsetLost,
    /// The committed offset of a partition is set by hand.
    OffsetSet,
    /// The first records of a checkpoint partition are lost.
    CheckpointCut,
    /// Another program writes to a checkpoint partition.
    CheckpointSoiled,
    /// The last records of a source partition are lost.
    SourceTruncated,
}

impl Accident {
    pub(crate) const ALL: [Self; 7] = [
        Self::SourceRecreated,
        Self::CheckpointRecreated,
        Self::OffsetLost,
        Self::OffsetSet,
        Self::CheckpointCut,
        Self::CheckpointSoiled,
        Self::SourceTruncated,
    ];

    /// The partitions of which it tears something apart.
    pub(crate) fn partitions(self, cluster: &Cluster, one: i32) -> BTreeSet<i32> {
        match self {
            Self::SourceRecreated | Self::CheckpointRecreated => cluster.partitions().collect(),
            _ => BTreeSet::from([one]),
        }
    }
}

impl Cluster {
    pub(crate) fn partitions(&self) -> std::ops::Range<i32> {
        0..i32::try_from(self.source.len()).expect("a few")
    }

    /// How the committed offsets state that sessions are distributed. If there are none, it is what trackers
    /// agreed on, and otherwise what this one finds.
    pub(crate) fn stated_routings(&mut self, found: Routing) -> Vec<Routing> {
        let committed = self.offsets.iter().flatten();
        let stated = committed.filter_map(|one| OffsetMetadata::decode(&one.metadata)?.routing);
        let stated: Vec<_> = stated.collect();
        if !stated.is_empty() {
            return stated;
        }
        let agreed = self.agreed.filter(|(_, topic)| *topic == self.recreated.0);
        let (agreed, _) = *self
            .agreed
            .insert(agreed.unwrap_or((found, self.recreated.0)));
        vec![agreed]
    }

    /// Has an accident happen, which concerns `partition` if it concerns only one; `at` chooses an offset.
    pub(crate) fn suffer(&mut self, accident: Accident, partition: i32, at: f64) {
        #[expect(clippy::cast_possible_truncation, reason = "a share of a small offset")]
        #[expect(clippy::cast_precision_loss, reason = "a small offset")]
        let share = |log: &Log| log.start + ((log.end - log.start) as f64 * at) as i64;
        let number = index(partition);
        match accident {
            Accident::SourceRecreated => {
                self.source.fill_with(Log::default);
                self.recreated.0 += 1;
            }
            Accident::CheckpointRecreated => {
                self.checkpoint.fill_with(Log::default);
                self.recreated.1 += 1;
            }
            Accident::OffsetLost => self.offsets[number] = None,
            Accident::OffsetSet => {
                self.offsets[number] = Some(CommittedOffset {
                    offset: share(&self.source[number]),
                    metadata: String::new(),
                });
            }
            Accident::CheckpointCut => {
                let to = share(&self.checkpoint[number]) + 1;
                self.checkpoint[number].delete_before(to);
            }
            Accident::CheckpointSoiled => {
                let pair = (Some(b"other".to_vec()), Some(b"{}".to_vec()));
                let appended = self.append(Place::Checkpoint(partition), None, pair, None);
                appended.expect("no transaction, no refusal");
            }
            Accident::SourceTruncated => {
                let log = &self.source[number];
                let to = share(log);
                let committed = self.offsets[number].as_ref().map_or(0, |one| one.offset);
                if log.next(to).is_some_and(|lost| lost.offset < committed) {
                    self.replaced.insert(partition);
                }
                self.source[number].truncate(to);
            }
        }
    }

    /// Why trackers have to hold each partition.
    pub(crate) fn mismatches(&self) -> BTreeMap<i32, &'static str> {
        let reasons = self.partitions().filter_map(|partition| {
            let reason = self.mismatch(partition)?;
            Some((partition, reason))
        });
        reasons.collect()
    }

    fn mismatch(&self, partition: i32) -> Option<&'static str> {
        let number = index(partition);
        let committed = self.offsets[number].as_ref();
        let metadata = committed.and_then(|one| OffsetMetadata::decode(&one.metadata));
        let (known, live, is_readable) = self.checkpointed(partition);
        let actual = self.identity();
        if let Some(OffsetMetadata { identity, .. }) = metadata {
            if identity.topic_id != actual.topic_id {
                return Some("topic_recreated");
            }
            if identity.checkpoint_id != actual.checkpoint_id {
                return Some("checkpoint_recreated");
            }
        }
        if committed.is_some_and(|one| one.offset > self.source[number].end)
            || self.replaced.contains(&partition)
        {
            return Some("log_truncated");
        }
        if !is_readable {
            return Some("checkpoint_unreadable");
        }
        match metadata.map(|metadata| metadata.identity.sessions) {
            Some(sessions) => sessions
                .is_some_and(|sessions| sessions != live)
                .then_some("checkpoint_incomplete"),
            None if known == 0 => None,
            None if committed.is_some() => Some("offset_foreign"),
            None => Some("offset_lost"),
        }
    }

    /// The records of a checkpoint partition, the live sessions in it, and whether all can be read.
    fn checkpointed(&self, partition: i32) -> (usize, u64, bool) {
        let log = self.log(Place::Checkpoint(partition));
        let mut values = BTreeMap::new();
        let mut records = 0;
        let mut from = log.start;
        while let Some(record) = log.next(from) {
            from = record.offset + 1;
            records += 1;
            values.insert(record.key.clone().unwrap_or_default(), record.value.clone());
        }
        let (mut live, mut is_readable) = (0, true);
        for (key, value) in values {
            let Some(value) = value else { continue };
            let key = RecordKey::decode(&key);
            match key.and_then(|key| Record::decode(key, &value)) {
                Ok(Record::Session(session)) => live += u64::from(session.live.is_some()),
                Ok(Record::CutOff(_)) => {}
                Err(_) => is_readable = false,
            }
        }
        (records, live, is_readable)
    }

    /// `sundown state reset` of a partition: to its beginning, or to its end.
    pub(crate) fn reset(&mut self, partition: i32, to_beginning: bool) {
        let number = index(partition);
        self.replaced.remove(&partition);
        let log = &self.source[number];
        let (offset, replay_from, sessions) = if to_beginning {
            (log.start, log.start, Some(0))
        } else {
            (log.end, NOWHERE, None)
        };
        let committed = self.offsets[number].as_ref();
        let committed = committed.and_then(|one| OffsetMetadata::decode(&one.metadata));
        let metadata = OffsetMetadata {
            watermark: None,
            replay_from,
            identity: LogIdentity {
                sessions,
                ..self.identity()
            },
            routing: committed.and_then(|metadata| metadata.routing),
        };
        self.offsets[number] = Some(CommittedOffset {
            offset,
            metadata: metadata.encode(),
        });
        if to_beginning {
            let log = self.log(Place::Checkpoint(partition));
            let mut keys = BTreeSet::new();
            let mut from = log.start;
            while let Some(record) = log.next(from) {
                from = record.offset + 1;
                keys.insert(record.key.clone());
            }
            for key in keys {
                let tombstone = self.append(Place::Checkpoint(partition), None, (key, None), None);
                tombstone.expect("no transaction, no refusal");
            }
        }
    }
}
