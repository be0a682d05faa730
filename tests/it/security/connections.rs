//! A refused client names the reason and the remedy, keeps trying, and connects once it is repaired.

use std::fs;
use std::path::Path;

use super::broker::{Authentication, SecureKafka, user};
use super::scenes::Scene;
use crate::support::installation::SOON;
use crate::support::process::{Launch, SUNDOWN, Stream};
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

/// The bundle of Debian, on which the image is built.
const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Whether processes can have mount namespaces here, and there is a bundle; otherwise prints that.
fn can_replace_the_bundle() -> bool {
    let probe = Launch::program("unshare").args(["--mount", "--map-root-user", "true"]);
    let possible = probe.start().wait(SOON).success() && Path::new(BUNDLE).exists();
    if !possible {
        eprintln!("SKIPPED: no mount namespaces or no bundle here, so the system's stays as it is");
    }
    possible
}

/// A shell script, with `authority` in the place of the system's bundle for this process alone.
fn with_bundle(authority: &Path, script: &str) -> Launch {
    let script = format!("mount --bind \"$1\" {BUNDLE} && shift && {script}");
    Launch::program("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", &script, "sh"])
        .arg(authority)
}

/// The files of the image, made by the commands of the Dockerfile on a base with this authority.
fn image_on(authority: &Path) -> tempfile::TempDir {
    let image = tempfile::TempDir::new().expect("a folder");
    let root = image.path().to_str().expect("a path in UTF-8");
    for folder in ["usr/bin", "etc/ssl/certs", "tmp"] {
        fs::create_dir_all(image.path().join(folder)).expect("a folder");
    }
    fs::copy(SUNDOWN, image.path().join("usr/bin/sundown")).expect("copied");
    let dockerfile = concat!(env!("CARGO_MANIFEST_DIR"), "/Dockerfile");
    let dockerfile = fs::read_to_string(dockerfile).expect("a Dockerfile");
    let dockerfile = dockerfile.replace("\\\n", "");
    let mut commands = dockerfile.lines();
    let commands = commands.find_map(|line| line.strip_prefix("RUN ldd "));
    let commands = format!("ldd {}", commands.expect("the libraries"));
    let built = with_bundle(authority, &commands.replace("/image", root));
    let mut built = built.start();
    let status = built.wait(SOON);
    assert!(status.success(), "{}", built.text(Stream::Stderr));
    image
}

#[test]
fn an_authority_of_the_image() {
    if !can_replace_the_bundle() {
        return;
    }
    let secure = SecureKafka::shared();
    let (certificate, key) = secure.certificate(&user("tracker"), "clients-ca");
    let tracker_of = |authority: &str| {
        let image = image_on(&secure.file(authority));
        for (file, name) in [(&certificate, "tls.crt"), (&key, "tls.key")] {
            fs::copy(file, image.path().join("tmp").join(name)).expect("copied");
        }
        let launch = Launch::program("unshare")
            .args(["--map-root-user", "chroot"])
            .arg(image.path())
            .args(["/usr/bin/sundown", "tracker"])
            .args(["-b", &secure.kafka.address("tls")])
            .args(["--tls-cert-file", "/tmp/tls.crt"])
            .args(["--tls-key-file", "/tmp/tls.key"]);
        (image, launch)
    };
    let (_image, launch) = tracker_of("cluster-ca.pem");
    is_let_in(launch);
    let (_image, launch) = tracker_of("another-ca.pem");
    assert_reported(launch, &["certificate verify failed"]);
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
    if can_replace_the_bundle() {
        let isolated = with_bundle(&secure.file("cluster-ca.pem"), "exec \"$@\"");
        is_let_in(flags(isolated.args([SUNDOWN, "tracker"])));
    }
    is_let_in(flags(tracker()).env("SSL_CERT_FILE", secure.file("cluster-ca.pem")));
    let folder = tempfile::TempDir::new().expect("a folder");
    fs::copy(
        secure.file("cluster-ca.pem"),
        folder.path().join("cluster.crt"),
    )
    .expect("copied");
    let both = flags(tracker())
        .env("SSL_CERT_FILE", secure.file("another-ca.pem"))
        .env("SSL_CERT_DIR", folder.path());
    is_let_in(both);
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
