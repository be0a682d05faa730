//! `sundown controller` between a real API server and a real Kafka.
//!
//! The API server is the one of the kubeconfig that `SUNDOWN_TEST_KUBECONFIG` names; without
//! it, these tests are skipped, each with a line on stderr and [`count`] with their number.
//! With `SUNDOWN_TEST_REQUIRE_CLUSTER=1` they fail instead. They install the definitions
//! of session policies and sources if they are not there, and leave them; all else is in namespaces
//! of their own, which they delete.

pub mod cluster;
mod deployment;

mod brake;
mod definition;
mod lag;
mod leaders;
mod limits;
mod outages;
mod publishing;
mod rights;
mod sources;
mod status;

use std::io::Write;

use crate::security::permissions;
use cluster::{Cluster, Sharing};

/// Makes a test of each scenario, and knows how many there are.
macro_rules! cluster_tests {
    ($($sharing:ident: $module:ident::$name:ident,)*) => {
        $(
            #[test]
            fn $name() {
                if let Some(cluster) = Cluster::open(stringify!($name), Sharing::$sharing) {
                    $module::$name(&cluster);
                }
            }
        )*
        const TESTS: usize = [$(stringify!($name)),*].len();
    };
}

cluster_tests! {
    Shared: definition::policies_that_keep_the_rules_are_accepted,
    Shared: definition::each_rule_refuses_with_a_remedy,
    Shared: publishing::what_is_applied_edited_and_deleted_is_in_the_topic,
    Shared: publishing::what_is_invalid_never_replaces_what_is_valid,
    Shared: publishing::drift_is_repaired_at_the_start_and_while_it_runs,
    Alone: publishing::a_malformed_object_does_not_stop_the_others_from_being_published,
    Shared: sources::each_rule_of_sources_refuses_with_a_remedy,
    Shared: sources::the_condition_locates_a_typo_in_an_expression,
    Shared: sources::the_records_of_a_source_are_counted_until_it_is_deleted,
    Shared: sources::a_topic_stays_with_its_source,
    Shared: status::competing_policies_have_a_condition,
    Shared: status::trackers_and_sessions_are_counted,
    Shared: leaders::a_killed_leader_is_succeeded_and_nothing_is_written_twice,
    Shared: leaders::a_leader_that_was_frozen_writes_nothing_when_it_thaws,
    Shared: outages::while_kafka_is_down_conditions_show_it,
    Alone: outages::an_api_server_that_restarts_is_waited_for,
    Shared: leaders::a_lease_that_is_deleted_is_made_again,
    Shared: leaders::two_releases_distinguish_their_policies,
    Shared: publishing::a_topic_that_is_made_again_gets_each_policy_once,
    Shared: rights::without_its_lease_a_controller_is_not_ready,
    Shared: rights::a_namespace_that_is_gone_holds_up_no_other,
    Shared: brake::a_change_that_ends_most_sessions_waits_for_a_confirmation,
    Shared: limits::a_limit_reaches_trackers_that_route_by_user,
    Shared: limits::a_controller_without_routing_by_user_rejects_a_limit,
    Shared: lag::lag_is_that_of_real_records,
    Shared: rights::the_charts_role_is_enough,
    Shared: rights::each_verb_of_the_role_is_needed,
    Shared: permissions::a_controller_needs_each_of_its_permissions_with_a_password,
    Shared: permissions::with_a_certificate_the_controller_works_too,
}

/// The summary of what was skipped.
#[test]
fn count() {
    if cluster::kubeconfig().is_none() {
        skipped(&format!(
            "{TESTS} tests in all that need a Kubernetes API server; set SUNDOWN_TEST_KUBECONFIG"
        ));
    }
}

/// Straight to stderr: the test harness keeps what tests print to itself.
fn skipped(what: &str) {
    let _closed = writeln!(std::io::stderr(), "SKIPPED {what}");
}
