//! The notes that helm prints after an installation: the next commands for the installed parts only.

use crate::helm::{BROKERS, STRIMZI, notes};

#[test]
fn the_notes_contain_the_next_commands() {
    for (name, values) in [
        ("notes_of_brokers", &[BROKERS][..]),
        (
            "notes_of_strimzi",
            &[
                STRIMZI,
                "console.authTokenSecret=console",
                "handler.actions.actions[0].name=notify",
                "handler.actions.actions[0].type=log",
                "autoscaling.tracker.mode=keda",
                "monitoring.podMonitor.enabled=true",
                "monitoring.prometheusRule.enabled=true",
                "monitoring.dashboards.enabled=true",
                "monitoring.dashboards.namespace=monitoring",
            ],
        ),
        (
            "notes_of_little",
            &[
                BROKERS,
                "kafka.topicPrefix=eu.",
                "kafka.tls.enabled=true",
                "controller.enabled=false",
                "console.enabled=false",
                "crds.install=false",
            ],
        ),
    ] {
        let Some(notes) = notes(values) else {
            return;
        };
        insta::with_settings!({snapshot_path => "snapshots"}, {
            insta::assert_snapshot!(name, notes);
        });
    }
}

#[test]
fn the_notes_name_what_an_uninstallation_leaves() {
    let topics = "delete kafkatopics";
    let definition = "delete crd";
    for (values, left) in [
        (&[BROKERS][..], &[definition][..]),
        (&[STRIMZI], &[definition, topics]),
        (&[STRIMZI, "crds.install=false"], &[topics]),
        (
            &[STRIMZI, "kafka.strimzi.topics.create=false"],
            &[definition],
        ),
        (&[BROKERS, "crds.install=false"], &[]),
    ] {
        let Some(notes) = notes(values) else {
            return;
        };
        for command in [definition, topics] {
            let named = notes.contains(command);
            assert_eq!(
                named,
                left.contains(&command),
                "{values:?}: {command}: {notes}"
            );
        }
    }
}
