use tempfile::TempDir;
use wiremock::ResponseTemplate;

use super::*;
use crate::handler::action::error::Fault;
use crate::handler::action::testing::{
    EVENT_ID, only_request, receiver, run, signing_key, verified,
};

fn action(url: &str, subject: &str, folder: &TempDir) -> Result<SharedSignals, ActionConfigError> {
    let key = signing_key(folder, "RS256");
    let text = format!(
        "{{name: notify, type: shared-signals, url: '{url}', issuer: 'https://id.example', \
         audience: 'https://rp.example', subject: {subject}, signingKeys: [{key}], \
         insecure: true, bearerToken: {{valueFrom: {{env: PATH}}}}}}"
    );
    SharedSignals::new(serde_yaml::from_str(&text).unwrap())
}

const SUBJECT: &str = "{format: complex, \
    user: {format: iss_sub, iss: 'https://id.example', sub: '{{ user_id }}'}, \
    session: {format: opaque, id: '{{ session_id }}'}}";

#[tokio::test]
async fn the_security_event_token_conforms_to_the_specifications() {
    let folder = TempDir::new().unwrap();
    let server = receiver(ResponseTemplate::new(202)).await;
    let action = action(&server.uri(), SUBJECT, &folder).unwrap();
    run(&action).await.unwrap();
    let request = only_request(&server).await;
    assert_eq!(request.headers["content-type"], "application/secevent+jwt");
    assert_eq!(request.headers["accept"], "application/json");
    let bearer = format!("Bearer {}", std::env::var("PATH").unwrap());
    assert_eq!(request.headers["authorization"], bearer.as_str());

    let token = String::from_utf8(request.body).unwrap();
    let (header, claims) = verified(&token, &action);
    assert_eq!(header.token_type(), Some("secevent+jwt"));
    assert_eq!(claims.issuer(), Some("https://id.example"));
    assert_eq!(claims.audience(), Some(vec!["https://rp.example"]));
    assert_eq!(claims.jwt_id(), Some(EVENT_ID));
    assert!(claims.issued_at().is_some());
    assert_eq!((claims.expires_at(), claims.subject()), (None, None));
    let subject = json!({
        "format": "complex",
        "user": {"format": "iss_sub", "iss": "https://id.example", "sub": "42"},
        "session": {"format": "opaque", "id": "s-1"},
    });
    assert_eq!(claims.claim("sub_id"), Some(&subject));
    let event = json!({
        "event_timestamp": 1_738_929_600,
        "initiating_entity": "policy",
        "reason_admin": {"en": "idle_timeout under the policy default"},
    });
    assert_eq!(claims.claim("events"), Some(&json!({ EVENT: event })));
}

#[tokio::test]
async fn the_error_of_a_receiver_is_quoted() {
    let folder = TempDir::new().unwrap();
    let body = json!({"err": "invalid_audience", "description": "not us"});
    let server = receiver(ResponseTemplate::new(400).set_body_json(body)).await;
    let action = action(&server.uri(), SUBJECT, &folder).unwrap();
    let reason = "the receiver responded 400 Bad Request: invalid_audience (not us)";
    let failed = run(&action).await.unwrap_err();
    assert_eq!(
        (failed.fault, failed.reason.as_str()),
        (Fault::TargetDown, reason)
    );
}

#[test]
fn a_subject_needs_a_format() {
    let folder = TempDir::new().unwrap();
    for subject in ["'{{ user_id }}'", "{id: '{{ user_id }}'}"] {
        let error = action("https://host", subject, &folder).unwrap_err();
        assert!(error.to_string().contains("needs a format"), "{error}");
    }
}
