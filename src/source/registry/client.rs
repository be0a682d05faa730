//! Requests to a registry.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::credentials::{CredentialsError, RegistryCredentials, RegistryCredentialsArgs};
use super::definition::{SchemaDefinition, SchemaType};
use crate::http::client::{BodyError, client, describe, read_body};
use crate::source::spec::SchemaRegistry;

/// Bounds a request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Limit on an answer, in bytes.
const MAX_ANSWER_BYTES: usize = 4 << 20;
/// Limit on the schemas that a schema refers to, directly or not.
const MAX_REFERENCES: usize = 200;

/// Fetches schemas of one registry.
#[derive(Debug)]
pub struct RegistryClient {
    base: Url,
    client: Client,
    credentials: RegistryCredentials,
}

/// Why a schema could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The registry has no such schema, or it cannot be used. Asking again is of little use.
    #[error("{0}")]
    Unusable(String),
    /// The registry cannot be asked, for now.
    #[error("the schema registry {url} {problem}")]
    Unavailable { url: String, problem: String },
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SchemaResponse {
    schema: String,
    /// Absent for Avro.
    schema_type: Option<String>,
    #[serde(default)]
    references: Option<Vec<Reference>>,
}

#[derive(Debug, Deserialize)]
struct Reference {
    name: String,
    subject: String,
    version: i64,
}

/// The body of an error.
#[derive(Debug, Deserialize)]
struct RegistryErrorBody {
    error_code: i64,
}

impl RegistryClient {
    /// Reads the credentials and builds a client.
    ///
    /// # Errors
    /// If the credentials cannot be used.
    pub fn new(
        registry: &SchemaRegistry,
        credentials: &RegistryCredentialsArgs,
    ) -> Result<Self, RegistryError> {
        let unavailable = |problem: String| RegistryError::Unavailable {
            url: registry.url.clone(),
            problem,
        };
        let credentials = credentials.read(registry)?;
        let base = format!("{}/", registry.url.trim_end_matches('/'));
        let base = Url::parse(&base)
            .map_err(|error| unavailable(format!("is not a URL: {error}; correct the source")))?;
        let authorities = credentials.authorities.as_deref();
        let client = client(TIMEOUT, authorities, base.host_str())
            .map_err(|error| unavailable(format!("cannot be called: {error:#}")))?;
        Ok(Self {
            base,
            client,
            credentials,
        })
    }

    /// Fetches a schema, with all that it refers to.
    ///
    /// # Errors
    /// [`RegistryError`]
    pub async fn schema(&self, id: u32) -> Result<SchemaDefinition, RegistryError> {
        let answer: SchemaResponse = self.get(&["schemas", "ids", &id.to_string()]).await?;
        let kind = match answer.schema_type.as_deref() {
            None | Some("AVRO") => SchemaType::Avro,
            Some("PROTOBUF") => SchemaType::Protobuf,
            Some("JSON") => SchemaType::Json,
            Some(other) => {
                let problem = format!("schema {id} has the unknown type {other}");
                return Err(RegistryError::Unusable(problem));
            }
        };
        let mut references = BTreeMap::new();
        let mut unread = answer.references.unwrap_or_default();
        while let Some(reference) = unread.pop() {
            if references.contains_key(&reference.name) {
                continue;
            }
            if references.len() >= MAX_REFERENCES {
                let problem = format!("schema {id} refers to more than {MAX_REFERENCES} others");
                return Err(RegistryError::Unusable(problem));
            }
            let version = reference.version.to_string();
            let path = ["subjects", &reference.subject, "versions", &version];
            let answer: SchemaResponse = self.get(&path).await?;
            references.insert(reference.name, answer.schema);
            unread.extend(answer.references.unwrap_or_default());
        }
        Ok(SchemaDefinition {
            kind,
            text: answer.schema,
            references,
        })
    }

    /// Gets the JSON at a path below the base. Its segments are percent-encoded.
    async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, RegistryError> {
        let unavailable = |problem: String| RegistryError::Unavailable {
            url: self.base.to_string(),
            problem,
        };
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let request = self.client.get(url.clone());
        let request = self.credentials.authorize(request).header(
            "accept",
            "application/vnd.schemaregistry.v1+json, application/json",
        );
        let answer = request.send().await;
        let answer =
            answer.map_err(|error| unavailable(format!("does not answer: {}", describe(error))))?;
        let status = answer.status();
        let body = read_answer(answer).await.map_err(unavailable)?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| {
                let path = url.path();
                unavailable(format!("answered {path} with unexpected JSON: {error}"))
            });
        }
        // 40403 schema not found, 40401 subject not found, 40402 version not found. Other paths
        // than the registry's have another answer.
        let code = serde_json::from_slice::<RegistryErrorBody>(&body);
        let is_unknown = code.is_ok_and(|problem| (40_401..=40_403).contains(&problem.error_code));
        if status == StatusCode::NOT_FOUND && is_unknown {
            let path = url.path();
            let problem = format!("the schema registry has no {path}");
            return Err(RegistryError::Unusable(problem));
        }
        let remedy = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                ": check the credentials that the source names"
            }
            StatusCode::NOT_FOUND => ": check the URL, which includes the path of Confluent's API",
            _ => "",
        };
        Err(unavailable(format!("answered {status}{remedy}")))
    }
}

async fn read_answer(mut answer: Response) -> Result<Vec<u8>, String> {
    let body = read_body(&mut answer, MAX_ANSWER_BYTES).await;
    body.map_err(|error| match error {
        BodyError::TooLong(max) => format!("answered more than {max} bytes"),
        BodyError::Broken(error) => format!("does not answer: {}", describe(error)),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use wiremock::matchers::{header, method, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    async fn answer(status: u16, body: &str) -> RegistryError {
        let server = MockServer::start().await;
        let body = ResponseTemplate::new(status).set_body_string(body);
        Mock::given(method("GET"))
            .respond_with(body)
            .mount(&server)
            .await;
        let registry = SchemaRegistry {
            url: format!("{}/api/", server.uri()),
            credentials_secret: None,
        };
        let client = RegistryClient::new(&registry, &RegistryCredentialsArgs::default()).unwrap();
        client.schema(7).await.unwrap_err()
    }

    #[tokio::test]
    async fn only_the_registrys_own_answer_makes_a_schema_unusable() {
        for (status, body, expected) in [
            (
                404,
                r#"{"error_code": 404, "message": "not found"}"#,
                "check the URL",
            ),
            (404, "<html>", "check the URL"),
            (401, "", "check the credentials"),
            (503, r#"{"error_code": 50301}"#, "503 Service Unavailable"),
            (200, "<html>", "unexpected JSON"),
            (302, "", "302 Found"),
            (200, &" ".repeat(5 << 20), "more than 4194304 bytes"),
        ] {
            let error = answer(status, body).await;
            assert!(
                matches!(error, RegistryError::Unavailable { .. }),
                "{error:?}"
            );
            assert!(error.to_string().contains(expected), "{error}");
        }
        let error = answer(404, r#"{"error_code": 40403, "message": "no"}"#).await;
        assert_eq!(
            error.to_string(),
            "the schema registry has no /api/schemas/ids/7"
        );
        assert!(matches!(error, RegistryError::Unusable(_)));
    }

    #[tokio::test]
    async fn references_are_fetched_with_the_same_credentials() {
        let server = MockServer::start().await;
        for (at, body) in [
            (
                "/schemas/ids/7",
                r#"{"schemaType": "PROTOBUF", "schema": "a", "references": [{"name": "b", "subject": "x/y", "version": 2}]}"#,
            ),
            (
                "/subjects/x%2Fy/versions/2",
                r#"{"schema": "c", "references": [{"name": "b", "subject": "x/y", "version": 2}]}"#,
            ),
        ] {
            Mock::given(path(at))
                .and(header("authorization", "Bearer secret"))
                .respond_with(ResponseTemplate::new(200).set_body_string(body))
                .mount(&server)
                .await;
        }
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("shop");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("url"), server.uri()).unwrap();
        fs::write(folder.join("token"), "secret\n").unwrap();
        let registry = SchemaRegistry {
            url: server.uri(),
            credentials_secret: Some("shop".to_owned()),
        };
        let credentials = RegistryCredentialsArgs {
            directory: Some(directory.path().to_owned()),
        };
        let client = RegistryClient::new(&registry, &credentials).unwrap();
        let schema = client.schema(7).await.unwrap();
        assert_eq!((schema.kind, &*schema.text), (SchemaType::Protobuf, "a"));
        assert_eq!(schema.references["b"], "c");
    }
}
