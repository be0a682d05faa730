//! What end offsets prove.

use super::{Assigned, BACKLOG, Engine};
use crate::clock::clocks::ClockHold;
use crate::kafka::end_offsets::EndOffsets;
use crate::session::Timestamp;
use crate::tracker::partition::Partition;
use crate::tracker::routing::{RoutingHold, Statements};

impl Engine {
    /// Returns whether the end offsets are of a topic that was created in place of the one that has
    /// been read. The partitions then have to be restored, which compares both.
    #[must_use]
    pub fn is_of_other_topic(&self, end_offsets: &EndOffsets) -> bool {
        let id = end_offsets.topic_id;
        self.live().any(|partition| partition.is_of_other_topic(id))
    }

    /// Ends the sessions whose end these end offsets prove, as many as the next transaction has
    /// room for. Returns why watermarks do not advance although the clocks agree, if they do not.
    ///
    /// # Errors
    /// [`ClockHold`] while no session may end because the clocks cannot be trusted.
    pub fn on_end_offsets(
        &mut self,
        end_offsets: &EndOffsets,
    ) -> Result<Option<RoutingHold>, ClockHold> {
        let asked_at = self.clocks.lower(end_offsets.requested_at)?;
        if let Err(hold) = self
            .upstream
            .set_partition_count(end_offsets.partition_count)
        {
            return Ok(Some(hold));
        }
        for &(number, end) in &end_offsets.ends {
            let paused = self.is_paused(number);
            if let Some(Assigned::Live(partition)) = self.partitions.get_mut(&number) {
                if paused {
                    partition.set_end(end);
                    continue;
                }
                partition.on_end_offset(end, asked_at, self.max_clock_skew);
                self.catching_up |= partition.backlog() >= BACKLOG;
            }
        }
        let superseded = &end_offsets.upstream.superseded;
        self.superseded.clone_from(superseded);
        let hold = self.apply_upstream(end_offsets).err();
        self.advance();
        Ok(hold)
    }

    /// Bounds the watermarks by what others may still forward to the partitions.
    fn apply_upstream(&mut self, end_offsets: &EndOffsets) -> Result<(), RoutingHold> {
        let (own, forwards) = (self.own_watermarks(), self.has_forwards());
        let requested = end_offsets.requested_at.elapsed;
        let upstream = &end_offsets.upstream;
        let least = self
            .upstream
            .least(upstream, requested, &own, forwards)
            .inspect_err(|_| {
                self.live_mut().for_each(Partition::on_unknown_upstream);
            })?;
        for &(number, end) in &end_offsets.ends {
            let Some(partition) = self.active(number) else {
                continue;
            };
            if least == Timestamp::MAX {
                partition.on_no_upstream();
            } else {
                partition.on_upstream(end, least);
            }
        }
        Ok(())
    }

    /// Returns up to when each partition that is being read has been read.
    pub(super) fn own_watermarks(&self) -> Statements {
        let own = self
            .assigned()
            .filter_map(|(number, partition)| Some((number, partition?.own_watermark()?)));
        own.collect()
    }

    /// Returns whether events that have been read wait to be forwarded.
    fn has_forwards(&self) -> bool {
        self.live().any(Partition::has_forwards)
    }
}
