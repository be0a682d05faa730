//! A stand-in for the Kubernetes API server, just sufficient for a controller's metrics and its outages.
//! `controller/` tests the controller on a real one.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::broadcast;

const COLLECTIONS: [&str; 6] = [
    "leases",
    "sessionpolicies",
    "sessionsources",
    "events",
    "kafkausers",
    "kafkatopics",
];

/// It ends when dropped.
pub struct ApiServer {
    shared: Arc<Shared>,
    namespace: String,
    folder: TempDir,
    runtime: Option<Runtime>,
}

struct Shared {
    /// By path.
    objects: Mutex<BTreeMap<String, Value>>,
    version: AtomicU64,
    refuses_statuses: AtomicBool,
    /// Paths and events.
    changes: broadcast::Sender<(String, String)>,
}

impl ApiServer {
    pub fn start(namespace: &str) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            objects: Mutex::default(),
            version: AtomicU64::new(1),
            refuses_statuses: AtomicBool::new(false),
            changes: broadcast::Sender::new(1_000),
        });
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        runtime.spawn(async move { axum::serve(listener, router).await });
        let folder = TempDir::new().expect("a folder");
        std::fs::write(
            folder.path().join("kubeconfig"),
            kubeconfig(address, namespace),
        )
        .expect("the file is written");
        Self {
            shared,
            namespace: namespace.to_owned(),
            folder,
            runtime: Some(runtime),
        }
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Creates or edits a policy.
    pub fn apply(&self, name: &str, spec: &Value) {
        self.apply_kind("SessionPolicy", "sessionpolicies", name, spec);
    }

    /// Creates or edits a source.
    pub fn apply_source(&self, name: &str, spec: &Value) {
        self.apply_kind("SessionSource", "sessionsources", name, spec);
    }

    /// The condition of a policy: its status, reason and message.
    pub fn condition(&self, name: &str, kind: &str) -> Option<[String; 3]> {
        let namespace = &self.namespace;
        let path =
            format!("/apis/sundown.dev/v1alpha1/namespaces/{namespace}/sessionpolicies/{name}");
        let policy = self.shared.get(&path)?;
        let mut conditions = policy["status"]["conditions"].as_array()?.iter();
        let condition = conditions.find(|condition| condition["type"] == kind)?;
        let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
        Some(["status", "reason", "message"].map(text))
    }

    fn apply_kind(&self, kind: &str, plural: &str, name: &str, spec: &Value) {
        let path = format!(
            "/apis/sundown.dev/v1alpha1/namespaces/{}/{plural}/{name}",
            self.namespace
        );
        let before = self
            .shared
            .objects
            .lock()
            .expect("objects")
            .get(&path)
            .cloned();
        let before = before.unwrap_or_default();
        let generation = before["metadata"]["generation"]
            .as_u64()
            .unwrap_or_default();
        let object = json!({
            "apiVersion": "sundown.dev/v1alpha1",
            "kind": kind,
            "metadata": {
                "name": name,
                "namespace": self.namespace,
                "uid": name,
                "generation": generation + 1,
            },
            "spec": spec,
            "status": before["status"],
        });
        self.shared.store(&path, object);
    }

    /// Creates or replaces a resource of Strimzi with this status.
    pub fn set_strimzi(&self, kind: &str, plural: &str, name: &str, status: &Value) {
        let namespace = &self.namespace;
        let path = format!("/apis/kafka.strimzi.io/v1/namespaces/{namespace}/{plural}/{name}");
        let object = json!({
            "apiVersion": "kafka.strimzi.io/v1",
            "kind": kind,
            "metadata": {"name": name, "namespace": namespace},
            "status": status,
        });
        self.shared.store(&path, object);
    }

    /// Stops responding.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// From now on, the controller has no right to write statuses.
    pub fn refuse_statuses(&self) {
        self.shared.refuses_statuses.store(true, SeqCst);
    }
}

impl Shared {
    /// Stores an object under a new version, and sends it to the watches.
    fn store(&self, path: &str, mut object: Value) -> Value {
        let version = self.version.fetch_add(1, SeqCst) + 1;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        if path.contains("/sundown.dev/") {
            // There may be no watch yet.
            let _no_watch = self.changes.send((path.to_owned(), change(&object)));
        }
        let mut objects = self.objects.lock().expect("objects");
        objects.insert(path.to_owned(), object.clone());
        object
    }

    fn get(&self, path: &str) -> Option<Value> {
        self.objects.lock().expect("objects").get(path).cloned()
    }

    fn list(&self, collection: &str) -> Vec<Value> {
        let objects = self.objects.lock().expect("objects");
        let of_it = objects.iter();
        let of_it = of_it.filter(|(path, _)| path.starts_with(&format!("{collection}/")));
        of_it.map(|(_, object)| object.clone()).collect()
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    body: Bytes,
) -> Response {
    let path = uri.path();
    let sent: Value = serde_json::from_slice(&body).unwrap_or_default();
    let is_collection = COLLECTIONS.iter().any(|plural| path.ends_with(plural));
    match method.as_str() {
        "GET" if is_collection => {
            if uri.query().unwrap_or_default().contains("watch=true") {
                return watch(&shared, path);
            }
            let version = shared.version.load(SeqCst).to_string();
            let list = json!({
                "apiVersion": "v1",
                "kind": "List",
                "metadata": {"resourceVersion": version},
                "items": shared.list(path),
            });
            axum::Json(list).into_response()
        }
        "GET" => shared.get(path).map_or_else(
            || refusal(StatusCode::NOT_FOUND, "NotFound"),
            |object| axum::Json(object).into_response(),
        ),
        "POST" => {
            let name = sent["metadata"]["name"].as_str().unwrap_or("unnamed");
            let path = format!("{path}/{name}");
            axum::Json(shared.store(&path, sent)).into_response()
        }
        "PUT" => axum::Json(shared.store(path, sent)).into_response(),
        "PATCH" => patch_status(&shared, path, &sent),
        _ => refusal(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
    }
}

fn patch_status(shared: &Shared, path: &str, sent: &Value) -> Response {
    if shared.refuses_statuses.load(SeqCst) {
        return refusal(StatusCode::FORBIDDEN, "Forbidden");
    }
    let path = path.trim_end_matches("/status");
    let Some(mut object) = shared.get(path) else {
        return refusal(StatusCode::NOT_FOUND, "NotFound");
    };
    object["status"] = sent["status"].clone();
    axum::Json(shared.store(path, object)).into_response()
}

/// The present objects, and then every change. Duplicates do no harm.
fn watch(shared: &Shared, collection: &str) -> Response {
    let changes = shared.changes.subscribe();
    let present: Vec<String> = shared.list(collection).iter().map(change).collect();
    let folder = format!("{collection}/");
    let more = stream::unfold((changes, folder), |(mut changes, folder)| async move {
        loop {
            let (path, change) = changes.recv().await.ok()?;
            if path.starts_with(&folder) {
                return Some((change, (changes, folder)));
            }
        }
    });
    let lines = stream::iter(present).chain(more);
    Body::from_stream(lines.map(Ok::<_, Infallible>)).into_response()
}

fn change(object: &Value) -> String {
    format!("{}\n", json!({"type": "MODIFIED", "object": object}))
}

fn refusal(status: StatusCode, reason: &str) -> Response {
    let body = json!({
        "apiVersion": "v1",
        "kind": "Status",
        "metadata": {},
        "status": "Failure",
        "reason": reason,
        "message": reason,
        "code": status.as_u16(),
    });
    (status, axum::Json(body)).into_response()
}

fn kubeconfig(address: SocketAddr, namespace: &str) -> String {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "test", "user": {}}],
        "contexts": [{
            "name": "test",
            "context": {"cluster": "test", "user": "test", "namespace": namespace},
        }],
    });
    config.to_string()
}
