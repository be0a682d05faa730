//! Whether Strimzi has made the users and topics of an installation.

use std::time::Duration;

use anyhow::{Context, bail};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::{Client, ResourceExt};

use crate::clock::Clock;
use crate::http::client::install_crypto_provider;
use crate::output;

/// Interval between two looks at the resources.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
const KINDS: [&str; 2] = ["KafkaUser", "KafkaTopic"];

/// Waits until all KafkaUsers and KafkaTopics with these labels, in the namespace of the process, are
/// ready.
///
/// # Errors
/// If there is none, if one is not ready in time, with its condition, or if the API server refuses.
pub(super) async fn run(selector: &str, timeout: Duration, clock: Clock) -> anyhow::Result<()> {
    install_crypto_provider();
    let client = Client::try_default().await.context(
        "no configuration for the Kubernetes API server: run in a pod with a service account, or set KUBECONFIG",
    )?;
    let started = clock.elapsed();
    loop {
        let resources = list(&client, selector).await?;
        if resources.is_empty() {
            bail!("there is no KafkaUser and no KafkaTopic with the labels {selector}");
        }
        let problems: Vec<_> = resources.iter().filter_map(problem).collect();
        if problems.is_empty() {
            let count = resources.len();
            output::line(format!("{count} resources of Strimzi are ready"));
            return Ok(());
        }
        if clock.elapsed().saturating_sub(started) >= timeout {
            problems.iter().for_each(output::note);
            let (unready, all) = (problems.len(), resources.len());
            bail!(
                "{unready} of {all} resources of Strimzi are not ready, and without a KafkaUser's secret its pods do not start"
            );
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// A resource by its kind.
type Resource = (&'static str, DynamicObject);

async fn list(client: &Client, selector: &str) -> anyhow::Result<Vec<Resource>> {
    let mut resources = Vec::new();
    for kind in KINDS {
        let resource =
            ApiResource::from_gvk(&GroupVersionKind::gvk("kafka.strimzi.io", "v1", kind));
        let api: Api<DynamicObject> = Api::default_namespaced_with(client.clone(), &resource);
        let listed = api.list(&ListParams::default().labels(selector)).await;
        let listed = listed.with_context(|| {
            format!("cannot list {kind} resources: check that Strimzi is installed, and the permission to list them")
        })?;
        resources.extend(listed.into_iter().map(|object| (kind, object)));
    }
    Ok(resources)
}

/// Why a resource is not ready.
fn problem((kind, object): &Resource) -> Option<String> {
    let conditions = &object.data["status"]["conditions"];
    let conditions = conditions.as_array().map_or(&[][..], Vec::as_slice);
    let is = |name: &'static str| {
        let mut found = conditions.iter();
        found.find(|condition| condition["type"] == name && condition["status"] == "True")
    };
    if is("Ready").is_some() {
        return None;
    }
    let name = object.name_any();
    let why = match is("NotReady") {
        Some(condition) => {
            let text = |field: &str| condition[field].as_str().unwrap_or("unknown").to_owned();
            format!("{}: {}", text("reason"), text("message"))
        }
        None => {
            "Strimzi has not processed it: check that its operator runs, and the label strimzi.io/cluster".to_owned()
        }
    };
    Some(format!("{kind} '{name}' is not ready: {why}"))
}
