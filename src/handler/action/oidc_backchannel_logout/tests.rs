use tempfile::TempDir;
use wiremock::ResponseTemplate;

use super::*;
use crate::handler::action::error::Fault;
use crate::handler::action::testing::{form, only_request, receiver, run, signing_key, verified};

fn action(url: &str, claims: &str, keys: &str) -> Result<OidcBackchannelLogout, ActionConfigError> {
    let text = format!(
        "{{name: notify, type: oidc-backchannel-logout, url: '{url}', \
         issuer: 'https://id.example', audience: shop, {claims} signingKeys: [{keys}]}}"
    );
    OidcBackchannelLogout::new(serde_yaml::from_str(&text).unwrap())
}

const SUB_AND_SID: &str = "sub: '{{ user_id }}', sid: '{{ attributes.sid }}',";

#[tokio::test]
async fn the_logout_token_conforms_to_the_specification() {
    let folder = TempDir::new().unwrap();
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let relying_party = receiver(ResponseTemplate::new(204)).await;
        let key = signing_key(&folder, algorithm);
        let action = action(&relying_party.uri(), SUB_AND_SID, &key).unwrap();
        run(&action).await.unwrap();
        let fields = form(&only_request(&relying_party).await);
        let [(name, token)] = &fields[..] else {
            panic!("{fields:?}")
        };
        assert_eq!(name, "logout_token");
        let (header, claims) = verified(token, &action);
        assert_eq!(header.algorithm(), Some(algorithm));
        assert_eq!(header.token_type(), Some("logout+jwt"));
        assert_eq!(claims.issuer(), Some("https://id.example"));
        assert_eq!(claims.audience(), Some(vec!["shop"]));
        assert!(claims.jwt_id().is_some());
        assert_eq!(claims.subject(), Some("42"));
        assert_eq!(claims.claim("sid"), Some(&json!("sid-1")));
        assert_eq!(claims.claim("events"), Some(&json!({ EVENT: {} })));
        assert_eq!(claims.claim("nonce"), None);
        let (issued, expires) = (claims.issued_at().unwrap(), claims.expires_at().unwrap());
        let life = expires.duration_since(issued).unwrap();
        assert!(life <= Duration::from_secs(120), "{life:?}");
    }
}

#[tokio::test]
async fn a_claim_that_is_not_configured_is_omitted() {
    let folder = TempDir::new().unwrap();
    let relying_party = receiver(ResponseTemplate::new(200)).await;
    let key = signing_key(&folder, "ES256");
    let only_sid = "sid: '{{ attributes.sid }}',";
    let action = action(&relying_party.uri(), only_sid, &key).unwrap();
    run(&action).await.unwrap();
    let fields = form(&only_request(&relying_party).await);
    let (_, claims) = verified(&fields[0].1, &action);
    assert_eq!(claims.subject(), None);
}

#[tokio::test]
async fn the_error_of_a_relying_party_is_quoted() {
    let folder = TempDir::new().unwrap();
    let body = json!({"error": "invalid_request", "error_description": "unknown sid"});
    let relying_party = receiver(ResponseTemplate::new(400).set_body_json(body)).await;
    let key = signing_key(&folder, "ES256");
    let action = action(&relying_party.uri(), SUB_AND_SID, &key).unwrap();
    let reason = "the receiver responded 400 Bad Request: invalid_request (unknown sid)";
    let failed = run(&action).await.unwrap_err();
    assert_eq!(
        (failed.fault, failed.reason.as_str()),
        (Fault::Event, reason)
    );
}

#[tokio::test]
async fn an_event_without_a_field_that_the_token_needs_is_refused() {
    let folder = TempDir::new().unwrap();
    let relying_party = receiver(ResponseTemplate::new(200)).await;
    let key = signing_key(&folder, "ES256");
    let other = "sid: '{{ attributes.session_state }}',";
    let action = action(&relying_party.uri(), other, &key).unwrap();
    let failed = run(&action).await.unwrap_err();
    let reason = "the event has no attributes.session_state";
    assert_eq!(
        (failed.fault, failed.reason.as_str()),
        (Fault::Handler, reason)
    );
    assert_eq!(relying_party.received_requests().await.unwrap().len(), 0);
}

#[test]
fn a_configuration_without_claims_or_valid_keys_is_rejected() {
    let folder = TempDir::new().unwrap();
    let key = signing_key(&folder, "ES256");
    let wrong = key.replace("{algorithm: ES256", "{algorithm: RS256");
    for (claims, keys, field) in [
        ("", key.as_str(), "sid"),
        (SUB_AND_SID, "", "signingKeys"),
        (SUB_AND_SID, wrong.as_str(), "signingKeys"),
    ] {
        let error = action("https://host", claims, keys)
            .unwrap_err()
            .to_string();
        assert!(error.contains(field), "{error}");
    }
}

#[test]
fn all_keys_are_published_under_stable_ids() {
    let folder = TempDir::new().unwrap();
    let keys = [signing_key(&folder, "ES256"), signing_key(&folder, "RS256")].join(", ");
    let ids = || {
        let keys = action("https://host", SUB_AND_SID, &keys)
            .unwrap()
            .public_keys();
        let ids = keys.into_iter().map(|key| key.common.key_id.unwrap());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(ids().len(), 2);
    assert_eq!(ids(), ids());
    let public = action("https://host", SUB_AND_SID, &keys)
        .unwrap()
        .public_keys();
    let text = serde_json::to_string(&public).unwrap();
    assert!(!text.contains("\"d\""), "the private key is published");
}

/// A relying party that has stored the `jti` of a token whose response was lost refuses it.
#[tokio::test]
async fn every_attempt_has_a_new_jti() {
    let folder = TempDir::new().unwrap();
    let relying_party = receiver(ResponseTemplate::new(500)).await;
    let key = signing_key(&folder, "ES256");
    let action = action(&relying_party.uri(), SUB_AND_SID, &key).unwrap();
    for _ in 0..2 {
        run(&action).await.unwrap_err();
    }
    let requests = relying_party.received_requests().await.unwrap();
    let ids = requests.iter().map(|request| {
        let (_, claims) = verified(&form(request)[0].1, &action);
        claims.jwt_id().unwrap().to_owned()
    });
    assert_eq!(ids.collect::<std::collections::BTreeSet<_>>().len(), 2);
}

#[tokio::test]
async fn a_response_that_is_declared_a_success_is_one() {
    let folder = TempDir::new().unwrap();
    let key = signing_key(&folder, "ES256");
    let body = json!({"error": "invalid_request", "error_description": "no such session"});
    let unknown = ResponseTemplate::new(400).set_body_json(body);
    for (success, done) in [("", false), ("success: [2xx, 400, 404],", true)] {
        let relying_party = receiver(unknown.clone()).await;
        let fields = format!("{SUB_AND_SID} {success}");
        let action = action(&relying_party.uri(), &fields, &key).unwrap();
        assert_eq!(run(&action).await.is_ok(), done, "{success}");
    }
}

#[tokio::test]
async fn the_key_is_chosen_by_algorithm_and_has_the_id_that_the_provider_gave_it() {
    let folder = TempDir::new().unwrap();
    let relying_party = receiver(ResponseTemplate::new(200)).await;
    let own = |key: String, kid: &str| key.replacen('{', &format!("{{kid: {kid}, "), 1);
    let keys = [
        own(signing_key(&folder, "RS256"), "rsa-of-keycloak"),
        own(signing_key(&folder, "ES256"), "ec-of-keycloak"),
    ];
    let fields = format!("{SUB_AND_SID} algorithm: ES256,");
    let action = action(&relying_party.uri(), &fields, &keys.join(", ")).unwrap();
    run(&action).await.unwrap();
    let token = &form(&only_request(&relying_party).await)[0].1;
    let (header, _) = verified(token, &action);
    assert_eq!(header.algorithm(), Some("ES256"));
    assert_eq!(header.key_id(), Some("ec-of-keycloak"));
    assert_eq!(action.public_keys().len(), 2);
}

#[test]
fn an_algorithm_without_a_key_and_a_kid_used_twice_are_rejected() {
    let folder = TempDir::new().unwrap();
    let key = signing_key(&folder, "ES256");
    let twice = format!("{key}, {key}");
    for (claims, keys, problem) in [
        ("algorithm: RS256,", key.as_str(), "no key for RS256"),
        ("", twice.as_str(), "the same kid"),
    ] {
        let fields = format!("{SUB_AND_SID} {claims}");
        let error = action("https://host", &fields, keys)
            .unwrap_err()
            .to_string();
        assert!(error.contains(problem), "{error}");
    }
}
