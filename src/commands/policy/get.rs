//! `sundown policy get`.

use anyhow::Context;
use clap::Args;

use crate::output::{self, Format, OutputArgs, table};
use crate::policy::document::{SessionPolicy, SessionPolicySpec};
use crate::policy::topic::PolicyTopic;

/// Flags of `sundown policy get`.
#[derive(Args, Clone, Debug)]
pub struct GetPolicyArgs {
    /// Name of the policy. Without it, all policies are shown.
    #[arg(value_name = "NAME")]
    pub name: Option<String>,

    #[command(flatten)]
    pub output: OutputArgs,
}

pub(super) async fn run(args: &GetPolicyArgs, topic: &PolicyTopic) -> anyhow::Result<()> {
    let store = topic.read(output::note).await?;
    let Some(name) = &args.name else {
        let documents: Vec<_> = store.documents().map(|(_, document)| document).collect();
        if documents.is_empty() && args.output.output == Format::Table {
            output::note("No policies: trackers use --idle-timeout and --absolute-timeout only.");
            return Ok(());
        }
        output::line(render_all(args.output, &documents)?);
        return Ok(());
    };
    let document = store.document(name).with_context(|| {
        format!("there is no policy '{name}': list policies with sundown policy get")
    })?;
    let text = args
        .output
        .render(document, |document| to_table(&[document]))?;
    output::line(text);
    Ok(())
}

/// Renders YAML as a stream of documents, the input format of `apply`.
fn render_all(output: OutputArgs, documents: &[&SessionPolicy]) -> anyhow::Result<String> {
    if output.output != Format::Yaml {
        return output.render(documents, to_table);
    }
    let texts = documents.iter().map(serde_yaml::to_string);
    let texts = texts.collect::<Result<Vec<_>, _>>()?;
    Ok(texts.join("---\n").trim_end().to_owned())
}

fn to_table(documents: &[&SessionPolicy]) -> String {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let row = |document: &&SessionPolicy| {
        let spec = &document.spec;
        [
            document.full_name(),
            document.metadata.generation.unwrap_or_default().to_string(),
            spec.idle_timeout.clone(),
            or_none(&spec.absolute_timeout),
            or_none(&spec.warn_before),
            spec.priority.to_string(),
            matches(spec),
            or_none(&spec.actions.as_ref().map(|names| names.join(","))),
            if spec.suspend { "yes" } else { "-" }.to_owned(),
        ]
    };
    let rows: Vec<_> = documents.iter().map(row).collect();
    let head = [
        "NAME",
        "GENERATION",
        "IDLE",
        "ABSOLUTE",
        "WARN",
        "PRIORITY",
        "MATCH",
        "ACTIONS",
        "SUSPENDED",
    ];
    table(head, &rows)
}

/// Formats the matcher, as in `tenant=acme,client=mobile,user=svc-*|root`.
fn matches(spec: &SessionPolicySpec) -> String {
    let matches = spec.matches.clone().unwrap_or_default();
    let attributes = matches.attributes.iter();
    let mut parts: Vec<_> = attributes
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    if !matches.user_ids.is_empty() {
        parts.push(format!("user={}", matches.user_ids.join("|")));
    }
    if parts.is_empty() {
        parts.push("all".to_owned());
    }
    parts.join(",")
}
