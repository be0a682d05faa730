//! Faults of the network.

use crate::BROKERS;
use crate::schedule::{Lane, NetworkFault, Step, Weather};
use crate::site::Site;

/// Has connections fail, one tracker's after the other's, until there are to be no more faults.
pub fn fail(site: &Site<'_>, mut lane: Lane) {
    while !site.journal.is_over() {
        let step = lane.network(BROKERS);
        site.journal.pace(step.after);
        inject(site, step);
    }
}

fn inject(site: &Site<'_>, step: Step<NetworkFault>) {
    let NetworkFault {
        tracker,
        broker,
        weather,
    } = step.fault;
    let tracker = tracker % site.journal.trackers();
    let _turn = site.network.turn(tracker);
    let whereabouts = match broker {
        Some(broker) => format!("network between tracker {tracker} and broker {broker}"),
        None => format!("network between tracker {tracker} and all brokers"),
    };
    let told = format!("{whereabouts}: {weather:?} for {:?}", step.lasts);
    if site.journal.fault(weather.kind(), &told) {
        site.network.set(tracker, broker, weather);
        site.journal.pace(step.lasts);
        site.network.set(tracker, broker, Weather::Clear);
        site.journal.note(&format!("{whereabouts}: clear"));
    }
}
