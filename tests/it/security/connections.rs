//! A refused client names the reason and the remedy, keeps trying, and connects once it is repaired.

use std::fs;
use std::path::Path;

use super::broker::{Authentication, SecureKafka, user};
use super::scenes::Scene;
use crate::support::installation::SOON;
use crate::support::process::Launch;
use crate::support::role::RoleProcess;
use crate::support::wait::eventually;

/// A process logs the words once, is unready for that reason, and stays alive.
fn assert_reported(launch: Launch, words: &[&str]) {
    let running = RoleProcess::start(launch.args(["--log-format", "json"]));
    for word in words {
        running.await_unready("kafka", word);
    }
    running.await_message("cannot find the topics; retrying");
    let times = running.log().matches("retrying").count();
    assert!(times < 5, "{}", running.log());
    running.stop();
}

fn tracker() -> Launch {
    Launch::sundown().arg("tracker")
}

#[test]
fn a_broker_whose_authority_is_not_trusted() {
    let secure = SecureKafka::shared();
    let (certificate, key) = secure.certificate(&user("tracker"), "clients-ca");
    let launch = tracker()
        .args(["-b", &secure.kafka.address("tls")])
        .arg("--tls-ca-file")
        .arg(secure.file("another-ca.pem"))
        .arg("--tls-cert-file")
        .arg(certificate)
        .arg("--tls-key-file")
        .arg(key);
    assert_reported(launch, &["certificate verify failed", "--tls-ca-file"]);
}

/// A process gets through to the broker, which knows its user.
fn is_let_in(launch: Launch) {
    let running = RoleProcess::start(launch.args(["--log-format", "json"]));
    eventually(SOON, "what this user may not do", || {
        running.log().contains("missing topics").then_some(())
    });
    running.stop();
}

/// As Strimzi keeps an authority that it replaces, in a secret that is mounted as a folder.
#[test]
fn an_authority_beside_another_in_a_folder() {
    let secure = SecureKafka::shared();
    let folder = tempfile::TempDir::new().expect("a folder");
    let put = |authority: &str, name: &str| {
        fs::copy(secure.file(authority), folder.path().join(name)).expect("copied");
    };
    put("another-ca.pem", "ca.crt");
    put("cluster-ca.pem", "ca.password");
    let connect = || {
        let (certificate, key) = secure.certificate(&user("tracker"), "clients-ca");
        tracker()
            .args(["-b", &secure.kafka.address("tls")])
            .arg("--tls-ca-file")
            .arg(folder.path())
            .arg("--tls-cert-file")
            .arg(certificate)
            .arg("--tls-key-file")
            .arg(key)
    };
    let running = RoleProcess::start(connect().args(["--log-format", "json"]));
    running.await_unready("kafka", "certificate verify failed");
    put("cluster-ca.pem", "ca-2026-11-28.crt");
    eventually(SOON, "another error than the authority", || {
        running.log().contains("missing topics").then_some(())
    });
    running.stop();
    is_let_in(connect());
}

/// In the image and in a shell without settings, OpenSSL's own folder does not exist.
#[test]
fn an_authority_of_the_system() {
    let secure = SecureKafka::shared();
    let (certificate, key) = secure.certificate(&user("tracker"), "clients-ca");
    let flags = |launch: Launch| {
        launch
            .args(["-b", &secure.kafka.address("tls")])
            .arg("--tls-cert-file")
            .arg(&certificate)
            .arg("--tls-key-file")
            .arg(&key)
    };
    // The system's bundle, with the cluster's authority in its place, for this process alone.
    let script = "mount --bind \"$1\" /etc/ssl/certs/ca-certificates.crt && shift && exec \"$@\"";
    let isolated = Launch::program("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", script, "sh"])
        .arg(secure.file("cluster-ca.pem"))
        .args([env!("CARGO_BIN_EXE_sundown"), "tracker"]);
    let probe = Launch::program("unshare").args(["--mount", "--map-root-user", "true"]);
    if probe.start().wait(SOON).success()
        && Path::new("/etc/ssl/certs/ca-certificates.crt").exists()
    {
        is_let_in(flags(isolated));
    } else {
        eprintln!("SKIPPED: no mount namespaces or no bundle here, so the system's stays as it is");
    }
    is_let_in(flags(tracker()).env("SSL_CERT_FILE", secure.file("cluster-ca.pem")));
    assert_reported(flags(tracker()), &["certificate verify failed"]);
}

#[test]
fn a_client_without_a_certificate() {
    let secure = SecureKafka::shared();
    let launch = tracker()
        .args(["-b", &secure.kafka.address("tls")])
        .arg("--tls-ca-file")
        .arg(secure.file("cluster-ca.pem"));
    assert_reported(launch, &["--tls-cert-file"]);
}

#[test]
fn a_client_whose_authority_the_broker_does_not_know() {
    let secure = SecureKafka::shared();
    let (certificate, key) = secure.certificate(&user("tracker"), "another-ca");
    let launch = tracker()
        .args(["-b", &secure.kafka.address("tls")])
        .arg("--tls-ca-file")
        .arg(secure.file("cluster-ca.pem"))
        .arg("--tls-cert-file")
        .arg(certificate)
        .arg("--tls-key-file")
        .arg(key);
    assert_reported(launch, &["--tls-cert-file"]);
}

#[test]
fn a_wrong_password_and_then_the_right_one() {
    let scene = Scene::new(Authentication::Scram);
    let folder = tempfile::TempDir::new().expect("a folder");
    let password = folder.path().join("password");
    std::fs::write(&password, "wrong").expect("written");
    let launch = tracker()
        .args(["-b", &scene.secure.kafka.address("scram")])
        .args(["--topic-prefix", &scene.prefix()])
        .args(["--sasl-mechanism", "SCRAM-SHA-512"])
        .args(["--sasl-username", &user("tracker")])
        .arg("--sasl-password-file")
        .arg(&password);
    let running = RoleProcess::start(launch);
    running.await_unready("kafka", "--sasl-password-file");
    // The secret changes under a running process.
    std::fs::write(&password, super::broker::PASSWORD).expect("written");
    // It starts over in the process: what this user may do comes next.
    eventually(SOON, "another error than the password", || {
        running.log().contains("missing topics").then_some(())
    });
    running.stop();
}
