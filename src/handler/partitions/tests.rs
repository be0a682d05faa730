use super::*;

const LIMITS: Limits = Limits {
    events: 4,
    bytes: 100,
};

fn partitions(ids: &[i32]) -> Partitions {
    let mut partitions = Partitions::new(LIMITS);
    ids.iter().for_each(|&id| partitions.assign(id));
    partitions
}

fn started(partitions: &mut Partitions, partition: i32, offset: i64) -> InFlight {
    let (in_flight, _) = partitions.start(partition, offset, 1).expect("it is owned");
    in_flight
}

fn completions(in_flight: InFlight, finished: bool) -> Completion {
    Completion {
        in_flight,
        finished,
    }
}

#[test]
fn what_is_finished_is_committed_once() {
    let mut partitions = partitions(&[0, 1]);
    let first = started(&mut partitions, 0, 10);
    let second = started(&mut partitions, 0, 11);
    let positions = BTreeMap::from([(0, 12)]);
    partitions.end(completions(second, true));
    assert_eq!(partitions.progress(&[0, 1], &positions), [(0, 10)]);
    partitions.end(completions(first, true));
    assert_eq!(partitions.progress(&[0, 1], &positions), [(0, 12)]);
    assert_eq!(partitions.progress(&[0, 1], &positions), []);
    partitions.forget_commits();
    assert_eq!(partitions.progress(&[0, 1], &positions), [(0, 12)]);
}

#[test]
fn what_is_given_back_unfinished_is_not_committed() {
    let mut partitions = partitions(&[0]);
    let in_flight = started(&mut partitions, 0, 10);
    partitions.release(0);
    partitions.end(completions(in_flight, false));
    assert!(!partitions.busy(&[0]));
    assert_eq!(
        partitions.progress(&[0], &BTreeMap::from([(0, 11)])),
        [(0, 10)]
    );
}

#[test]
fn a_released_partition_hands_out_nothing() {
    let mut partitions = partitions(&[0]);
    partitions.release(0);
    assert!(partitions.start(0, 10, 1).is_none());
    partitions.remove(0);
    assert!(partitions.start(0, 10, 1).is_none());
}

#[test]
fn a_ticket_of_an_earlier_assignment_says_nothing_of_the_present_one() {
    let mut partitions = partitions(&[0]);
    let stale = started(&mut partitions, 0, 10);
    partitions.remove(0);
    partitions.assign(0);
    let fresh = started(&mut partitions, 0, 10);
    partitions.end(completions(stale, true));
    assert!(partitions.busy(&[0]));
    assert_eq!(partitions.progress(&[0], &BTreeMap::new()), [(0, 10)]);
    partitions.end(completions(fresh, true));
    assert_eq!(partitions.in_flight(), 0);
}

#[test]
fn a_jam_by_number_or_by_size_pauses_all_until_half_of_it_is_gone() {
    let all = vec![0, 1];
    let pause = PauseChanges {
        pause: all.clone(),
        resume: vec![],
    };
    let resume = PauseChanges {
        pause: vec![],
        resume: all.clone(),
    };
    for (events, bytes) in [(4, 1), (2, 50)] {
        let mut partitions = partitions(&all);
        let start = |offset| partitions.start(0, offset, bytes).expect("owned").0;
        let tickets: Vec<_> = (0..events).map(start).collect();
        assert!(partitions.full());
        assert_eq!(partitions.repause(), pause);
        partitions.end(completions(tickets[0], true));
        if events == 4 {
            assert!(!partitions.full());
            assert_eq!(partitions.repause(), PauseChanges::default());
            partitions.end(completions(tickets[1], true));
        }
        assert_eq!(partitions.repause(), resume);
        assert_eq!(partitions.repause(), PauseChanges::default());
    }
}

#[test]
fn a_partition_that_runs_too_far_ahead_pauses_alone() {
    let mut partitions = partitions(&[0, 1]);
    let stuck = started(&mut partitions, 0, 0);
    let far = started(&mut partitions, 0, MAX_SPAN);
    partitions.end(completions(far, true));
    assert_eq!(partitions.repause().pause, [0]);
    partitions.end(completions(stuck, true));
    assert_eq!(partitions.repause().resume, [0]);
}

#[test]
fn what_arrives_during_a_jam_is_paused_too() {
    let mut partitions = partitions(&[0]);
    (0..4).for_each(|offset| {
        started(&mut partitions, 0, offset);
    });
    assert_eq!(partitions.repause().pause, [0]);
    partitions.assign(1);
    assert_eq!(partitions.repause().pause, [1]);
}

#[test]
fn a_partition_that_somebody_has_paused_stays_so_until_it_is_resumed() {
    let mut partitions = partitions(&[0, 1]);
    partitions.hold(&BTreeSet::from([1, 7]));
    assert_eq!(partitions.repause().pause, [1]);
    assert_eq!(partitions.repause(), PauseChanges::default());
    assert_eq!(partitions.paused(), 0, "nothing is in flight");
    // A rebalance takes it and gives it back.
    partitions.remove(1);
    partitions.assign(1);
    assert_eq!(partitions.repause().pause, [1]);
    partitions.hold(&BTreeSet::new());
    assert_eq!(partitions.repause().resume, [1]);
}
