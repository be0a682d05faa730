use tempfile::TempDir;
use wiremock::matchers::basic_auth;
use wiremock::{Match, ResponseTemplate};

use super::super::oauth_client::ASSERTION_TYPE;
use super::*;
use crate::handler::action::error::Fault;
use crate::handler::action::testing::{form, only_request, receiver, run, signing_key, verified};

fn action(url: &str, client: &str) -> Result<OauthRevocation, ActionConfigError> {
    let text = format!(
        "{{name: revoke, type: oauth-revocation, url: '{url}', \
         insecure: true, \
         token: '{{{{ attributes.token }}}}', tokenTypeHint: refresh_token, client: {client}}}"
    );
    OauthRevocation::new(serde_yaml::from_str(&text).unwrap())
}

/// `PATH` stands in for a secret, because it is always set.
const SECRET: &str = "secret: {valueFrom: {env: PATH}}";

fn with_secret(url: &str, method: &str) -> OauthRevocation {
    let client = format!("{{id: 'sun:down', method: {method}, {SECRET}}}");
    action(url, &client).unwrap()
}

async fn run_with(response: ResponseTemplate) -> Result<(), ActionError> {
    let server = receiver(response).await;
    run(&with_secret(&server.uri(), "client_secret_basic")).await
}

#[tokio::test]
async fn the_token_goes_in_the_body_and_the_secret_in_the_header() {
    let server = receiver(ResponseTemplate::new(200)).await;
    run(&with_secret(&server.uri(), "client_secret_basic"))
        .await
        .unwrap();
    let request = only_request(&server).await;
    let expected = [("token", "a b&c"), ("token_type_hint", "refresh_token")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(form(&request), expected);
    let secret = std::env::var("PATH").unwrap();
    let encoded: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    assert!(basic_auth("sun%3Adown", encoded).matches(&request));
}

#[tokio::test]
async fn the_secret_goes_in_the_body_with_client_secret_post() {
    let server = receiver(ResponseTemplate::new(200)).await;
    run(&with_secret(&server.uri(), "client_secret_post"))
        .await
        .unwrap();
    let request = only_request(&server).await;
    assert!(!request.headers.contains_key("authorization"));
    let secret = std::env::var("PATH").unwrap();
    let fields = form(&request);
    assert!(fields.contains(&("client_id".to_owned(), "sun:down".to_owned())));
    assert!(fields.contains(&("client_secret".to_owned(), secret)));
}

#[tokio::test]
async fn every_attempt_signs_a_new_assertion() {
    let server = receiver(ResponseTemplate::new(200)).await;
    let folder = TempDir::new().unwrap();
    let key = signing_key(&folder, "ES256");
    let client = format!(
        "{{id: sundown, method: private_key_jwt, issuer: 'https://id.example', \
         signingKeys: [{key}]}}"
    );
    let action = action(&server.uri(), &client).unwrap();
    run(&action).await.unwrap();
    run(&action).await.unwrap();
    let requests = server.received_requests().await.unwrap();
    let assertions = requests.iter().map(|request| {
        let fields = form(request);
        let field = |name: &str| {
            let found = fields.iter().find(|(other, _)| other == name);
            found.expect(name).1.clone()
        };
        assert_eq!(field("client_assertion_type"), ASSERTION_TYPE);
        let (_, claims) = verified(&field("client_assertion"), &action);
        assert_eq!(claims.issuer(), Some("sundown"));
        assert_eq!(claims.subject(), Some("sundown"));
        assert_eq!(claims.audience(), Some(vec!["https://id.example"]));
        let life = claims
            .expires_at()
            .unwrap()
            .duration_since(claims.issued_at().unwrap());
        assert_eq!(life.unwrap(), Duration::from_secs(60));
        claims.jwt_id().unwrap().to_owned()
    });
    let ids: std::collections::BTreeSet<_> = assertions.collect();
    assert_eq!(ids.len(), 2);
}

#[tokio::test]
async fn error_responses_are_classified() {
    let error_response = |status, error: &str| {
        let body = serde_json::json!({"error": error, "error_description": "because\r\nso"});
        ResponseTemplate::new(status).set_body_json(body)
    };
    assert_eq!(run_with(ResponseTemplate::new(200)).await, Ok(()));
    for (status, error, fault) in [
        (400, "invalid_request", Fault::Event),
        (401, "invalid_client", Fault::TargetDown),
        (400, "unauthorized_client", Fault::TargetDown),
        (400, "unsupported_token_type", Fault::Event),
        (503, "server_error", Fault::Target),
        (400, "temporarily_unavailable", Fault::Target),
    ] {
        let failed = run_with(error_response(status, error)).await.unwrap_err();
        assert_eq!(failed.fault, fault, "{error}");
        assert!(
            failed.reason.ends_with(&format!("{error} (becauseso)")),
            "{failed}"
        );
    }
    let busy = ResponseTemplate::new(503).insert_header("retry-after", "7");
    let failed = run_with(busy).await.unwrap_err();
    assert_eq!(failed.retry_after, Some(Duration::from_secs(7)));
}

#[test]
fn a_method_with_the_wrong_credentials_is_rejected() {
    let folder = TempDir::new().unwrap();
    let key = signing_key(&folder, "ES256");
    for client in [
        "{id: a, method: client_secret_basic}".to_owned(),
        "{id: a, method: client_secret_post}".to_owned(),
        "{id: a, method: private_key_jwt}".to_owned(),
        format!("{{id: a, method: private_key_jwt, signingKeys: [{key}]}}"),
        format!("{{id: a, method: private_key_jwt, {SECRET}}}"),
        format!("{{id: a, method: none, {SECRET}}}"),
    ] {
        let error = action("https://host", &client).unwrap_err().to_string();
        assert!(error.contains("action 'revoke'"), "{client}: {error}");
    }
}

#[tokio::test]
async fn a_token_of_another_client_is_refused_without_a_request() {
    let server = receiver(ResponseTemplate::new(200)).await;
    let with_token = |token: &str| {
        let text = format!(
            "{{name: revoke, type: oauth-revocation, url: '{}', insecure: true, \
             token: '{token}', client: {{id: shop, method: none}}}}",
            server.uri()
        );
        OauthRevocation::new(serde_yaml::from_str(&text).unwrap()).unwrap()
    };
    let jwt = |claims: &str| {
        let payload = BASE64_URL_SAFE_NO_PAD.encode(claims);
        format!("e30.{payload}.c2ln")
    };
    for claims in [r#"{"azp":"wiki"}"#, r#"{"client_id":"wiki"}"#] {
        let error = run(&with_token(&jwt(claims))).await.unwrap_err();
        let reason = error.to_string();
        assert!(reason.contains("the client wiki"), "{reason}");
    }
    assert_eq!(server.received_requests().await.unwrap().len(), 0);
    for token in [&jwt(r#"{"azp":"shop"}"#), &jwt("{}"), "opaque", "a.b.c"] {
        assert_eq!(run(&with_token(token)).await, Ok(()), "{token}");
    }
}

#[test]
fn credentials_over_http_have_to_be_allowed() {
    let text = "{name: revoke, type: oauth-revocation, url: 'http://host', token: t, \
                client: {id: shop, method: none}}";
    let error = OauthRevocation::new(serde_yaml::from_str(text).unwrap()).unwrap_err();
    assert!(error.to_string().contains("insecure: true"), "{error}");
}
