use tempfile::TempDir;
use wiremock::matchers::basic_auth;
use wiremock::{Match, ResponseTemplate};

use super::*;
use crate::handler::action::testing::{form, only_call, receiver, run, signing_key, verified};

fn action(url: &str, client: &str) -> Result<OauthRevocation, ActionConfigError> {
    let text = format!(
        "{{name: revoke, type: oauth-revocation, url: '{url}', \
         token: '{{{{ attributes.token }}}}', tokenTypeHint: refresh_token, client: {client}}}"
    );
    OauthRevocation::new(serde_yaml::from_str(&text).unwrap())
}

/// `PATH` stands in for a secret: it is set everywhere.
const SECRET: &str = "secret: {valueFrom: {env: PATH}}";

fn with_secret(url: &str, method: &str) -> OauthRevocation {
    let client = format!("{{id: 'sun:down', method: {method}, {SECRET}}}");
    action(url, &client).unwrap()
}

async fn answered(answer: ResponseTemplate) -> Result<(), ActionError> {
    let server = receiver(answer).await;
    run(&with_secret(&server.uri(), "client_secret_basic")).await
}

#[tokio::test]
async fn the_token_goes_in_the_body_and_the_secret_in_the_header() {
    let server = receiver(ResponseTemplate::new(200)).await;
    run(&with_secret(&server.uri(), "client_secret_basic"))
        .await
        .unwrap();
    let call = only_call(&server).await;
    let expected = [("token", "a b&c"), ("token_type_hint", "refresh_token")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(form(&call), expected);
    let secret = std::env::var("PATH").unwrap();
    let encoded: String = byte_serialize(secret.as_bytes()).collect();
    assert!(basic_auth("sun%3Adown", encoded).matches(&call));
}

#[tokio::test]
async fn the_secret_goes_in_the_body_if_told_so() {
    let server = receiver(ResponseTemplate::new(200)).await;
    run(&with_secret(&server.uri(), "client_secret_post"))
        .await
        .unwrap();
    let call = only_call(&server).await;
    assert!(!call.headers.contains_key("authorization"));
    let secret = std::env::var("PATH").unwrap();
    let fields = form(&call);
    assert!(fields.contains(&("client_id".to_owned(), "sun:down".to_owned())));
    assert!(fields.contains(&("client_secret".to_owned(), secret)));
}

#[tokio::test]
async fn an_assertion_is_signed_anew_for_every_attempt() {
    let server = receiver(ResponseTemplate::new(200)).await;
    let folder = TempDir::new().unwrap();
    let key = signing_key(&folder, "ES256");
    let client = format!("{{id: sundown, method: private_key_jwt, signingKeys: [{key}]}}");
    let action = action(&server.uri(), &client).unwrap();
    run(&action).await.unwrap();
    run(&action).await.unwrap();
    let calls = server.received_requests().await.unwrap();
    let assertions = calls.iter().map(|call| {
        let fields = form(call);
        let field = |name: &str| {
            let found = fields.iter().find(|(other, _)| other == name);
            found.expect(name).1.clone()
        };
        assert_eq!(field("client_assertion_type"), ASSERTION_TYPE);
        let (_, claims) = verified(&field("client_assertion"), &action);
        assert_eq!(claims.issuer(), Some("sundown"));
        assert_eq!(claims.subject(), Some("sundown"));
        // As the standard library writes URLs: with a path.
        let audience = format!("{}/", server.uri());
        assert_eq!(claims.audience(), Some(vec![audience.as_str()]));
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
async fn what_the_server_says_is_understood() {
    let said = |status, error: &str| {
        let body = serde_json::json!({"error": error, "error_description": "because\r\nso"});
        ResponseTemplate::new(status).set_body_json(body)
    };
    assert_eq!(answered(ResponseTemplate::new(200)).await, Ok(()));
    for (status, error) in [
        (400, "invalid_request"),
        (401, "invalid_client"),
        (400, "unauthorized_client"),
        (400, "unsupported_token_type"),
    ] {
        let Err(ActionError::Permanent { reason }) = answered(said(status, error)).await else {
            panic!("{error} is permanent")
        };
        assert!(
            reason.ends_with(&format!("{error} (becauseso)")),
            "{reason}"
        );
    }
    for (status, error) in [(503, "server_error"), (400, "temporarily_unavailable")] {
        let result = answered(said(status, error)).await;
        assert!(
            matches!(result, Err(ActionError::Retryable { .. })),
            "{result:?}"
        );
    }
    let busy = ResponseTemplate::new(503).insert_header("retry-after", "7");
    assert!(matches!(
        answered(busy).await,
        Err(ActionError::Retryable { retry_after: Some(wait), .. }) if wait.as_secs() == 7
    ));
}

#[test]
fn a_method_without_what_it_needs_is_refused() {
    for client in [
        "{id: a, method: client_secret_basic}".to_owned(),
        "{id: a, method: client_secret_post}".to_owned(),
        "{id: a, method: private_key_jwt}".to_owned(),
        format!("{{id: a, method: private_key_jwt, {SECRET}}}"),
        format!("{{id: a, method: none, {SECRET}}}"),
    ] {
        let error = action("https://host", &client).unwrap_err().to_string();
        assert!(error.contains("action 'revoke'"), "{client}: {error}");
    }
}
