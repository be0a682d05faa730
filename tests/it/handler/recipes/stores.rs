//! Session stores in Redis.

use serde_json::json;

use super::super::{Ending, Installation, SOON, stop};
use crate::console::client::{Client, HttpResponse};
use crate::redis::{RedisServer, free_port};
use crate::support::wait::eventually;
use crate::third_party::{self, Server};

/// A session at an application, and the cookie with which it continues.
struct Session {
    id: String,
    cookie: String,
}

fn client(application: &Server) -> Client {
    let port = application.url.rsplit(':').next().unwrap();
    Client::new(port.parse().unwrap())
}

impl Session {
    fn start(application: &Server, path: &str) -> Self {
        let response = client(application).send("POST", path, &[], "");
        assert_eq!(response.status, 200, "{response:?}");
        let cookie = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            let value = value.split(';').next()?;
            name.eq_ignore_ascii_case("set-cookie")
                .then(|| value.to_owned())
        };
        Self {
            id: response.body.trim().to_owned(),
            cookie: response.head.lines().find_map(cookie).expect("a cookie"),
        }
    }

    fn get(&self, application: &Server, path: &str) -> HttpResponse {
        let cookie = ("cookie", self.cookie.as_str());
        client(application).send("GET", path, &[cookie], "")
    }
}

/// Ends a session by a `redis` action with these fields.
fn end(session: &Session, redis: &RedisServer, fields: &str) {
    let installation = Installation::new(1);
    installation.write(&[Ending::of("jane").of_session(&session.id)]);
    let action = format!(
        "  - {{name: store, type: redis, servers: ['{}'], {fields}}}\n",
        redis.url()
    );
    let handler = installation.start(&action, "");
    installation.wait_until_drained();
    assert_eq!(installation.dead_letters(), []);
    stop(handler);
}

#[test]
fn connect_redis_loses_the_session_that_ended() {
    let redis = RedisServer::start(&[]);
    let url = redis.url();
    let Some(application) = third_party::node("sessions.js", &[("REDIS", url.as_ref())]) else {
        return;
    };
    let [ended, other] = [(); 2].map(|()| Session::start(&application, "/"));
    let status = |session: &Session| session.get(&application, "/").status;
    assert_eq!((status(&ended), status(&other)), (200, 200));
    end(&ended, &redis, "keys: ['sess:{{ session_id }}']");
    assert_eq!((status(&ended), status(&other)), (401, 200));
}

fn spring_session(redis: &RedisServer, repository: &str) -> Server {
    let port = redis.port().to_string();
    let properties = [
        ("spring.data.redis.port", port.as_str()),
        ("spring.session.redis.repository-type", repository),
    ];
    third_party::spring("sessions", free_port(), &properties)
}

#[test]
#[ignore = "needs Maven: .ci/run third-party"]
fn spring_session_loses_the_session_that_ended() {
    let redis = RedisServer::start(&[]);
    let application = spring_session(&redis, "default");
    let [ended, other] = [(); 2].map(|()| Session::start(&application, "/login/jane"));
    let status = |session: &Session| session.get(&application, "/me").status;
    assert_eq!((status(&ended), status(&other)), (200, 200));
    end(
        &ended,
        &redis,
        "keys: ['spring:session:sessions:{{ session_id }}']",
    );
    assert_eq!((status(&ended), status(&other)), (401, 200));
}

#[test]
#[ignore = "needs Maven: .ci/run third-party"]
fn an_indexed_spring_session_fires_its_event_and_leaves_the_index() {
    let redis = RedisServer::start(&[]);
    let application = spring_session(&redis, "indexed");
    let [ended, other] = [(); 2].map(|()| Session::start(&application, "/login/jane"));
    let status = |session: &Session| session.get(&application, "/me").status;
    assert_eq!((status(&ended), status(&other)), (200, 200));
    end(&ended, &redis, "layout: spring-session-indexed");
    assert_eq!((status(&ended), status(&other)), (401, 200));
    let expected = json!({"session": ended.id, "user": "jane", "event": "SessionDeletedEvent"});
    eventually(SOON, "the event of the session", || {
        let events = client(&application).get("/destroyed").body;
        let part = |name: &str| events.contains(expected[name].as_str().unwrap());
        (part("session") && part("user") && part("event")).then_some(())
    });
    let index = "spring:session:index:org.springframework.session.\
                 FindByIndexNameSessionRepository.PRINCIPAL_NAME_INDEX_NAME:jane";
    eventually(SOON, "an index without the session", || {
        let members: Vec<Vec<u8>> = redis.query(&[b"SMEMBERS", index.as_bytes()]);
        let holds = |session: &Session| {
            let id = session.id.as_bytes();
            members.iter().any(|member| member.ends_with(id))
        };
        (!holds(&ended) && holds(&other)).then_some(())
    });
}
