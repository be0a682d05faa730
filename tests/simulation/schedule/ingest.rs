//! What happens to ingest.

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Settings, Step, What};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IngestFault {
    /// A process dies.
    Crash,
    /// A process starts, or is replaced in good order.
    Start,
    /// A process is stopped for a while, and does not notice.
    Stall,
    /// It goes on.
    Resume,
    /// The group moves partitions.
    Rebalance,
    /// A partition is added to the topic that it reads.
    Grow,
    /// The schema registry does not answer.
    RegistryGone,
    /// It answers again.
    RegistryBack,
}

/// How often each of them happens.
const WEIGHTS: [(IngestFault, u32); 8] = [
    (IngestFault::Crash, 5),
    (IngestFault::Start, 5),
    (IngestFault::Stall, 3),
    (IngestFault::Resume, 3),
    (IngestFault::Rebalance, 3),
    (IngestFault::Grow, 3),
    (IngestFault::RegistryGone, 2),
    (IngestFault::RegistryBack, 3),
];

/// Puts ingest between applications and trackers. The topic of session events loses no records and keeps its
/// partitions; that of the applications grows instead.
pub(super) fn bring_events(settings: &mut Settings, steps: &mut [Step], seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed.rotate_left(32));
    settings.ingest = rng.random_range(1..=3);
    for step in steps {
        step.what = match step.what {
            What::Calm => What::Calm,
            _ if rng.random_ratio(1, 4) => {
                let (fault, _) = WEIGHTS
                    .choose_weighted(&mut rng, |(_, weight)| *weight)
                    .expect("some");
                What::Ingest(*fault)
            }
            What::Delete | What::Accident => What::Events,
            What::GrowSource | What::GrowCheckpoint => What::Ingest(IngestFault::Grow),
            other => other,
        };
    }
}
