//! The requests that a webhook sends.

use wiremock::matchers::{any, basic_auth, header};
use wiremock::{Match, Mock, MockServer, Request, ResponseTemplate};

use super::*;
use crate::handler::action::error::Fault;
use crate::handler::action::testing::{EVENT_ID, run};

/// `PATH` stands in for a secret, because it is always set.
const SECRET: &str = "{valueFrom: {env: PATH}}";

fn webhook(url: &str, fields: &str) -> Result<Webhook, String> {
    let text = format!("{{name: call, type: webhook, url: '{url}', {fields}}}");
    let config = serde_yaml::from_str(&text).map_err(|error| error.to_string())?;
    Webhook::new(config).map_err(|error| error.to_string())
}

async fn target(status: u16) -> MockServer {
    let target = MockServer::start().await;
    let response = ResponseTemplate::new(status);
    Mock::given(any())
        .respond_with(response)
        .mount(&target)
        .await;
    target
}

/// Runs a webhook with these fields and returns its only request.
async fn request(path: &str, fields: &str) -> Request {
    let target = target(200).await;
    let url = format!("{}{path}", target.uri());
    run(&webhook(&url, fields).unwrap()).await.unwrap();
    let mut requests = target.received_requests().await.unwrap();
    assert_eq!(requests.len(), 1);
    requests.remove(0)
}

fn text<'a>(request: &'a Request, header: &str) -> Option<&'a str> {
    let value = request.headers.get(header)?;
    Some(value.to_str().unwrap())
}

#[tokio::test]
async fn method_url_headers_and_body_are_those_of_the_api() {
    let ended = request(
        "/admin/realms/r/sessions/{{ attributes.token }}?why={{ reason }}",
        "method: DELETE, headers: {X-Tenant: '{{ policy.name }}-x'}",
    )
    .await;
    assert_eq!(ended.method.as_str(), "DELETE");
    assert_eq!(ended.url.path(), "/admin/realms/r/sessions/a%20b%26c");
    assert_eq!(ended.url.query(), Some("why=idle_timeout"));
    assert_eq!(text(&ended, "x-tenant"), Some("default-x"));
    assert_eq!(text(&ended, "content-type"), None);
    assert!(ended.body.is_empty());

    let fields = "method: PUT, contentType: text/plain, body: 'bye {{ user_id }}'";
    let replaced = request("/", fields).await;
    assert_eq!(replaced.method.as_str(), "PUT");
    assert_eq!(replaced.body, b"bye 42");
    assert_eq!(text(&replaced, "content-type"), Some("text/plain"));

    let bare = request("/users/{{ user_id }}/logout", "body: ''").await;
    assert_eq!(bare.method.as_str(), "POST");
    assert!(bare.body.is_empty());
    assert_eq!(text(&bare, "content-type"), None);
}

#[tokio::test]
async fn every_secret_signs_the_id_the_kind_the_time_and_the_body() {
    let unsigned = request("/", "").await;
    assert_eq!(text(&unsigned, "idempotency-key"), Some(EVENT_ID));
    assert_eq!(text(&unsigned, "webhook-signature"), None);

    let signed = request("/", &format!("secrets: [{SECRET}, {SECRET}]")).await;
    let id = text(&signed, "webhook-id").unwrap();
    assert_eq!(id, format!("ending_{EVENT_ID}"));
    let at = text(&signed, "webhook-timestamp").unwrap().parse().unwrap();
    let reference = serde_yaml::from_str(SECRET).unwrap();
    let secrets = WebhookSecrets::read(&"a".parse().unwrap(), "secret", &[reference]).unwrap();
    let signature = secrets.sign(id, at, &signed.body);
    assert_eq!(
        text(&signed, "webhook-signature"),
        Some(format!("{signature} {signature}").as_str())
    );
}

#[tokio::test]
async fn fixed_credentials_go_in_the_header() {
    let secret = std::env::var("PATH").unwrap();
    let fields = format!("insecure: true, auth: {{basic: {{username: me, password: {SECRET}}}}}");
    assert!(basic_auth("me", &secret).matches(&request("/", &fields).await));
    let fields = format!("insecure: true, auth: {{bearer: {SECRET}}}");
    let expected = format!("Bearer {secret}");
    assert!(header("authorization", expected.as_str()).matches(&request("/", &fields).await));
    let fields = format!("insecure: true, headers: {{X-Api-Key: {SECRET}}}");
    assert!(header("x-api-key", secret.as_str()).matches(&request("/", &fields).await));
}

#[tokio::test]
async fn statuses_that_are_declared_a_success_are_one() {
    for (status, fields, done) in [
        (404, "", false),
        (404, "success: [2xx, 404]", true),
        (204, "success: [2xx, 404]", true),
        (204, "success: [200]", false),
    ] {
        let target = target(status).await;
        let result = run(&webhook(&target.uri(), fields).unwrap()).await;
        assert_eq!(result.is_ok(), done, "{status} with {fields}");
    }
}

#[tokio::test]
async fn a_header_with_control_characters_is_refused() {
    let target = target(200).await;
    let fields = r#"headers: {X-Session: "{{ session_id }}\nx"}"#;
    let error = run(&webhook(&target.uri(), fields).unwrap())
        .await
        .unwrap_err();
    assert_eq!(error.fault, Fault::Handler, "{error}");
}

#[test]
fn contradictions_and_unencrypted_credentials_are_rejected() {
    let basic = format!("auth: {{basic: {{username: me, password: {SECRET}}}}}");
    let token = format!(
        "auth: {{oauth2ClientCredentials: {{tokenUrl: 'http://id/token', \
         client: {{id: me, method: client_secret_basic, secret: {SECRET}}}}}}}"
    );
    for (url, fields, problem) in [
        ("http://h", basic.clone(), "insecure: true"),
        (
            "http://h",
            format!("auth: {{bearer: {SECRET}}}"),
            "insecure: true",
        ),
        (
            "http://h",
            format!("headers: {{X-Key: {SECRET}}}"),
            "insecure: true",
        ),
        (
            "http://h",
            "headers: {authorization: x}".to_owned(),
            "insecure: true",
        ),
        ("https://h", token, "insecure: true"),
        (
            "https://h",
            format!("{basic}, headers: {{authorization: x}}"),
            "set by auth",
        ),
        (
            "https://h",
            "headers: {Host: x}".to_owned(),
            "set by the handler",
        ),
        (
            "https://h",
            "headers: {webhook-id: x}".to_owned(),
            "set by the handler",
        ),
        (
            "https://h",
            "headers: {content-type: x}".to_owned(),
            "contentType",
        ),
        (
            "https://h",
            "headers: {'a b': x}".to_owned(),
            "not a header name",
        ),
        (
            "https://h",
            "contentType: '{{ reason }}'".to_owned(),
            "takes no template",
        ),
        ("https://h", "method: BREW".to_owned(), "unknown variant"),
        ("https://h", "auth: {}".to_owned(), "exactly one of"),
        (
            "https://h",
            format!("auth: {{bearer: {SECRET}, basic: {{username: a, password: {SECRET}}}}}"),
            "exactly one of",
        ),
        (
            "https://h",
            format!("secret: {SECRET}, secrets: [{SECRET}]"),
            "remove secret",
        ),
        ("https://h{{ reason }}/", String::new(), "scheme and host"),
    ] {
        let error = webhook(url, &fields).unwrap_err();
        assert!(error.contains(problem), "{url} {fields}: {error}");
    }
}
