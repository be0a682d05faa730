//! `sundown source get`.

use anyhow::Context;
use clap::Args;

use crate::output::{self, Format, OutputArgs, table};
use crate::source::document::SessionSource;
use crate::source::topic::PublishedSources;

/// Flags of `sundown source get`.
#[derive(Args, Clone, Debug)]
pub struct GetSourceArgs {
    /// Name of the source. Without it, all sources are shown.
    #[arg(value_name = "NAME")]
    pub name: Option<String>,

    #[command(flatten)]
    pub output: OutputArgs,
}

pub(super) async fn run(args: &GetSourceArgs, topic: &PublishedSources) -> anyhow::Result<()> {
    let store = topic.read(output::note).await?;
    let documents = match &args.name {
        None => store.documents().map(|(_, document)| document).collect(),
        Some(name) => vec![store.document(name).with_context(|| {
            format!("there is no source '{name}': list sources with sundown source get")
        })?],
    };
    if documents.is_empty() && args.output.output == Format::Table {
        output::note("No sources: sundown ingest reads no topic.");
        return Ok(());
    }
    output::line(render(args.output, &documents)?);
    Ok(())
}

/// Renders YAML as a stream of documents, the input format of `apply`.
fn render(output: OutputArgs, documents: &[&SessionSource]) -> anyhow::Result<String> {
    if output.output != Format::Yaml {
        return output.render(documents, to_table);
    }
    let texts = documents.iter().map(serde_yaml::to_string);
    let texts = texts.collect::<Result<Vec<_>, _>>()?;
    Ok(texts.join("---\n").trim_end().to_owned())
}

fn to_table(documents: &[&SessionSource]) -> String {
    let row = |document: &&SessionSource| {
        let spec = &document.spec;
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        [
            document.full_name(),
            match &spec.topic_pattern {
                Some(pattern) => format!("/{pattern}/"),
                None => spec.topics.join(","),
            },
            spec.format.as_str().to_owned(),
            or_none(&spec.session.id),
            or_none(&spec.session.user),
        ]
    };
    let rows: Vec<_> = documents.iter().map(row).collect();
    table(["NAME", "TOPICS", "FORMAT", "SESSION", "USER"], &rows)
}
