//! Records of applications in several formats, with the sources that map them.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::routing::get;
use serde_json::json;
use tokio::runtime::Runtime;

#[derive(Clone, Copy)]
pub enum Format {
    Json,
    Avro,
}

/// The id of the Avro schema.
const SCHEMA_ID: u8 = 1;
const USERS: u64 = 50_000;

impl Format {
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Avro => "avro",
        }
    }

    /// A page view.
    pub fn encode(self, number: u64) -> Vec<u8> {
        let user = number % USERS;
        let session = format!("{:032x}", u128::from(user) << 64 | 0x5e55);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now = u64::try_from(now.as_millis()).unwrap();
        match self {
            Self::Json => json!({
                "ts": now, "type": "PAGE_VIEW", "session": {"id": session},
                "user": {"id": user, "country": "DE"}, "tenant": "acme",
                "client": {"kind": "web", "version": "5.1.2"}, "path": "/account/orders", "status": 200,
            })
            .to_string()
            .into_bytes(),
            Self::Avro => {
                let mut value = vec![0, 0, 0, 0, SCHEMA_ID];
                long(&mut value, now);
                string(&mut value, "PAGE_VIEW");
                string(&mut value, &session);
                long(&mut value, user);
                string(&mut value, "acme");
                string(&mut value, "/account/orders");
                value
            }
        }
    }
}

/// The source that maps these records with five expressions.
pub fn source(format: Format, topic: &str, registry: &str) -> String {
    let (session, user, format) = match format {
        Format::Json => (
            "value.session.id",
            "value.user.id",
            "format: json".to_owned(),
        ),
        Format::Avro => (
            "value.session",
            "value.user",
            format!("format: avro\n  schemaRegistry: {{url: \"{registry}\"}}"),
        ),
    };
    format!(
        "apiVersion: sundown.dev/v1alpha1
kind: SessionSource
metadata: {{name: clicks}}
spec:
  topics: [{topic}]
  {format}
  session:
    id: {session}
    user: {user}
    time: value.ts
    event: \"value.type == 'LOGOUT' ? 'logout' : 'activity'\"
    attributes: {{tenant: value.tenant}}
"
    )
}

/// Answers the one request for the schema.
pub struct Registry {
    address: std::net::SocketAddr,
    _runtime: Runtime,
}

impl Registry {
    pub fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
        let listener = listener.unwrap();
        let address = listener.local_addr().unwrap();
        let field = |name: &str, kind: &str| json!({"name": name, "type": kind});
        let schema = json!({"type": "record", "name": "Click", "fields": [
            field("ts", "long"), field("type", "string"), field("session", "string"),
            field("user", "long"), field("tenant", "string"), field("path", "string"),
        ]});
        let answer = json!({"schema": schema.to_string()}).to_string();
        let router = Router::new().route(
            &format!("/schemas/ids/{SCHEMA_ID}"),
            get(move || std::future::ready(answer.clone())),
        );
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self {
            address,
            _runtime: runtime,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Avro's zigzag encoding.
fn long(value: &mut Vec<u8>, number: u64) {
    let mut rest = number << 1;
    loop {
        let [low, ..] = rest.to_le_bytes();
        rest >>= 7;
        if rest == 0 {
            return value.push(low);
        }
        value.push(low | 0x80);
    }
}

fn string(value: &mut Vec<u8>, text: &str) {
    long(value, text.len() as u64);
    value.extend(text.as_bytes());
}
