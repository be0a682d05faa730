//! The chart's permissions are enough, and each of them is needed.

use super::acls::{Permission, grant, revoke};
use super::broker::Authentication::{Scram, Tls};
use super::broker::user;
use super::chart::permissions;
use super::scenes::{SOON, Scene};
use crate::controller::cluster::Cluster;
use crate::support::process::Stream;
use crate::support::role::RoleProcess;
use crate::support::wait::eventually;

/// Part of every error about a missing permission.
const REMEDY: &str = "grant it";

#[test]
fn a_tracker_needs_each_of_its_permissions_with_a_certificate() {
    each_is_needed(&Scene::new(Tls), "tracker");
}

#[test]
fn a_handler_needs_each_of_its_permissions_with_a_password() {
    each_is_needed(&Scene::new(Scram), "handler");
}

#[test]
fn ingest_needs_each_of_its_permissions_with_a_password() {
    each_is_needed(&Scene::new(Scram), "ingest");
}

#[test]
fn a_console_needs_each_of_its_permissions_with_a_certificate() {
    each_is_needed_all_along(&Scene::new(Tls), "console");
}

/// `controller.rs` makes tests of these two: they take a cluster.
pub fn a_controller_needs_each_of_its_permissions_with_a_password(cluster: &Cluster) {
    each_is_needed_all_along(&Scene::of(cluster.namespace(), Scram), "controller");
}

pub fn with_a_certificate_the_controller_works_too(cluster: &Cluster) {
    they_are_enough(&Scene::of(cluster.namespace(), Tls), "controller");
}

#[test]
fn with_a_password_the_tracker_works_too() {
    they_are_enough(&Scene::new(Scram), "tracker");
}

#[test]
fn with_a_certificate_the_handler_works_too() {
    they_are_enough(&Scene::new(Tls), "handler");
}

#[test]
fn with_a_certificate_ingest_works_too() {
    they_are_enough(&Scene::new(Tls), "ingest");
}

#[test]
fn with_a_password_the_console_works_too() {
    they_are_enough(&Scene::new(Scram), "console");
}

#[test]
fn the_check_needs_each_of_its_permissions() {
    for authentication in [Tls, Scram] {
        let scene = Scene::new(authentication);
        let tracker = scene.installation.tracker(&[]);
        let Some(all) = permissions("check", authentication, &scene.prefix()) else {
            return;
        };
        all.iter()
            .for_each(|one| grant(scene.secure.kafka.bootstrap(), one));
        let check = || {
            let mut check = scene
                .as_user("check", &["check", "--timeout", "5s"])
                .start();
            (check.wait(SOON).success(), check.text(Stream::Stderr))
        };
        let works = || eventually(SOON, "a check that succeeds", || check().0.then_some(()));
        works();
        for one in &all {
            revoke(scene.secure.kafka.bootstrap(), one);
            eventually(SOON, &format!("an error without {one}"), || {
                let (works, output) = check();
                let mut lines = output.lines();
                (!works && lines.any(|line| names(line, one))).then_some(())
            });
            grant(scene.secure.kafka.bootstrap(), one);
        }
        works();
        tracker.stop();
    }
}

/// A role that has all of its permissions works without errors.
fn they_are_enough(scene: &Scene<'_>, role: &str) {
    if grant_all(scene, role).is_none() {
        return;
    }
    let running = scene.start(role);
    scene.await_at_work(role, &running);
    assert_no_errors(scene, &running);
    running.stop();
}

/// The same; without any one of them it names the missing one, and works once it is granted.
fn each_is_needed(scene: &Scene<'_>, role: &str) {
    let Some(all) = grant_all(scene, role) else {
        return;
    };
    let running = scene.start(role);
    scene.await_at_work(role, &running);
    assert_no_errors(scene, &running);
    running.stop();
    for one in &all {
        eprintln!("{} without {one}", user(role));
        scene.forget();
        revoke(scene.secure.kafka.bootstrap(), one);
        let running = scene.start(role);
        eventually(SOON, &format!("an error without {one}"), || {
            scene.stir(role, &running);
            let output = scene.output(&running);
            let mut lines = output.lines();
            lines.any(|line| names(line, one)).then_some(())
        });
        grant(scene.secure.kafka.bootstrap(), one);
        scene.await_at_work(role, &running);
        running.stop();
    }
}

/// The same, of one that runs on while it loses each of them and gets it back.
fn each_is_needed_all_along(scene: &Scene<'_>, role: &str) {
    let Some(all) = grant_all(scene, role) else {
        return;
    };
    let running = scene.start(role);
    scene.await_at_work(role, &running);
    assert_no_errors(scene, &running);
    // Settings of topics are read at the start, and only a warning follows if they cannot be.
    let used_all_along = |one: &&Permission| one.operation != "DescribeConfigs";
    for one in all.iter().filter(used_all_along) {
        eprintln!("{} without {one}", user(role));
        scene.forget();
        let before = running.log().len();
        revoke(scene.secure.kafka.bootstrap(), one);
        eventually(SOON, &format!("an error without {one}"), || {
            scene.stir_for(one, role, &running);
            let output = running.log()[before..].to_owned() + &scene.pages();
            let mut lines = output.lines();
            lines.any(|line| names(line, one)).then_some(())
        });
        grant(scene.secure.kafka.bootstrap(), one);
    }
    scene.await_at_work(role, &running);
    running.stop();
}

/// Whether the line names the missing permission and the remedy.
fn names(line: &str, missing: &Permission) -> bool {
    let named = match missing.kind.as_str() {
        "topic" => has_word(line, &missing.name),
        "group" => line.contains("on the consumer group"),
        _ => line.contains("on the transactional id"),
    };
    named && line.contains(REMEDY)
}

/// Whether a line has that name, and not only as the beginning of a longer one.
fn has_word(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let rest = line[at + name.len()..].trim_start_matches('.');
        !rest.starts_with(char::is_alphanumeric)
    })
}

fn grant_all(scene: &Scene<'_>, role: &str) -> Option<Vec<Permission>> {
    let all = permissions(role, scene.authentication, &scene.prefix())?;
    assert!(all.len() >= 4, "{all:?}");
    all.iter()
        .for_each(|one| grant(scene.secure.kafka.bootstrap(), one));
    Some(all)
}

fn assert_no_errors(scene: &Scene<'_>, running: &RoleProcess) {
    let output = scene.output(running);
    let last_connection_error = output.lines().find(|line| line.contains(REMEDY));
    assert_eq!(last_connection_error, None);
}
