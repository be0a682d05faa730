//! Faults of the network between trackers and brokers.

use crate::BROKERS;
use crate::deployment::Deployment;
use crate::schedule::{Lane, NetworkFault, Step};
use crate::support::network::LinkState;

/// Injects network faults until the schedule is over.
pub fn fail(deployment: &Deployment<'_>, mut lane: Lane) {
    while !deployment.journal.is_over() {
        let step = lane.network(BROKERS);
        deployment.journal.pace(step.after);
        inject(deployment, step);
    }
}

fn inject(deployment: &Deployment<'_>, step: Step<NetworkFault>) {
    let NetworkFault {
        tracker,
        broker,
        state,
    } = step.fault;
    let tracker = tracker % deployment.journal.trackers();
    let network = &deployment.networks.trackers;
    let _turn = network.lock(tracker);
    let link = match broker {
        Some(broker) => format!("network between tracker {tracker} and broker {broker}"),
        None => format!("network between tracker {tracker} and all brokers"),
    };
    let description = format!("{link}: {state:?} for {:?}", step.lasts);
    if deployment.journal.fault(state.kind(), &description) {
        network.set(tracker, broker, state);
        deployment.journal.pace(step.lasts);
        network.set(tracker, broker, LinkState::Clear);
        deployment.journal.note(&format!("{link}: clear"));
    }
}
