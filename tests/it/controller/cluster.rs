//! The API server, and namespaces in it.

use std::future::Future;
use std::path::PathBuf;
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, CustomResourceExt};
use serde_json::{Value, json};
use sundown::controller::policies::PolicyKind;
use sundown::controller::resource_kind::ResourceKind;
use sundown::controller::sources::SourceKind;
use sundown::policy::crd::definition::definition;
use sundown::source::spec::SessionSourceResource;
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::support::wait::eventually;

/// For whatever has to happen; the machine may be busy.
pub const SOON: Duration = Duration::from_secs(90);
const FIELD_MANAGER: &str = "sundown-tests";

/// Whether a test leaves the API server and its definitions as they are.
#[derive(Clone, Copy, Debug)]
pub enum Sharing {
    Shared,
    /// It changes what the others rely on.
    Alone,
}

enum Turn {
    Shared {
        _lock: RwLockReadGuard<'static, ()>,
    },
    Alone {
        _lock: RwLockWriteGuard<'static, ()>,
    },
}

/// An API server that has the definitions.
pub struct Cluster {
    pub client: Client,
    pub kubeconfig: PathBuf,
    runtime: Runtime,
    _turn: Turn,
}

/// A namespace of a test's own. Dropping it deletes it.
pub struct TestNamespace<'a> {
    pub cluster: &'a Cluster,
    pub name: String,
}

pub fn kubeconfig() -> Option<PathBuf> {
    std::env::var_os("SUNDOWN_TEST_KUBECONFIG").map(PathBuf::from)
}

impl Cluster {
    /// The cluster, if there is one; otherwise prints that `test` is skipped.
    pub fn open(test: &str, sharing: Sharing) -> Option<Self> {
        static TURNS: RwLock<()> = RwLock::new(());
        let Some(path) = kubeconfig() else {
            let required = std::env::var("SUNDOWN_TEST_REQUIRE_CLUSTER").is_ok_and(|on| on == "1");
            assert!(!required, "no API server: set SUNDOWN_TEST_KUBECONFIG");
            super::skipped(&format!("{test}: no Kubernetes API server"));
            return None;
        };
        let turn = match sharing {
            Sharing::Shared => Turn::Shared {
                _lock: TURNS.read().unwrap_or_else(PoisonError::into_inner),
            },
            Sharing::Alone => Turn::Alone {
                _lock: TURNS.write().unwrap_or_else(PoisonError::into_inner),
            },
        };
        let runtime = Runtime::new().expect("runtime");
        let client = runtime.block_on(async {
            let kubeconfig = Kubeconfig::read_from(&path).expect("kubeconfig");
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
            Client::try_from(config.expect("configuration")).expect("client")
        });
        let cluster = Self {
            client,
            kubeconfig: path,
            runtime,
            _turn: turn,
        };
        static INSTALLED: OnceLock<()> = OnceLock::new();
        INSTALLED.get_or_init(|| {
            cluster.install(&definition());
            cluster.install(&SessionSourceResource::crd());
            eventually(SOON, "session sources to be served", || {
                let sources: Api<DynamicObject> =
                    Api::all_with(cluster.client.clone(), &SourceKind::api_resource());
                cluster.wait(sources.list(&Default::default())).ok()
            });
        });
        Some(cluster)
    }

    /// Installs the definition, and waits until it is served.
    pub fn install(&self, definition: &CustomResourceDefinition) {
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let name = definition.metadata.name.as_deref().expect("a name");
        let params = PatchParams::apply(FIELD_MANAGER).force();
        self.wait(api.patch(name, &params, &Patch::Apply(definition)))
            .unwrap_or_else(|error| panic!("the definition is refused: {error}"));
        eventually(SOON, "session policies to be served", || {
            let policies: Api<DynamicObject> =
                Api::all_with(self.client.clone(), &PolicyKind::api_resource());
            self.wait(policies.list(&Default::default())).ok()
        });
    }

    pub fn namespace(&self) -> TestNamespace<'_> {
        let id = Uuid::new_v4().simple().to_string();
        let name = format!("sundown-test-{}", &id[..8]);
        let api: Api<Namespace> = Api::all(self.client.clone());
        let namespace = serde_json::from_value(json!({"metadata": {"name": name}}));
        let namespace = namespace.expect("a namespace");
        self.wait(api.create(&PostParams::default(), &namespace))
            .unwrap_or_else(|error| panic!("namespace {name}: {error}"));
        TestNamespace {
            cluster: self,
            name,
        }
    }

    pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }
}

impl TestNamespace<'_> {
    pub fn api(&self) -> Api<DynamicObject> {
        self.api_of::<PolicyKind>()
    }

    fn api_of<K: ResourceKind>(&self) -> Api<DynamicObject> {
        let client = self.cluster.client.clone();
        Api::namespaced_with(client, &self.name, &K::api_resource())
    }

    /// What the API server says to a source with this `spec`, without keeping it.
    pub fn try_apply_source(&self, spec: &Value) -> Result<(), String> {
        let mut params = PatchParams::apply(FIELD_MANAGER).validation_strict();
        params.dry_run = true;
        let patch = Patch::Apply(object("SessionSource", "tried", spec));
        let api = self.api_of::<SourceKind>();
        let applied = self.cluster.wait(api.patch("tried", &params, &patch));
        applied.map(drop).map_err(|error| error.to_string())
    }

    pub fn apply_source(&self, name: &str, spec: &Value) {
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let patch = Patch::Apply(object("SessionSource", name, spec));
        let api = self.api_of::<SourceKind>();
        self.cluster
            .wait(api.patch(name, &params, &patch))
            .unwrap_or_else(|error| panic!("source {name}: {error}"));
    }

    pub fn delete_source(&self, name: &str) {
        let api = self.api_of::<SourceKind>();
        let deleted = self
            .cluster
            .wait(api.delete(name, &DeleteParams::default()));
        deleted.unwrap_or_else(|error| panic!("source {name}: {error}"));
    }

    pub fn source(&self, name: &str) -> Value {
        let object = self.cluster.wait(self.api_of::<SourceKind>().get(name));
        let object = object.unwrap_or_else(|error| panic!("source {name}: {error}"));
        serde_json::to_value(object).expect("JSON")
    }

    /// Waits until a condition of a source has this status and reason, of its present generation;
    /// its message.
    pub fn await_source(&self, name: &str, kind: &str, status: &str, reason: &str) -> String {
        let what = format!("{kind}={status} {reason} of source {name}");
        eventually(SOON, &what, || {
            condition(&self.source(name), kind, status, reason)
        })
    }

    /// The key of a policy's record.
    pub fn key(&self, policy: &str) -> String {
        format!("{}/{policy}", self.name)
    }

    /// What the API server says to a policy with this `spec`, without keeping it.
    pub fn try_apply(&self, spec: &Value) -> Result<(), String> {
        let mut params = PatchParams::apply(FIELD_MANAGER).validation_strict();
        params.dry_run = true;
        let patch = Patch::Apply(object("SessionPolicy", "tried", spec));
        let applied = self
            .cluster
            .wait(self.api().patch("tried", &params, &patch));
        applied.map(drop).map_err(|error| error.to_string())
    }

    pub fn apply(&self, name: &str, spec: &Value) {
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let patch = Patch::Apply(object("SessionPolicy", name, spec));
        self.cluster
            .wait(self.api().patch(name, &params, &patch))
            .unwrap_or_else(|error| panic!("policy {name}: {error}"));
    }

    /// Sets an annotation of a policy.
    pub fn annotate(&self, name: &str, annotation: &str, value: &str) {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {annotation: value}}}));
        let (api, params) = (self.api(), PatchParams::default());
        self.cluster
            .wait(api.patch(name, &params, &patch))
            .unwrap_or_else(|error| panic!("policy {name}: {error}"));
    }

    pub fn delete(&self, name: &str) {
        let deleted = self
            .cluster
            .wait(self.api().delete(name, &DeleteParams::default()));
        deleted.unwrap_or_else(|error| panic!("policy {name}: {error}"));
    }

    pub fn get(&self, name: &str) -> Value {
        let object = self.cluster.wait(self.api().get(name));
        let object = object.unwrap_or_else(|error| panic!("policy {name}: {error}"));
        serde_json::to_value(object).expect("JSON")
    }

    /// Waits until a condition of a policy has this status and reason, of its present
    /// generation; its message.
    pub fn await_condition(&self, name: &str, kind: &str, status: &str, reason: &str) -> String {
        let what = format!("{kind}={status} {reason} of {name}");
        eventually(SOON, &what, || {
            condition(&self.get(name), kind, status, reason)
        })
    }

    pub fn await_published(&self, name: &str) {
        self.await_condition(name, "Ready", "True", "Published");
    }
}

impl Drop for TestNamespace<'_> {
    fn drop(&mut self) {
        let api: Api<Namespace> = Api::all(self.cluster.client.clone());
        let params = DeleteParams::default();
        let deleted = api.delete(&self.name, &params);
        if let Err(error) = self.cluster.wait(deleted) {
            eprintln!("namespace {} stays behind: {error}", self.name);
        }
    }
}

/// The message of the condition of this kind, if it has this status and reason.
fn condition(object: &Value, kind: &str, status: &str, reason: &str) -> Option<String> {
    let conditions = object["status"]["conditions"].as_array()?;
    let condition = conditions
        .iter()
        .find(|condition| condition["type"] == kind)?;
    let fits = condition["status"] == status
        && condition["reason"] == reason
        && condition["observedGeneration"] == object["metadata"]["generation"];
    fits.then(|| condition["message"].as_str().unwrap_or_default().to_owned())
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "sundown.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    })
}
