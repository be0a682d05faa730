use super::*;
use crate::wire::routing::RoutingKey;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn after(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn bound(mode: RoutingMode, partitions: i32) -> UpstreamBound {
    let key = RoutingKey::SessionId;
    UpstreamBound::new(mode, Routing { partitions, key })
}

fn statements(watermarks: &[(i32, i64)]) -> Statements {
    let watermarks = watermarks.iter();
    watermarks
        .map(|&(partition, until)| (partition, at(until)))
        .collect()
}

fn upstream(watermarks: &[(i32, i64)], sources: Option<i64>) -> Upstream {
    Upstream {
        partitions: statements(watermarks),
        sources: sources.map(at),
        ..Upstream::default()
    }
}

#[test]
fn the_least_of_all_partitions_and_sources_counts() {
    let mut bound = bound(RoutingMode::Any, 3);
    let own = statements(&[(0, 50), (1, 40)]);
    let mut least = |upstream: &Upstream| bound.least(upstream, after(10), &own, false);
    assert_eq!(least(&upstream(&[(1, 10), (2, 45)], None)), Ok(at(40)));
    assert_eq!(least(&upstream(&[(2, 20)], Some(30))), Ok(at(20)));
    assert_eq!(least(&upstream(&[(2, 99)], Some(30))), Ok(at(30)));
    assert_eq!(
        least(&upstream(&[], None)),
        Err(RoutingHold::Waiting(vec![2])),
        "a partition without a watermark"
    );
}

#[test]
fn keyed_partitions_wait_for_sources_alone() {
    for mut bound in [bound(RoutingMode::Keyed, 3), bound(RoutingMode::Any, 1)] {
        let own = statements(&[(0, 5)]);
        let least = bound.least(&upstream(&[(0, 1)], None), after(10), &own, true);
        assert_eq!(least, Ok(Timestamp::MAX));
        let least = bound.least(&upstream(&[], Some(7)), after(10), &own, false);
        assert_eq!(least, Ok(at(7)));
        assert!(!bound.must_publish(&own));
    }
}

#[test]
fn an_unusable_record_holds() {
    let problem = Upstream {
        problem: Some("damaged".to_owned()),
        ..Upstream::default()
    };
    for mode in [RoutingMode::Any, RoutingMode::Keyed] {
        let least = bound(mode, 3).least(&problem, after(10), &Statements::new(), false);
        let hold = least.unwrap_err();
        assert!(hold.needs_operator());
        assert!(hold.to_string().contains("damaged"), "{hold}");
    }
}

#[test]
fn what_waits_to_be_forwarded_does_not_count_until_it_is_committed() {
    let mut bound = bound(RoutingMode::Any, 2);
    let nothing = upstream(&[], None);
    let waiting = Err(RoutingHold::Waiting(vec![0, 1]));
    let read = statements(&[(0, 50), (1, 60)]);
    assert_eq!(bound.least(&nothing, after(10), &read, true), waiting);

    let own = statements(&[(0, 30), (1, 40)]);
    assert!(!bound.must_publish(&own), "it has all partitions");
    assert_eq!(bound.batch(own.clone(), true), Some(own));
    assert_eq!(bound.least(&nothing, after(20), &read, false), waiting);
    bound.committed(after(25));
    assert_eq!(
        bound.least(&nothing, after(24), &read, false),
        waiting,
        "the ends were asked for before"
    );
    assert_eq!(bound.least(&nothing, after(26), &read, false), Ok(at(50)));
    // More of them have been read since.
    assert_eq!(bound.least(&nothing, after(27), &read, true), Ok(at(30)));
}

#[test]
fn of_several_commits_the_last_one_before_the_request_counts() {
    let mut bound = bound(RoutingMode::Any, 1 + 1);
    let nothing = upstream(&[], None);
    for step in 1..5 {
        let until = i64::try_from(step * 10).unwrap();
        bound.batch(statements(&[(0, until), (1, until)]), true);
        bound.committed(after(step * 100));
    }
    let mut least = |requested| bound.least(&nothing, after(requested), &Statements::new(), true);
    assert_eq!(least(250), Ok(at(20)));
    assert_eq!(least(399), Ok(at(30)));
    assert_eq!(least(1_000), Ok(at(40)));
}

#[test]
fn an_aborted_batch_states_nothing() {
    let mut bound = bound(RoutingMode::Any, 2);
    let own = statements(&[(0, 30)]);
    assert_eq!(bound.batch(own.clone(), true), Some(own.clone()));
    assert!(!bound.must_publish(&own), "once");
    bound.aborted();
    bound.committed(after(5));
    assert!(bound.must_publish(&own), "again");
    let other = upstream(&[(1, 70)], None);
    let least = bound.least(&other, after(10), &Statements::new(), false);
    assert_eq!(least, Err(RoutingHold::Waiting(vec![0])));
}

#[test]
fn a_restore_may_follow_commits_of_another_tracker() {
    let mut bound = bound(RoutingMode::Any, 2);
    bound.restored(after(100));
    let (own, other) = (statements(&[(0, 50), (1, 60)]), upstream(&[], None));
    assert!(bound.least(&other, after(100), &own, false).is_err());
    assert_eq!(bound.least(&other, after(101), &own, false), Ok(at(50)));
}

#[test]
fn partitions_that_were_added_bound_the_watermarks_of_all() {
    for mode in [RoutingMode::Keyed, RoutingMode::Any] {
        let mut bound = bound(mode, 1);
        let own = statements(&[(0, 50)]);
        assert_eq!(bound.set_partition_count(None), Ok(()));
        assert_eq!(bound.set_partition_count(Some(1)), Ok(()));
        let least = |bound: &mut UpstreamBound, known: &Upstream| {
            bound.least(known, after(10), &own, false)
        };
        assert_eq!(least(&mut bound, &upstream(&[], None)), Ok(Timestamp::MAX));
        assert_eq!(bound.set_partition_count(Some(3)), Ok(()));
        let waiting = Err(RoutingHold::Waiting(vec![1, 2]));
        assert_eq!(least(&mut bound, &upstream(&[], None)), waiting);
        let known = upstream(&[(1, 20), (2, 30)], None);
        assert_eq!(least(&mut bound, &known), Ok(at(20)));
        assert_eq!(
            bound.routing().partitions,
            1,
            "sessions stay where they are"
        );
    }
}

#[test]
fn partitions_that_were_removed_hold() {
    let mut bound = bound(RoutingMode::Keyed, 4);
    let (before, now) = (4, 1);
    let removed = RoutingHold::PartitionsRemoved { before, now };
    assert!(removed.needs_operator());
    assert_eq!(bound.set_partition_count(Some(1)), Err(removed));
}

#[test]
fn a_hold_names_a_few_partitions() {
    let hold = RoutingHold::Waiting((0..20).collect());
    assert!(hold.to_string().contains("5, 6, 7 and 12 more"), "{hold}");
}
