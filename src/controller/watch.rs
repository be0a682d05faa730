//! The session policies that the API server has.
//!
//! Watched as plain objects: one that does not fit this release's types, because it is
//! older or newer than the definition, is a policy that is invalid, not the end of the
//! watch.

use std::collections::BTreeMap;

use futures_util::stream::{BoxStream, StreamExt, select_all};
use kube::api::{Api, ApiResource, DynamicObject};
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt, watcher::Config};
use kube::{Client, CustomResourceExt, ResourceExt};

use crate::policy::document::SessionPolicyResource;

/// Which namespaces are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    All,
    /// These.
    Namespaces(Vec<String>),
}

impl Scope {
    /// Whether policies of `namespace` are this controller's.
    #[must_use]
    pub fn covers(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Namespaces(names) => names.iter().any(|name| name == namespace),
        }
    }

    /// Whether the record of this key is this controller's: keys without a namespace are
    /// policies written with `sundown policy`.
    #[must_use]
    pub fn owns(&self, key: &str) -> bool {
        key.split_once('/')
            .is_some_and(|(namespace, _)| self.covers(namespace))
    }
}

/// How Kubernetes calls the resource.
#[must_use]
pub fn resource() -> ApiResource {
    SessionPolicyResource::api_resource()
}

/// What one of the watches tells; the number is that of its namespace.
pub type WatchEvent = (usize, watcher::Result<Event<DynamicObject>>);

/// Watches the policies of `scope`, and tries again with growing pauses when that fails.
pub fn watch(client: &Client, scope: &Scope) -> BoxStream<'static, WatchEvent> {
    let resource = resource();
    let apis: Vec<Api<DynamicObject>> = match scope {
        Scope::All => vec![Api::all_with(client.clone(), &resource)],
        Scope::Namespaces(names) => names
            .iter()
            .map(|name| Api::namespaced_with(client.clone(), name, &resource))
            .collect(),
    };
    let streams = apis.into_iter().enumerate().map(|(number, api)| {
        watcher(api, Config::default())
            .default_backoff()
            .map(move |told| (number, told))
            .boxed()
    });
    select_all(streams).boxed()
}

/// The policies, by `namespace/name`.
#[derive(Debug)]
pub struct Policies {
    objects: BTreeMap<String, DynamicObject>,
    watches: Vec<Watch>,
}

/// Where one of the watches stands.
#[derive(Debug, Default)]
struct Watch {
    /// Whether its objects are known.
    synced: bool,
    /// What a listing under way has brought so far.
    listed: Vec<DynamicObject>,
    /// What keeps it.
    trouble: Option<String>,
}

impl Policies {
    /// None yet.
    #[must_use]
    pub fn new(scope: &Scope) -> Self {
        let watches = match scope {
            Scope::All => 1,
            Scope::Namespaces(names) => names.len(),
        };
        Self {
            objects: BTreeMap::new(),
            watches: std::iter::repeat_with(Watch::default)
                .take(watches)
                .collect(),
        }
    }

    /// Whether all of them are known.
    #[must_use]
    pub fn synced(&self) -> bool {
        self.watches.iter().all(|watch| watch.synced)
    }

    /// What keeps the watches, if anything does.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.watches
            .iter()
            .find_map(|watch| watch.trouble.as_deref())
    }

    /// The policies, by `namespace/name`.
    #[must_use]
    pub fn objects(&self) -> &BTreeMap<String, DynamicObject> {
        &self.objects
    }

    /// Takes in what a watch tells.
    pub fn apply(&mut self, scope: &Scope, (number, told): WatchEvent) {
        let watch = &mut self.watches[number];
        let event = match told {
            Ok(event) => event,
            Err(error) => {
                let error = crate::output::chain(&error);
                tracing::warn!(
                    error,
                    "session policies cannot be watched; trying again. Is their definition installed (sundown crd | kubectl apply -f -), and may the controller list and watch them?"
                );
                watch.trouble = Some(error);
                return;
            }
        };
        watch.trouble = None;
        match event {
            Event::Init => watch.listed.clear(),
            Event::InitApply(object) => watch.listed.push(object),
            Event::InitDone => {
                watch.synced = true;
                let listed = std::mem::take(&mut watch.listed);
                self.objects.retain(|key, _| !is_of(scope, number, key));
                for object in listed {
                    self.put(object);
                }
            }
            Event::Apply(object) => self.put(object),
            Event::Delete(object) => {
                self.objects.remove(&key(&object));
            }
        }
    }

    /// What the API server has answered to a write of this process. The watch will tell
    /// the same, but later.
    pub fn put(&mut self, object: DynamicObject) {
        self.objects.insert(key(&object), object);
    }
}

/// Whether the object of this key comes by the watch of this number.
fn is_of(scope: &Scope, number: usize, key: &str) -> bool {
    match scope {
        Scope::All => true,
        Scope::Namespaces(names) => key
            .split_once('/')
            .is_some_and(|(namespace, _)| namespace == names[number]),
    }
}

fn key(object: &DynamicObject) -> String {
    let namespace = object.namespace().unwrap_or_default();
    format!("{namespace}/{}", object.name_any())
}
