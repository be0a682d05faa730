//! Faults of the network between members and brokers.

use crate::BROKERS;
use crate::deployment::Deployment;
use crate::networks::link_number;
use crate::schedule::{Lane, NetworkFault, Role, Step};
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
        member,
        broker,
        state,
    } = step.fault;
    let trackers = deployment.journal.trackers();
    let (role, number) = match member % (trackers + deployment.ingests()) {
        number if number < trackers => (Role::Tracker, number),
        number => (Role::Ingest, number - trackers),
    };
    let (name, member) = (role.name(number), link_number(role, number));
    let network = &deployment.networks.members;
    let _turn = network.lock(member);
    let link = match broker {
        Some(broker) => format!("network between {name} and broker {broker}"),
        None => format!("network between {name} and all brokers"),
    };
    let description = format!("{link}: {state:?} for {:?}", step.lasts);
    if deployment.journal.fault(state.kind(), &description) {
        network.set(member, broker, state);
        deployment.journal.pace(step.lasts);
        network.set(member, broker, LinkState::Clear);
        deployment.journal.note(&format!("{link}: clear"));
    }
}
