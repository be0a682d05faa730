//! The recipes of docs/how-to/choose-an-action.md on a real Keycloak, which `tests/third-party/keycloak` starts.

use std::env;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use reqwest::Client;
use serde_json::Value;

use super::*;
use crate::handler::action::http_client::{FORM, form};
use crate::handler::action::oauth_revocation::OauthRevocation;
use crate::handler::event::Trigger;
use crate::http::client;

const SHOP: [(&str, &str); 2] = [
    ("client_id", "shop"),
    ("client_secret", "secret of the shop"),
];

/// A session of a user at Keycloak.
struct KeycloakSession {
    sid: String,
    user: String,
    refresh_token: String,
}

fn keycloak() -> String {
    env::var("SUNDOWN_TEST_KEYCLOAK").expect("run tests/third-party/keycloak")
}

async fn token(fields: &[(&str, &str)]) -> Value {
    client::install_crypto_provider();
    let url = format!("{}/realms/shop/protocol/openid-connect/token", keycloak());
    let body = form(&[&SHOP, fields].concat());
    let request = Client::new().post(url);
    let request = request.header(CONTENT_TYPE, FORM);
    let response = request.body(body).send().await.unwrap();
    response.json().await.unwrap()
}

impl KeycloakSession {
    async fn start() -> Self {
        let login = [
            ("grant_type", "password"),
            ("username", "jane"),
            ("password", "password"),
            ("scope", "openid"),
        ];
        let tokens = token(&login).await;
        let text = |name: &str| tokens[name].as_str().expect(name).to_owned();
        let id_token = text("id_token");
        let payload = BASE64_URL_SAFE_NO_PAD.decode(id_token.split('.').nth(1).unwrap());
        let claims: Value = serde_json::from_slice(&payload.unwrap()).unwrap();
        Self {
            sid: claims["sid"].as_str().unwrap().to_owned(),
            user: claims["sub"].as_str().unwrap().to_owned(),
            refresh_token: text("refresh_token"),
        }
    }

    async fn is_alive(&self) -> bool {
        let refresh = [
            ("grant_type", "refresh_token"),
            ("refresh_token", self.refresh_token.as_str()),
        ];
        let response = token(&refresh).await;
        response["error"] != "invalid_grant"
    }

    async fn run(&self, action: &impl Action) -> Result<(), ActionError> {
        let ending = serde_json::json!({
            "event_id": "6f9619ff-8b86-5d01-b42d-00cf4fc964ff", "session_id": "s",
            "user_id": self.user, "reason": "idle_timeout",
            "policy": {"name": "default", "generation": 0},
            "started_at": null, "last_activity": null,
            "ended_at": "2025-02-07T12:00:00.000Z", "detected_at": "2025-02-07T12:00:00.000Z",
            "attributes": {"sid": self.sid, "refresh_token": self.refresh_token},
        });
        let body = ending.to_string();
        let event = Trigger::Ending.decode(body.as_bytes()).unwrap();
        let body = body.as_bytes();
        action
            .run(ActionInput {
                event: &event,
                body,
            })
            .await
    }
}

/// A file with a secret, as `valueFrom`.
fn secret(folder: &tempfile::TempDir, text: &str) -> String {
    let file = folder.path().join("secret");
    std::fs::write(&file, text).unwrap();
    format!("{{valueFrom: {{file: '{}'}}}}", file.display())
}

fn webhook(fields: &str, client: &str) -> Webhook {
    let text = format!(
        "{{name: end, type: webhook, insecure: true, success: [2xx, 404], {fields}, auth: \
         {{oauth2ClientCredentials: {{tokenUrl: '{}/realms/shop/protocol/openid-connect/token', \
         client: {client}}}}}}}",
        keycloak()
    );
    Webhook::new(serde_yaml::from_str(&text).unwrap()).unwrap()
}

#[tokio::test]
#[ignore = "needs Keycloak: .ci/run third-party"]
async fn keycloak_ends_a_session_by_id() {
    let folder = tempfile::TempDir::new().unwrap();
    let secret = secret(&folder, "secret of the handler");
    let client = format!("{{id: sundown, method: client_secret_basic, secret: {secret}}}");
    let url = format!(
        "{}/admin/realms/shop/sessions/{{{{ attributes.sid }}}}",
        keycloak()
    );
    let action = webhook(&format!("method: DELETE, url: '{url}'"), &client);
    let (ended, other) = (
        KeycloakSession::start().await,
        KeycloakSession::start().await,
    );
    assert!(ended.is_alive().await && other.is_alive().await);
    assert_eq!(ended.run(&action).await, Ok(()));
    assert!(!ended.is_alive().await);
    assert!(other.is_alive().await);
    assert_eq!(ended.run(&action).await, Ok(()), "it is done already");
}

#[tokio::test]
#[ignore = "needs Keycloak: .ci/run third-party"]
async fn keycloak_logs_a_user_out_for_a_client_with_a_key() {
    let key = env::var("SUNDOWN_TEST_KEYCLOAK_KEY").unwrap();
    let client = format!(
        "{{id: sundown-jwt, method: private_key_jwt, issuer: '{}/realms/shop', signingKeys: \
         [{{algorithm: RS256, kid: key-of-keycloak, key: {{valueFrom: {{file: '{key}'}}}}}}]}}",
        keycloak()
    );
    let url = format!(
        "{}/admin/realms/shop/users/{{{{ user_id }}}}/logout",
        keycloak()
    );
    let action = webhook(&format!("body: '', url: '{url}'"), &client);
    let sessions = [
        KeycloakSession::start().await,
        KeycloakSession::start().await,
    ];
    assert_eq!(sessions[0].run(&action).await, Ok(()));
    for session in &sessions {
        assert!(!session.is_alive().await);
    }
}

#[tokio::test]
#[ignore = "needs Keycloak: .ci/run third-party"]
async fn keycloak_revokes_a_token_for_its_own_client_alone() {
    let folder = tempfile::TempDir::new().unwrap();
    let revocation = |id: &str, text: &str| {
        let secret = secret(&folder, text);
        let text = format!(
            "{{name: revoke, type: oauth-revocation, insecure: true, url: \
             '{}/realms/shop/protocol/openid-connect/revoke', \
             token: '{{{{ attributes.refresh_token }}}}', client: {{id: {id}, \
             method: client_secret_basic, secret: {secret}}}}}",
            keycloak()
        );
        OauthRevocation::new(serde_yaml::from_str(&text).unwrap()).unwrap()
    };
    let session = KeycloakSession::start().await;
    let stranger = revocation("sundown", "secret of the handler");
    assert!(session.run(&stranger).await.is_err());
    assert!(session.is_alive().await);
    let own = revocation("shop", "secret of the shop");
    assert_eq!(session.run(&own).await, Ok(()));
    assert!(!session.is_alive().await);
}
