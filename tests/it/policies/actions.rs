//! Policies in handlers.

use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use sundown::handler::policies::PolicyActions;
use sundown::health::Health;
use tokio_util::sync::CancellationToken;

use super::{apply, policy, run};
use crate::support::installation::{Installation, SHORT, SOON};
use crate::support::kafka::Kafka;
use crate::support::topic::NewRecord;
use crate::support::wait::eventually;

#[test]
fn a_policys_actions_are_those_it_names_by_now() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let named = policy("named", "{idleTimeout: 1h, actions: [audit, revoke]}");
    apply(
        &installation,
        &(named + &policy("all", "{idleTimeout: 1h}")),
    )
    .succeeded();
    let topic = installation.topic("sundown.policies");
    let stop = CancellationToken::new();
    let refused = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refused);
    let config = installation.kafka.client();
    let actions = PolicyActions::start(
        &config,
        &topic,
        &Health::default(),
        stop.clone(),
        move || {
            count.fetch_add(1, Ordering::Relaxed);
        },
    );
    let actions = actions.expect("a follower");
    assert!(futures_executor::block_on(actions.wait_until_loaded()));
    let of = |policy: &str| actions.actions_of(policy).map(|names| names.to_vec());
    assert_eq!(of("named"), Some(vec!["audit".into(), "revoke".into()]));
    assert_eq!((of("all"), of("unknown")), (None, None));
    assert_eq!(
        serde_json::to_value(actions.active()).expect("JSON"),
        json!([{"name": "all", "generation": 1}, {"name": "named", "generation": 1}])
    );

    installation
        .kafka
        .produce(&topic, [NewRecord::new("named", "{")]);
    apply(
        &installation,
        &policy("named", "{idleTimeout: 1h, actions: [audit]}"),
    )
    .succeeded();
    eventually(SOON, "the edit", || {
        (of("named") == Some(vec!["audit".into()])).then_some(())
    });
    assert_eq!(refused.load(Ordering::Relaxed), 1);
    run(&installation, &["delete", "named"]).succeeded();
    eventually(SOON, "the deletion", || of("named").is_none().then_some(()));
    stop.cancel();
}
