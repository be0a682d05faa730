//! Partitions that are missing whenever they are looked for. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::statements::StatedPartition;

/// For how long a partition has to be missing. Brokers that have just started may not know all
/// topics yet.
pub const MIN_ABSENCE: Duration = Duration::from_secs(30);

/// Since when partitions have been missing.
#[derive(Debug, Default)]
pub struct Absences {
    since: BTreeMap<StatedPartition, Duration>,
}

impl Absences {
    /// Takes the partitions that are missing at `now`, all others exist. Returns those that have
    /// been missing each time for [`MIN_ABSENCE`].
    pub fn observe(
        &mut self,
        missing: BTreeSet<StatedPartition>,
        now: Duration,
    ) -> BTreeSet<StatedPartition> {
        self.since
            .retain(|partition, _| missing.contains(partition));
        for partition in missing {
            self.since.entry(partition).or_insert(now);
        }
        let lasting = self
            .since
            .iter()
            .filter(|(_, since)| now.saturating_sub(**since) >= MIN_ABSENCE);
        lasting.map(|(partition, _)| partition.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(partitions: &[i32]) -> BTreeSet<StatedPartition> {
        let partitions = partitions.iter();
        partitions.map(|one| ("t".to_owned(), *one)).collect()
    }

    #[test]
    fn a_partition_is_gone_once_it_has_been_missing_each_time() {
        let mut absences = Absences::default();
        let mut observe =
            |missing: &[i32], seconds| absences.observe(set(missing), Duration::from_secs(seconds));
        assert_eq!(observe(&[1, 2], 0), set(&[]));
        assert_eq!(observe(&[1, 2], 29), set(&[]));
        assert_eq!(observe(&[2, 3], 30), set(&[2]));
        assert_eq!(observe(&[1, 3], 60), set(&[3]));
        assert_eq!(observe(&[1], 89), set(&[]));
        assert_eq!(observe(&[1], 90), set(&[1]));
    }
}
