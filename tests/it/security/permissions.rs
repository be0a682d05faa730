//! The chart's permissions are enough, and each of them is needed.

use super::acls::{Permission, grant, revoke};
use super::broker::Authentication::{self, Scram, Tls};
use super::broker::user;
use super::chart::permissions;
use super::scenes::{SOON, Scene};
use crate::eventually::eventually;
use crate::pipeline::tracker::Tracker as Running;
use crate::process::Stream;

/// What every complaint about a permission says.
const REMEDY: &str = "grant it";

#[test]
fn a_tracker_needs_each_of_its_permissions_with_a_certificate() {
    each_is_needed("tracker", Tls);
}

#[test]
fn a_handler_needs_each_of_its_permissions_with_a_password() {
    each_is_needed("handler", Scram);
}

#[test]
fn with_a_certificate_the_console_works_too() {
    they_are_enough("console", Tls);
}

#[test]
fn with_a_password_the_tracker_works_too() {
    they_are_enough("tracker", Scram);
}

#[test]
fn with_a_certificate_the_handler_works_too() {
    they_are_enough("handler", Tls);
}

#[test]
fn with_a_password_the_console_works_too() {
    they_are_enough("console", Scram);
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
            eventually(SOON, &format!("a complaint without {one}"), || {
                let (works, told) = check();
                let mut lines = told.lines();
                (!works && lines.any(|line| names(line, one))).then_some(())
            });
            grant(scene.secure.kafka.bootstrap(), one);
        }
        works();
        tracker.stop();
    }
}

/// A role that has all of its permissions works, and complains of nothing.
fn they_are_enough(role: &str, authentication: Authentication) {
    let scene = Scene::new(authentication);
    if grant_all(&scene, role).is_none() {
        return;
    }
    let running = scene.start(role);
    scene.await_at_work(role, &running);
    complains_of_nothing(&scene, &running);
    running.stop();
}

/// The same; without any one of them it says which, and works as soon as it is there.
fn each_is_needed(role: &str, authentication: Authentication) {
    let scene = Scene::new(authentication);
    let Some(all) = grant_all(&scene, role) else {
        return;
    };
    let running = scene.start(role);
    scene.await_at_work(role, &running);
    complains_of_nothing(&scene, &running);
    running.stop();
    for one in &all {
        eprintln!("{} without {one}", user(role));
        scene.forget();
        revoke(scene.secure.kafka.bootstrap(), one);
        let running = scene.start(role);
        eventually(SOON, &format!("a complaint without {one}"), || {
            scene.stir(role, &running);
            let told = scene.told(&running);
            let mut lines = told.lines();
            lines.any(|line| names(line, one)).then_some(())
        });
        grant(scene.secure.kafka.bootstrap(), one);
        scene.await_at_work(role, &running);
        running.stop();
    }
}

/// Whether somebody says what is missing, and what to do about it.
fn names(line: &str, missing: &Permission) -> bool {
    let what = match missing.kind.as_str() {
        "topic" => &missing.name,
        "group" => "on the consumer group",
        _ => "on the transactional id",
    };
    line.contains(REMEDY) && line.contains(what)
}

fn grant_all(scene: &Scene, role: &str) -> Option<Vec<Permission>> {
    let all = permissions(role, scene.authentication, &scene.prefix())?;
    assert!(all.len() >= 4, "{all:?}");
    all.iter()
        .for_each(|one| grant(scene.secure.kafka.bootstrap(), one));
    Some(all)
}

fn complains_of_nothing(scene: &Scene, running: &Running) {
    let told = scene.told(running);
    let complaint = told.lines().find(|line| line.contains(REMEDY));
    assert_eq!(complaint, None);
}
