//! Sessions that are deleted from the stores that they are in.

use super::{Ending, Installation, SOON, stop};
use crate::redis::RedisServer;
use crate::tls::Identity;

const SPRING: &str = "'spring:session:sessions:{{ session_id }}', \
    'spring:session:sessions:expires:{{ session_id }}'";

fn redis(servers: &str, more: &str) -> String {
    format!("  - {{name: store, type: redis, servers: ['{servers}'], {more}}}\n")
}

#[test]
fn the_keys_of_a_session_are_deleted_and_no_others() {
    let installation = Installation::new(1);
    let server = RedisServer::start(&[]);
    let ending = Ending::of("user");
    let session = &ending.session;
    for key in ["", "expires:"] {
        server.set(format!("spring:session:sessions:{key}{session}"));
        server.set(format!("spring:session:sessions:{key}other"));
    }
    installation.write(std::slice::from_ref(&ending));
    let handler = installation.start(&redis(&server.url(), &format!("keys: [{SPRING}]")), "");
    server.wait_for_keys(&[
        "spring:session:sessions:expires:other",
        "spring:session:sessions:other",
    ]);
    installation.wait_until_drained();
    assert_eq!(installation.dead_letters(), []);
    stop(handler);
}

#[test]
fn a_store_with_a_password_and_tls_is_trusted_only_with_its_certificate() {
    let installation = Installation::new(1);
    let identity = Identity::new();
    let server = RedisServer::start_with(&identity);
    let ending = Ending::of("user");
    server.set(format!("sess:{}", ending.session));
    installation.write(std::slice::from_ref(&ending));
    let keys = "keys: ['sess:{{ session_id }}'], command: DEL";
    let handler = installation.start(&redis(&server.tls_url(), keys), "");
    handler.wait_for_line(SOON, |line| {
        line.text.contains("circuit open") && line.text.contains("certificate")
    });
    stop(handler);
    assert_eq!(server.keys().len(), 1);

    let trusting = format!("{keys}, caFile: {}", identity.certificate().display());
    let handler = installation.start(&redis(&server.tls_url(), &trusting), "");
    server.wait_for_keys(&[]);
    installation.wait_until_drained();
    stop(handler);
}

#[test]
fn a_store_that_refuses_connections_is_waited_for() {
    let installation = Installation::new(1);
    let server = RedisServer::start(&["--user", "reader", "on", ">hush", "~*", "+@read"]);
    let ending = Ending::of("user");
    installation.write(std::slice::from_ref(&ending));
    let more = "keys: ['sess:{{ session_id }}'], username: reader, \
                password: {valueFrom: {env: WEBHOOK_SECRET}}";
    let handler = installation.start(&redis(&server.url(), more), "attempts: 1");
    handler.wait_for_line(SOON, |line| line.text.contains("circuit open"));
    assert_eq!(installation.dead_letters(), []);
    stop(handler);
}

#[test]
fn a_cluster_is_a_store_like_any_other() {
    let installation = Installation::new(1);
    let server = RedisServer::start(&["--cluster-enabled", "yes"]);
    server.make_cluster();
    let ending = Ending::of("user");
    server.set(format!("sess:{}", ending.session));
    server.set("sess:other");
    installation.write(std::slice::from_ref(&ending));
    let more = "cluster: true, keys: ['sess:{{ session_id }}', 'gone:{{ session_id }}']";
    let handler = installation.start(&redis(&server.url(), more), "");
    server.wait_for_keys(&["sess:other"]);
    installation.wait_until_drained();
    assert_eq!(installation.dead_letters(), []);
    stop(handler);
}
