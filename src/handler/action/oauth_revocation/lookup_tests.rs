use serde_json::json;
use wiremock::matchers::{bearer_token, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::handler::action::error::Fault;
use crate::handler::action::testing::{form, run};

/// The fields of the lookup, without `url`; `PATH` stands in for a secret, because it is set.
const LOOKUP: &str = "auth: {bearer: {valueFrom: {env: PATH}}}, pointer: /tokens/refresh";

fn action(lookup: &str) -> Result<OauthRevocation, ActionConfigError> {
    let text = format!(
        "{{name: revoke, type: oauth-revocation, {lookup}, client: {{id: shop, method: none}}}}"
    );
    OauthRevocation::new(serde_yaml::from_str(&text).unwrap())
}

/// An application that responds so for the session of the test event, and an authorization server.
async fn servers(response: ResponseTemplate) -> (MockServer, OauthRevocation) {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path("/sessions/s-1"))
        .and(bearer_token(std::env::var("PATH").unwrap()))
        .respond_with(response)
        .mount(&server)
        .await;
    Mock::given(path("/revoke"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    let uri = server.uri();
    let action = action(&format!(
        "url: '{uri}/revoke', insecure: true, tokenFrom: \
         {{url: '{uri}/sessions/{{{{ session_id }}}}', {LOOKUP}}}"
    ));
    (server, action.unwrap())
}

/// The tokens that were revoked.
async fn revoked(server: &MockServer) -> Vec<String> {
    let requests = server.received_requests().await.unwrap();
    let revocations = requests
        .iter()
        .filter(|request| request.url.path() == "/revoke");
    revocations
        .map(|request| form(request)[0].1.clone())
        .collect()
}

#[tokio::test]
async fn the_token_is_looked_up_when_the_session_has_ended() {
    let long = "t".repeat(20_000);
    let response = ResponseTemplate::new(200).set_body_json(json!({"tokens": {"refresh": long}}));
    let (server, action) = servers(response).await;
    assert_eq!(run(&action).await, Ok(()));
    assert_eq!(revoked(&server).await, [long]);
}

#[tokio::test]
async fn a_session_without_a_token_has_nothing_to_revoke() {
    for status in [404, 410] {
        let (server, action) = servers(ResponseTemplate::new(status)).await;
        assert_eq!(run(&action).await, Ok(()));
        assert!(revoked(&server).await.is_empty());
    }
}

#[tokio::test]
async fn a_failed_lookup_revokes_nothing() {
    let other = ResponseTemplate::new(200).set_body_json(json!({"tokens": {}}));
    for (response, fault) in [
        (ResponseTemplate::new(503), Fault::Target),
        (ResponseTemplate::new(401), Fault::TargetDown),
        (ResponseTemplate::new(400), Fault::Event),
        (other, Fault::Handler),
    ] {
        let (server, action) = servers(response).await;
        let error = run(&action).await.unwrap_err();
        assert_eq!(error.fault, fault, "{error}");
        assert!(revoked(&server).await.is_empty());
    }
}

#[test]
fn a_token_comes_from_one_place_and_over_an_encrypted_connection() {
    let url = "url: 'https://id.example/revoke'";
    let lookup = format!("tokenFrom: {{url: 'https://app.example', {LOOKUP}}}");
    assert!(action(&format!("{url}, {lookup}")).is_ok());
    for (fields, problem) in [
        (url.to_owned(), "either token or tokenFrom"),
        (
            format!("{url}, token: t, {lookup}"),
            "either token or tokenFrom",
        ),
        (
            format!("{url}, {}", lookup.replace("https", "http")),
            "tokenFrom.url",
        ),
    ] {
        let error = action(&fields).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}
