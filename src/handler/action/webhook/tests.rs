use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::handler::action::error::Fault;
use crate::handler::event::Trigger;

const BODY: &str = r#"{"event_id":"6f9619ff-8b86-5d01-b42d-00cf4fc964ff","session_id":"s",
    "user_id":1,"reason":"logout","policy":{"name":"default","generation":0},
    "started_at":null,"last_activity":null,"ended_at":"2025-02-07T12:00:00.000Z",
    "detected_at":"2025-02-07T12:00:00.000Z"}"#;

async fn send(url: &str, timeout: Duration) -> Result<(), ActionError> {
    let event = Trigger::Ending.decode(BODY.as_bytes()).unwrap();
    let millis = timeout.as_millis();
    let config = format!("{{name: notify, type: webhook, url: '{url}', timeout: {millis}ms}}");
    let webhook = Webhook::new(serde_yaml::from_str(&config).unwrap()).unwrap();
    let body = BODY.as_bytes();
    let event = &event;
    webhook.run(ActionInput { event, body }).await
}

async fn send_to(response: ResponseTemplate) -> Result<(), ActionError> {
    let receiver = MockServer::start().await;
    let hook = Mock::given(method("POST")).and(path("/hook"));
    hook.respond_with(response).expect(1).mount(&receiver).await;
    send(&format!("{}/hook", receiver.uri()), Duration::from_secs(60)).await
}

fn fault_of(result: Result<(), ActionError>) -> Fault {
    result.expect_err("a failure").fault
}

#[tokio::test]
async fn only_a_2xx_status_is_a_success() {
    for status in [200, 201, 204, 299] {
        assert_eq!(
            send_to(ResponseTemplate::new(status)).await,
            Ok(()),
            "{status}"
        );
    }
    for (status, fault) in [
        (304, Fault::Target),
        (400, Fault::Event),
        (401, Fault::TargetDown),
        (403, Fault::TargetDown),
        (404, Fault::Event),
        (408, Fault::Target),
        (410, Fault::Event),
        (425, Fault::Target),
        (429, Fault::Target),
        (500, Fault::Target),
        (503, Fault::Target),
    ] {
        assert_eq!(
            fault_of(send_to(ResponseTemplate::new(status)).await),
            fault,
            "{status}"
        );
    }
}

#[tokio::test]
async fn a_redirect_is_the_targets_fault_and_is_not_followed() {
    let elsewhere = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(200))
        .expect(0)
        .mount(&elsewhere)
        .await;
    for status in [301, 302, 307, 308] {
        let redirect = ResponseTemplate::new(status).insert_header("location", elsewhere.uri());
        assert_eq!(fault_of(send_to(redirect).await), Fault::Target, "{status}");
    }
}

#[tokio::test]
async fn retry_after_is_parsed_as_seconds_and_as_a_date() {
    let busy = |value: &str| ResponseTemplate::new(503).insert_header("retry-after", value);
    let wait = async |value: &str| send_to(busy(value)).await.unwrap_err().retry_after;
    assert_eq!(wait("120").await, Some(Duration::from_secs(120)));
    assert_eq!(
        wait("Sun, 06 Nov 1994 08:49:37 GMT").await,
        Some(Duration::ZERO)
    );
    let far = wait("Fri, 31 Dec 9999 23:59:59 GMT").await.unwrap();
    assert!(
        far > Duration::from_secs(3_600 * 24 * 365 * 1_000),
        "{far:?}"
    );
    assert_eq!(wait("soon").await, None);
    assert_eq!(wait("-1").await, None);
}

#[tokio::test]
async fn a_timeout_is_the_targets_fault() {
    let receiver = MockServer::start().await;
    let slow = ResponseTemplate::new(200).set_delay(Duration::from_secs(3_600));
    Mock::given(method("POST"))
        .respond_with(slow)
        .mount(&receiver)
        .await;
    let result = send(&receiver.uri(), Duration::from_millis(200)).await;
    let failed = result.unwrap_err();
    assert_eq!(failed.reason, "no response within 200ms");
    assert_eq!(failed.fault, Fault::Target);
}

#[tokio::test]
async fn a_closed_connection_is_the_targets_fault() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/?token=hidden", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.readable().await.unwrap();
            drop(stream);
        }
    });
    let result = send(&url, Duration::from_secs(60)).await;
    let failed = result.unwrap_err();
    assert!(!failed.reason.contains("hidden"), "{failed}");
    assert_eq!(failed.fault, Fault::Target);
}

#[tokio::test]
async fn a_refused_connection_and_an_unknown_host_are_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for url in [closed.as_str(), "http://unknown.invalid"] {
        let result = send(url, Duration::from_secs(60)).await;
        assert_eq!(fault_of(result), Fault::TargetDown, "{url}");
    }
}

#[tokio::test]
async fn a_receiver_without_tls_is_unreachable_over_https() {
    let receiver = MockServer::start().await;
    let url = receiver.uri().replace("http://", "https://");
    let result = send(&url, Duration::from_secs(60)).await;
    assert_eq!(fault_of(result), Fault::TargetDown);
}

#[tokio::test]
async fn an_endless_response_is_cut_off_and_its_status_decides() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let sender = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_exact(&mut [0; 16]).await.unwrap();
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n";
        stream.write_all(head).await.unwrap();
        // Ends when the client closes the connection.
        while stream.write_all(&[0; 4096]).await.is_ok() {}
    });
    assert_eq!(send(&url, Duration::from_secs(60)).await, Ok(()));
    sender.await.unwrap();
}
