//! Watches the resources of a kind in the API server.
//!
//! The watches deliver untyped objects: an object that does not match this release's types,
//! because it is older or newer than the definition, becomes an invalid resource and does not end
//! the watch.

use std::collections::BTreeMap;

use futures_util::stream::{BoxStream, StreamExt, select_all};
use kube::api::{Api, DynamicObject};
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt, watcher::Config};
use kube::{Client, ResourceExt};

use super::resource_kind::ResourceKind;
use super::scope::Scope;

/// An event of a watch, with the index of the watch.
pub type WatchEvent = (usize, watcher::Result<Event<DynamicObject>>);

/// Watches the resources of `scope` with the labels of `selector`, and retries failed watches with
/// exponential backoff.
pub fn watch<K: ResourceKind>(
    client: &Client,
    scope: &Scope,
    selector: Option<&str>,
) -> BoxStream<'static, WatchEvent> {
    let config = Config {
        label_selector: selector.map(str::to_owned),
        ..Config::default()
    };
    let resource = K::api_resource();
    let apis: Vec<Api<DynamicObject>> = match scope {
        Scope::All => vec![Api::all_with(client.clone(), &resource)],
        Scope::Namespaces(names) => names
            .iter()
            .map(|name| Api::namespaced_with(client.clone(), name, &resource))
            .collect(),
    };
    let streams = apis.into_iter().enumerate().map(|(index, api)| {
        watcher(api, config.clone())
            .default_backoff()
            .map(move |event| (index, event))
            .boxed()
    });
    select_all(streams).boxed()
}

/// The watched resources of a kind, by `namespace/name`.
#[derive(Debug)]
pub struct ResourceCache {
    plural: &'static str,
    objects: BTreeMap<String, DynamicObject>,
    watches: Vec<WatchState>,
}

#[derive(Debug, Default)]
struct WatchState {
    /// Whether the first list is complete.
    synced: bool,
    /// The objects of a list in progress.
    listed: Vec<DynamicObject>,
    /// The last error, until the next event.
    error: Option<String>,
}

impl ResourceCache {
    #[must_use]
    pub fn new<K: ResourceKind>(scope: &Scope) -> Self {
        let watches = match scope {
            Scope::All => 1,
            Scope::Namespaces(names) => names.len(),
        };
        Self {
            plural: K::PLURAL,
            objects: BTreeMap::new(),
            watches: std::iter::repeat_with(WatchState::default)
                .take(watches)
                .collect(),
        }
    }

    /// The namespaces whose resources are known; `None` until every watch has completed its first
    /// list or failed. Records of other namespaces stay as they are: a namespace that cannot be
    /// listed, because it is gone or its role is, neither holds up the others nor loses its
    /// resources.
    #[must_use]
    pub fn known(&self, scope: &Scope) -> Option<Scope> {
        let mut watches = self.watches.iter();
        if !watches.all(|watch| watch.synced || watch.error.is_some()) {
            return None;
        }
        let synced: Vec<_> = self.watches.iter().map(|watch| watch.synced).collect();
        if !synced.contains(&true) {
            return None;
        }
        Some(match scope {
            Scope::All => Scope::All,
            Scope::Namespaces(names) => {
                let known = names.iter().zip(synced).filter(|(_, synced)| *synced);
                Scope::Namespaces(known.map(|(name, _)| name.clone()).collect())
            }
        })
    }

    /// The watches that fail: the namespace, or `all namespaces`, and the error.
    pub fn failing<'a>(&'a self, scope: &'a Scope) -> impl Iterator<Item = (&'a str, &'a str)> {
        let name = move |index: usize| match scope {
            Scope::All => "all namespaces",
            Scope::Namespaces(names) => names[index].as_str(),
        };
        let watches = self.watches.iter().enumerate();
        watches.filter_map(move |(index, watch)| Some((name(index), watch.error.as_deref()?)))
    }

    /// Returns whether every watch fails.
    #[must_use]
    pub fn fails(&self) -> bool {
        self.watches.iter().all(|watch| watch.error.is_some())
    }

    /// The resources, by `namespace/name`.
    #[must_use]
    pub fn objects(&self) -> &BTreeMap<String, DynamicObject> {
        &self.objects
    }

    /// Applies an event of a watch.
    pub fn apply(&mut self, scope: &Scope, (index, event): WatchEvent) {
        let watch = &mut self.watches[index];
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                let error = crate::output::chain(&error);
                tracing::warn!(
                    error,
                    "cannot watch session {}; retrying. Check that their CustomResourceDefinition is installed (sundown crd | kubectl apply -f -) and that the controller is authorized to list and watch them",
                    self.plural
                );
                watch.error = Some(error);
                return;
            }
        };
        watch.error = None;
        match event {
            Event::Init => watch.listed.clear(),
            Event::InitApply(object) => watch.listed.push(object),
            Event::InitDone => {
                watch.synced = true;
                let listed = std::mem::take(&mut watch.listed);
                self.objects.retain(|key, _| !belongs_to(scope, index, key));
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

    /// Stores the API server's response to a write of this process, ahead of its watch event.
    pub fn put(&mut self, object: DynamicObject) {
        self.objects.insert(key(&object), object);
    }
}

/// Returns whether the watch with this index delivers the object with this key.
fn belongs_to(scope: &Scope, index: usize, key: &str) -> bool {
    match scope {
        Scope::All => true,
        Scope::Namespaces(names) => key
            .split_once('/')
            .is_some_and(|(namespace, _)| namespace == names[index]),
    }
}

fn key(object: &DynamicObject) -> String {
    let namespace = object.namespace().unwrap_or_default();
    format!("{namespace}/{}", object.name_any())
}
