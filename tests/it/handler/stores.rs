//! Deletion of sessions from their stores.

use std::io::copy;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};
use std::thread;

use redis::Commands;

use super::{Ending, Installation, SOON, stop};
use crate::redis::{RedisServer, Sentinel};
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
fn a_store_with_too_many_clients_is_waited_for() {
    let installation = Installation::new(1);
    let server = RedisServer::start(&["--maxclients", "1"]);
    let ending = Ending::of("user");
    let mut only = server.connection();
    let key = format!("sess:{}", ending.session);
    let () = only.set(&key, "value").unwrap();
    installation.write(std::slice::from_ref(&ending));
    let keys = "keys: ['sess:{{ session_id }}']";
    let retry = "initialBackoff: 10ms, maxBackoff: 50ms";
    let handler = installation.start(&redis(&server.url(), keys), retry);
    handler.wait_for_line(SOON, |line| line.text.contains("circuit open"));
    assert_eq!(installation.dead_letters(), []);
    drop(only);
    installation.wait_until_drained();
    assert_eq!(installation.dead_letters(), []);
    stop(handler);
    server.wait_for_keys(&[]);
}

#[test]
fn a_cluster_that_is_not_declared_as_one_costs_no_event() {
    let installation = Installation::new(1);
    let [first, second] = [(); 2].map(|()| RedisServer::start(&["--cluster-enabled", "yes"]));
    first.make_cluster();
    second.join_cluster(&first);
    let ending = Ending::of("user");
    first.set(format!("sess:{}", ending.session));
    installation.write(std::slice::from_ref(&ending));
    let keys = "keys: ['sess:{{ session_id }}']";
    let handler = installation.start(&redis(&second.url(), keys), "attempts: 1");
    handler.wait_for_line(SOON, |line| {
        line.text.contains("circuit open") && line.text.contains("cluster: true")
    });
    assert_eq!(installation.dead_letters(), []);
    stop(handler);

    let declared = format!("cluster: true, {keys}");
    let handler = installation.start(&redis(&second.url(), &declared), "");
    first.wait_for_keys(&[]);
    installation.wait_until_drained();
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

/// An address whose new connections lead to a server that changes, as behind a service or a name.
struct MovingAddress {
    address: SocketAddr,
    port: Arc<AtomicU16>,
}

impl MovingAddress {
    fn leading_to(server: &RedisServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let port = Arc::new(AtomicU16::new(server.port()));
        let target = Arc::clone(&port);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(("127.0.0.1", target.load(SeqCst))).unwrap();
                for (mut from, mut to) in [
                    (client.try_clone().unwrap(), server.try_clone().unwrap()),
                    (server, client),
                ] {
                    thread::spawn(move || copy(&mut from, &mut to));
                }
            }
        });
        Self { address, port }
    }
}

#[test]
fn a_failover_behind_an_open_connection_makes_the_handler_connect_again() {
    let installation = Installation::new(1);
    let (first, second) = (RedisServer::start(&[]), RedisServer::start(&[]));
    let address = MovingAddress::leading_to(&first);
    let endings = [Ending::of("a"), Ending::of("b")];
    for ending in &endings {
        first.set(format!("sess:{}", ending.session));
    }
    installation.write(&endings[..1]);
    let keys = "keys: ['sess:{{ session_id }}']";
    let url = format!("redis://{}", address.address);
    let handler = installation.start(&redis(&url, keys), "initialBackoff: 10ms");
    let left = format!("sess:{}", endings[1].session);
    first.wait_for_keys(&[&left]);

    second.follow(&first);
    let () = second.query(&[b"REPLICAOF", b"NO", b"ONE"]);
    first.follow(&second);
    address.port.store(second.port(), SeqCst);
    installation.write(&endings[1..]);
    second.wait_for_keys(&[]);
    installation.wait_until_drained();
    assert_eq!(installation.dead_letters(), []);
    stop(handler);
}

#[test]
fn sentinels_name_the_master() {
    let installation = Installation::new(1);
    let (first, second) = (RedisServer::start(&[]), RedisServer::start(&[]));
    second.follow(&first);
    let sentinel = Sentinel::start(&first);
    let endings = [Ending::of("a"), Ending::of("b")];
    for ending in &endings {
        first.set(format!("sess:{}", ending.session));
    }
    installation.write(&endings[..1]);
    let more = "sentinel: {master: sessions}, keys: ['sess:{{ session_id }}']";
    let url = format!("redis://127.0.0.1:{}", sentinel.port);
    let handler = installation.start(&redis(&url, more), "initialBackoff: 10ms");
    let left = format!("sess:{}", endings[1].session);
    first.wait_for_keys(&[&left]);
    second.wait_for_keys(&[&left]);

    sentinel.fail_over(&second);
    // Until then it accepts writes, and loses them.
    first.wait_until_replica();
    installation.write(&endings[1..]);
    second.wait_for_keys(&[]);
    installation.wait_until_drained();
    assert_eq!(installation.dead_letters(), []);
    stop(handler);
}

#[test]
fn sentinels_and_master_may_take_tls_alone() {
    let installation = Installation::new(1);
    let identity = Identity::new();
    let server = RedisServer::start_with(&identity);
    let sentinel = Sentinel::start_with(&server, &identity);
    let ending = Ending::of("user");
    server.set(format!("sess:{}", ending.session));
    installation.write(std::slice::from_ref(&ending));
    let more = format!(
        "sentinel: {{master: sessions}}, keys: ['sess:{{{{ session_id }}}}'], caFile: {}",
        identity.certificate().display()
    );
    let url = format!("rediss://localhost:{}", sentinel.port);
    let handler = installation.start(&redis(&url, &more), "initialBackoff: 10ms");
    server.wait_for_keys(&[]);
    installation.wait_until_drained();
    assert_eq!(installation.dead_letters(), []);
    stop(handler);
}

/// 1800 as Java serializes an `Integer`.
fn java_integer(value: i32) -> Vec<u8> {
    let mut bytes = b"\xac\xed\x00\x05sr\x00\x11java.lang.Integer\x12\xe2\xa0\xa4\xf7\x81\x87\x38\
        \x02\x00\x01I\x00\x05valuexr\x00\x10java.lang.Number\x86\xac\x95\x1d\x0b\x94\xe0\x8b\
        \x02\x00\x00xp"
        .to_vec();
    bytes.extend(value.to_be_bytes());
    bytes
}

#[test]
fn an_indexed_spring_session_expires_before_applications_are_notified() {
    let installation = Installation::new(1);
    let server = RedisServer::start(&["--notify-keyspace-events", "Egx"]);
    let index = "spring:session:index:org.springframework.session.\
                 FindByIndexNameSessionRepository.PRINCIPAL_NAME_INDEX_NAME:jane";
    for (interval, expired, member) in [
        (java_integer(1800), java_integer(0), None),
        (b"1800".to_vec(), b"0".to_vec(), Some("json")),
    ] {
        let ending = Ending::of("jane");
        let session = &ending.session;
        let hash = format!("spring:session:sessions:{session}");
        let expires = format!("spring:session:sessions:expires:{session}");
        let member = match member {
            None => {
                let length = u16::try_from(session.len()).unwrap().to_be_bytes();
                [b"\xac\xed\x00\x05t", &length[..], session.as_bytes()].concat()
            }
            Some(_) => format!("\"{session}\"").into_bytes(),
        };
        let fields: [&[u8]; 6] = [
            b"HSET",
            hash.as_bytes(),
            b"maxInactiveInterval",
            &interval,
            b"creationTime",
            b"1",
        ];
        let () = server.query(&fields);
        let () = server.query(&[b"SET", expires.as_bytes(), b""]);
        let () = server.query(&[b"SADD", index.as_bytes(), &member, b"other"]);

        let mut connection = server.connection();
        let mut events = connection.as_pubsub();
        events.subscribe("__keyevent@0__:del").unwrap();
        installation.write(std::slice::from_ref(&ending));
        let more = "layout: spring-session-indexed, principal: '{{ user_id }}'";
        let handler = installation.start(&redis(&server.url(), more), "");
        let event = events.get_message().unwrap();
        assert_eq!(event.get_payload::<String>().unwrap(), expires);
        let found: Vec<u8> = server.query(&[b"HGET", hash.as_bytes(), b"maxInactiveInterval"]);
        assert_eq!(found, expired, "expired by then, and still to be read");
        let created: String = server.query(&[b"HGET", hash.as_bytes(), b"creationTime"]);
        assert_eq!(created, "1");
        installation.wait_until_drained();
        let left: i64 = server.query(&[b"TTL", hash.as_bytes()]);
        assert!((1..=300).contains(&left), "{left}");
        let members: Vec<String> = server.query(&[b"SMEMBERS", index.as_bytes()]);
        assert_eq!(members, ["other"]);
        assert_eq!(installation.dead_letters(), []);
        stop(handler);
    }
}
