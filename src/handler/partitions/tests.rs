use super::*;

const LIMITS: InFlightLimits = InFlightLimits {
    events: 4,
    bytes: 100,
};

fn partitions(ids: &[i32]) -> Partitions {
    let mut partitions = Partitions::new(LIMITS);
    ids.iter().for_each(|&id| partitions.assign(id));
    partitions
}

/// Puts a record of one byte in flight and returns its completion.
fn started(partitions: &mut Partitions, partition: i32, offset: i64) -> Completion {
    started_with(partitions, partition, offset, 1)
}

fn started_with(
    partitions: &mut Partitions,
    partition: i32,
    offset: i64,
    bytes: usize,
) -> Completion {
    let lease = partitions.start(partition, offset, bytes);
    Completion {
        lease: lease.expect("the partition is owned"),
        offset,
        bytes,
        finished: true,
    }
}

#[test]
fn finished_offsets_are_committed_once() {
    let mut partitions = partitions(&[0, 1]);
    let first = started(&mut partitions, 0, 10);
    let second = started(&mut partitions, 0, 11);
    let positions = BTreeMap::from([(0, 12)]);
    partitions.complete(&second);
    assert_eq!(partitions.offsets_to_commit(&[0, 1], &positions), [(0, 10)]);
    partitions.complete(&first);
    assert_eq!(partitions.offsets_to_commit(&[0, 1], &positions), [(0, 12)]);
    assert_eq!(partitions.offsets_to_commit(&[0, 1], &positions), []);
    partitions.forget_commits();
    assert_eq!(partitions.offsets_to_commit(&[0, 1], &positions), [(0, 12)]);
}

#[test]
fn the_backlog_is_from_the_oldest_unfinished_event_or_the_start_to_the_end() {
    let mut partitions = partitions(&[0, 1, 2]);
    let ends = BTreeMap::from([(0, 20), (1, 30)]);
    assert_eq!(partitions.backlog(&BTreeMap::new(), &ends), 0, "unknown");
    partitions.set_start(1, 25);
    let first = started(&mut partitions, 0, 10);
    started(&mut partitions, 0, 11);
    let positions = BTreeMap::from([(0, 12)]);
    assert_eq!(partitions.backlog(&positions, &ends), 10 + 5);
    partitions.complete(&first);
    assert_eq!(partitions.backlog(&positions, &ends), 9 + 5);
}

#[test]
fn a_cancelled_event_is_not_committed() {
    let mut partitions = partitions(&[0]);
    let completion = started(&mut partitions, 0, 10);
    partitions.release(0);
    partitions.complete(&Completion {
        finished: false,
        ..completion
    });
    assert!(!partitions.any_in_flight(&[0]));
    assert_eq!(
        partitions.offsets_to_commit(&[0], &BTreeMap::from([(0, 11)])),
        [(0, 10)]
    );
}

#[test]
fn a_released_partition_starts_no_events() {
    let mut partitions = partitions(&[0]);
    partitions.release(0);
    assert!(partitions.start(0, 10, 1).is_none());
    partitions.remove(0);
    assert!(partitions.start(0, 10, 1).is_none());
}

#[test]
fn a_completion_of_an_earlier_assignment_does_not_count_for_the_present_one() {
    let mut partitions = partitions(&[0]);
    let stale = started(&mut partitions, 0, 10);
    partitions.remove(0);
    partitions.assign(0);
    let current = started(&mut partitions, 0, 10);
    partitions.complete(&stale);
    assert!(partitions.any_in_flight(&[0]));
    assert_eq!(
        partitions.offsets_to_commit(&[0], &BTreeMap::new()),
        [(0, 10)]
    );
    partitions.complete(&current);
    assert_eq!(partitions.in_flight(), 0);
}

#[test]
fn backpressure_by_count_or_by_size_pauses_all_until_half_of_it_is_gone() {
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
        let start = |offset| started_with(&mut partitions, 0, offset, bytes);
        let completions: Vec<_> = (0..events).map(start).collect();
        assert!(partitions.is_full());
        assert_eq!(partitions.update_pauses(), pause);
        partitions.complete(&completions[0]);
        if events == 4 {
            assert!(!partitions.is_full());
            assert_eq!(partitions.update_pauses(), PauseChanges::default());
            partitions.complete(&completions[1]);
        }
        assert_eq!(partitions.update_pauses(), resume);
        assert_eq!(partitions.update_pauses(), PauseChanges::default());
    }
}

#[test]
fn a_partition_that_runs_too_far_ahead_pauses_alone() {
    let mut partitions = partitions(&[0, 1]);
    let stuck = started(&mut partitions, 0, 0);
    let far = started(&mut partitions, 0, MAX_SPAN);
    partitions.complete(&far);
    assert_eq!(partitions.update_pauses().pause, [0]);
    partitions.complete(&stuck);
    assert_eq!(partitions.update_pauses().resume, [0]);
}

#[test]
fn a_partition_assigned_under_backpressure_is_paused_too() {
    let mut partitions = partitions(&[0]);
    (0..4).for_each(|offset| {
        started(&mut partitions, 0, offset);
    });
    assert_eq!(partitions.update_pauses().pause, [0]);
    partitions.assign(1);
    assert_eq!(partitions.update_pauses().pause, [1]);
}

#[test]
fn a_partition_paused_by_an_operator_stays_paused_until_it_is_resumed() {
    let mut partitions = partitions(&[0, 1]);
    partitions.set_operator_paused(&BTreeSet::from([1, 7]));
    assert_eq!(partitions.operator_paused(), [1]);
    assert_eq!(partitions.update_pauses().pause, [1]);
    assert_eq!(partitions.update_pauses(), PauseChanges::default());
    assert_eq!(partitions.backpressured(), 0, "nothing is in flight");
    // A rebalance revokes the partition and assigns it again.
    partitions.remove(1);
    partitions.assign(1);
    assert_eq!(partitions.update_pauses().pause, [1]);
    partitions.set_operator_paused(&BTreeSet::new());
    assert_eq!(partitions.update_pauses().resume, [1]);
}
