use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use serde_json::json;
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use crate::handler::action::testing::{form, run};
use crate::handler::action::webhook::Webhook;

/// Issues the tokens 1, 2, 3 and so on, valid for so many seconds.
struct Issuer(AtomicU64, Option<u64>);

impl Respond for Issuer {
    fn respond(&self, _: &Request) -> ResponseTemplate {
        let token = self.0.fetch_add(1, SeqCst) + 1;
        let mut body = json!({"access_token": token.to_string(), "token_type": "Bearer"});
        if let Some(seconds) = self.1 {
            body["expires_in"] = seconds.into();
        }
        ResponseTemplate::new(200).set_body_json(body)
    }
}

/// Accepts only this token.
struct Api(&'static str);

impl Respond for Api {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let token = format!("Bearer {}", self.0);
        let accepted = request.headers.get("authorization").unwrap() == token.as_str();
        ResponseTemplate::new(if accepted { 204 } else { 401 })
    }
}

async fn server(tokens: impl Respond + 'static, api: impl Respond + 'static) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(path("/token"))
        .respond_with(tokens)
        .mount(&server)
        .await;
    Mock::given(path("/api"))
        .respond_with(api)
        .mount(&server)
        .await;
    server
}

fn webhook(server: &MockServer) -> Webhook {
    let uri = server.uri();
    let text = format!(
        "{{name: call, type: webhook, url: '{uri}/api', insecure: true, auth: \
         {{oauth2ClientCredentials: {{tokenUrl: '{uri}/token', scope: end-sessions, \
         parameters: {{resource: 'https://api'}}, client: {{id: sundown, \
         method: client_secret_post, secret: {{valueFrom: {{env: PATH}}}}}}}}}}}}"
    );
    Webhook::new(serde_yaml::from_str(&text).unwrap()).unwrap()
}

/// How often the token endpoint and the API were called.
async fn calls(server: &MockServer) -> (usize, usize) {
    let requests = server.received_requests().await.unwrap();
    let to = |path: &str| requests.iter().filter(|r| r.url.path() == path).count();
    (to("/token"), to("/api"))
}

#[tokio::test]
async fn a_token_is_cached_until_it_expires() {
    let lasting = server(Issuer(AtomicU64::new(0), Some(300)), Api("1")).await;
    let action = webhook(&lasting);
    for _ in 0..3 {
        assert_eq!(run(&action).await, Ok(()));
    }
    assert_eq!(calls(&lasting).await, (1, 3));
    let requests = lasting.received_requests().await.unwrap();
    let fields = form(&requests[0]);
    for (name, value) in [
        ("grant_type", "client_credentials"),
        ("scope", "end-sessions"),
        ("resource", "https://api"),
        ("client_id", "sundown"),
    ] {
        let field = (name.to_owned(), value.to_owned());
        assert!(fields.contains(&field), "{name}: {fields:?}");
    }

    let expired = server(Issuer(AtomicU64::new(0), Some(0)), Api("1")).await;
    let action = webhook(&expired);
    assert_eq!(run(&action).await, Ok(()));
    assert!(run(&action).await.is_err(), "the second token is refused");
    assert_eq!(calls(&expired).await, (3, 3));
}

#[tokio::test]
async fn a_token_that_is_refused_is_renewed_once() {
    let expiring = server(Issuer(AtomicU64::new(0), None), Api("2")).await;
    let action = webhook(&expiring);
    assert_eq!(run(&action).await, Ok(()));
    assert_eq!(run(&action).await, Ok(()));
    assert_eq!(calls(&expiring).await, (2, 3));

    let refusing = server(Issuer(AtomicU64::new(0), Some(300)), Api("none")).await;
    let error = run(&webhook(&refusing)).await.unwrap_err();
    assert!(error.to_string().contains("401"), "{error}");
    assert_eq!(calls(&refusing).await, (2, 2));
}

#[tokio::test]
async fn without_a_token_the_target_is_at_fault() {
    let refusal = json!({"error": "invalid_client", "error_description": "who?"});
    for response in [
        ResponseTemplate::new(401).set_body_json(refusal),
        ResponseTemplate::new(200).set_body_json(json!({"token_type": "Bearer"})),
        ResponseTemplate::new(500),
    ] {
        let server = server(response, Api("1")).await;
        let error = run(&webhook(&server)).await.unwrap_err();
        assert!(error.fault.is_target(), "{error}");
        assert_eq!(calls(&server).await, (1, 0));
    }
}
