//! The API's description, served at `/v1/openapi.json`.

use axum::Json;
use axum::routing::{MethodRouter, get};
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::body::MAX_EVENTS;
use crate::wire::event::schema::SessionEventSchema;

/// What a process serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// `POST /v1/events`.
    pub events: bool,
    /// `POST /v1/ssf/events`.
    pub shared_signals: bool,
}

/// Answers with the description of what is served.
pub fn service<S: Clone + Send + Sync + 'static>(served: Served) -> MethodRouter<S> {
    let document = document(served);
    get(async move || Json(document.clone()))
}

/// The description, by OpenAPI 3.1.
fn document(served: Served) -> Value {
    let mut schemas = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator();
    let event = schemas.subschema_for::<SessionEventSchema>().to_value();
    let mut components = components(&event);
    if let Some(all) = components["schemas"].as_object_mut() {
        all.extend(schemas.take_definitions(true));
    }
    let mut paths = serde_json::Map::new();
    if served.events {
        paths.insert("/v1/events".to_owned(), session_events(&event));
    }
    if served.shared_signals {
        paths.insert("/v1/ssf/events".to_owned(), shared_signals());
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Sundown",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Session events over HTTP, for applications without a Kafka client.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": components,
    })
}

fn session_events(event: &Value) -> Value {
    json!({"post": {
        "operationId": "postEvents",
        "summary": "Write session events.",
        "description": "All events of a request have to be valid. The answer is 202 once Kafka has acknowledged all of them; with any other, send the request again: events that were written twice count once.",
        "security": [{"bearer": []}, {"page": []}],
        "requestBody": request_body(event),
        "responses": responses(),
    }})
}

fn shared_signals() -> Value {
    json!({"post": {
        "operationId": "pushSecurityEvent",
        "summary": "Receive a security event token (RFC 8935).",
        "description": "With --ssf-transmitters. The token authenticates its transmitter.",
        "security": [],
        "requestBody": {"required": true, "content": {"application/secevent+jwt": {"schema": {"type": "string"}}}},
        "responses": {
            "202": {"description": "The revocations that the token asks for have been written."},
            "400": {
                "description": "The token is refused.",
                "content": {"application/json": {"schema": {
                    "type": "object", "required": ["err", "description"],
                    "properties": {"err": {"type": "string"}, "description": {"type": "string"}},
                }}},
            },
            "503": later("Send the token again after Retry-After seconds."),
        },
    }})
}

fn request_body(event: &Value) -> Value {
    let many = json!({"type": "array", "minItems": 1, "maxItems": MAX_EVENTS, "items": event});
    let cloud_event = json!({"$ref": "#/components/schemas/CloudEvent"});
    let cloud_events = json!({"type": "array", "minItems": 1, "items": cloud_event});
    let text = json!({"type": "string"});
    json!({"required": true, "content": {
        "application/json": {"schema": {"anyOf": [event, many]}},
        "application/x-ndjson": {"schema": text},
        "application/cloudevents+json": {"schema": cloud_event},
        "application/cloudevents-batch+json": {"schema": cloud_events},
        "text/plain": {"schema": text},
    }})
}

fn problem(description: &str) -> Value {
    json!({
        "description": description,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    })
}

/// A problem that passes.
fn later(description: &str) -> Value {
    let mut response = problem(description);
    let seconds = json!({"description": "Seconds to wait.", "schema": {"type": "integer"}});
    response["headers"] = json!({"Retry-After": seconds});
    response
}

fn responses() -> Value {
    let accepted = json!({
        "type": "object", "required": ["accepted"],
        "properties": {"accepted": {"type": "integer"}},
    });
    json!({
        "202": {
            "description": "All events have been written.",
            "content": {"application/json": {"schema": accepted}},
        },
        "400": problem("The body is not JSON, or one of its events is invalid. Nothing was written."),
        "401": problem("There is no valid token."),
        "403": problem("Pages of this origin may not send events, or this token may not write such events."),
        "413": problem("The body or the number of its events is too large."),
        "415": problem("The content type is not supported."),
        "429": later("The token has written too many events."),
        "503": later("Kafka has not acknowledged all events, or there are too many requests."),
    })
}

fn components(event: &Value) -> Value {
    let text = json!({"type": "string"});
    let page = "A public token of a page, for activity only.";
    let time = "The time of the event, if its data has none.";
    json!({
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer"},
            "page": {"type": "apiKey", "in": "query", "name": "token", "description": page},
        },
        "schemas": {
            "CloudEvent": {
                "type": "object",
                "required": ["specversion", "data"],
                "description": "Its other attributes are ignored.",
                "properties": {
                    "specversion": text,
                    "time": {"type": "string", "format": "date-time", "description": time},
                    "data": event,
                },
            },
            "Problem": {
                "type": "object",
                "required": ["title", "status", "detail"],
                "properties": {"title": text, "status": {"type": "integer"}, "detail": text},
            },
        },
    })
}
