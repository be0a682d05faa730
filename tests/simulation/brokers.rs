//! The brokers: which of them leads each partition of the source topic and of the checkpoint, and one that
//! was deposed and does not know it.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use sundown::kafka::leaders::{Asker, LeaderResponse};

use crate::cluster::{Cluster, Place, index};

const BROKERS: i32 = 3;
/// How often no witness has an answer, in a thousand.
const NO_WITNESS: u32 = 100;

/// The brokers of the cluster.
#[derive(Debug)]
pub(crate) struct Brokers {
    /// The leader of each partition, in both topics.
    pub(crate) leaders: Vec<i32>,
    isolated: Option<Isolated>,
}

/// A broker that is cut off from the others, but not from all clients.
#[derive(Debug)]
struct Isolated {
    broker: i32,
    /// The leaders as it knows them.
    leaders: Vec<i32>,
    /// The last stable offset and the end of the partitions that it led.
    ends: Vec<(i32, (i64, i64))>,
    /// The ends of the checkpoint partitions that it led.
    checkpoint_ends: Vec<(i32, i64)>,
}

impl Brokers {
    pub(crate) fn new(partitions: usize) -> Self {
        let leaders = (0..BROKERS).cycle().take(partitions).collect();
        Self {
            leaders,
            isolated: None,
        }
    }

    pub(crate) fn grow(&mut self, partitions: usize) {
        let added = (0..BROKERS).cycle().skip(self.leaders.len());
        let missing = partitions.saturating_sub(self.leaders.len());
        let isolated = self.isolated.as_ref().map(|isolated| isolated.broker);
        let leaders = added.take(missing).map(|broker| match isolated {
            Some(isolated) if isolated == broker => (broker + 1) % BROKERS,
            _ => broker,
        });
        self.leaders.extend(leaders.collect::<Vec<_>>());
    }

    /// Isolates the leader of a partition: others lead its partitions, whose last stable offsets and ends
    /// are these, and the ends of the checkpoint.
    pub(crate) fn isolate(
        &mut self,
        partition: usize,
        offsets: &[(i64, i64)],
        checkpoint_ends: &[i64],
    ) {
        if self.isolated.is_some() {
            return;
        }
        let broker = self.leaders[partition];
        let is_led = |number: &i32| self.leaders.get(index(*number)) == Some(&broker);
        let ends = (0..).zip(offsets.iter().copied());
        let checkpoint_ends = (0..).zip(checkpoint_ends.iter().copied());
        self.isolated = Some(Isolated {
            broker,
            ends: ends.filter(|(number, _)| is_led(number)).collect(),
            checkpoint_ends: checkpoint_ends
                .filter(|(number, _)| is_led(number))
                .collect(),
            leaders: self.leaders.clone(),
        });
        for leader in &mut self.leaders {
            if *leader == broker {
                *leader = (broker + 1) % BROKERS;
            }
        }
    }

    /// The isolated broker is back.
    pub(crate) fn heal(&mut self) {
        self.isolated = None;
    }

    /// The last stable offset and the end of a partition as its deposed leader knows them, if there is one.
    pub(crate) fn deposed(&self, partition: i32) -> Option<(i64, i64)> {
        let isolated = self.isolated.as_ref()?;
        let led = isolated.ends.iter().find(|(led, _)| *led == partition);
        led.map(|(_, ends)| *ends)
    }

    /// The end of a partition, which is at `end` in truth, as `broker` states it; `None` if it leads the
    /// partition neither now nor by its own account.
    pub(crate) fn end_by(&self, partition: i32, broker: i32, end: i64) -> Option<i64> {
        let isolated = self.isolated.as_ref();
        if isolated.is_some_and(|isolated| isolated.broker == broker) {
            return self.deposed(partition).map(|(_, end)| end);
        }
        let leader = self.leaders.get(index(partition));
        (leader == Some(&broker)).then_some(end)
    }

    /// The same for a checkpoint partition.
    pub(crate) fn checkpoint_end_by(&self, partition: i32, broker: i32, end: i64) -> Option<i64> {
        let isolated = self.isolated.as_ref();
        if let Some(isolated) = isolated.filter(|isolated| isolated.broker == broker) {
            let led = isolated.checkpoint_ends.iter();
            let mut ends = led.filter(|(led, _)| *led == partition);
            return ends.next().map(|(_, end)| *end);
        }
        let leader = self.leaders.get(index(partition));
        (leader == Some(&broker)).then_some(end)
    }

    /// The response of some broker, for a witness of another one than that in question, if there is one.
    pub(crate) fn metadata(&self, asker: Asker, rng: &mut ChaCha8Rng) -> Option<LeaderResponse> {
        let answered_by = match asker {
            Asker::Requester => rng.random_range(0..BROKERS),
            Asker::Witness { .. } if rng.random_ratio(NO_WITNESS, 1_000) => return None,
            Asker::Witness { other_than } => (other_than + rng.random_range(1..BROKERS)) % BROKERS,
        };
        let isolated = self.isolated.as_ref();
        let isolated = isolated.filter(|isolated| isolated.broker == answered_by);
        let leaders = isolated.map_or(&self.leaders, |isolated| &isolated.leaders);
        Some(LeaderResponse {
            answered_by,
            brokers: usize::try_from(BROKERS).expect("a few"),
            leaders: (0..).zip(leaders.iter().copied().map(Some)).collect(),
        })
    }
}

impl Cluster {
    /// Cuts the leader of a source partition off from the other brokers.
    pub(crate) fn isolate_leader(&mut self, partition: i32) {
        let logs = self.source.iter();
        let offsets: Vec<_> = logs.map(|log| (log.stable_end(), log.end)).collect();
        let checkpoint_ends: Vec<_> = self.checkpoint.iter().map(|log| log.end).collect();
        self.brokers
            .isolate(index(partition), &offsets, &checkpoint_ends);
    }

    /// The end of a source partition as `broker` states it, if it does.
    pub(crate) fn end_by(&self, partition: i32, broker: i32) -> Option<i64> {
        let end = self.log(Place::Source(partition)).end;
        self.brokers.end_by(partition, broker, end)
    }
}
