//! `sundown source test`.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::args::SourceFileArgs;
use super::sample;
use crate::kafka::args::GlobalArgs;
use crate::output::{OutputArgs, table};
use crate::source::document::SessionSource;
use crate::source::mapping::{Mapped, Mapping, MappingError};
use crate::source::record::InputRecord;
use crate::source::registry::client::{RegistryClient, RegistryError};
use crate::source::registry::credentials::RegistryCredentialsArgs;
use crate::source::registry::schemas::MissingSchema;
use crate::source::yaml::ParsedSource;

/// Flags of `sundown source test`.
#[derive(Args, Clone, Debug)]
pub struct SourceTestArgs {
    #[command(flatten)]
    pub files: SourceFileArgs,

    /// File of records, one on each line, or - for standard input.
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "topic",
        conflicts_with = "topic"
    )]
    pub from: Option<PathBuf>,

    /// Topic whose latest records to read.
    #[arg(long, value_name = "TOPIC")]
    pub topic: Option<String>,

    /// Name of the source, if the files have several.
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,

    /// Maximum number of records.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub limit: u16,

    #[command(flatten)]
    pub registries: RegistryCredentialsArgs,

    #[command(flatten)]
    pub output: OutputArgs,
}

/// What a record becomes.
#[derive(Debug, Serialize)]
struct TestedRecord {
    /// The line of the file, or the partition and offset.
    record: String,
    /// `event`, `skipped`, or the reason of the dead letter.
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    unusable_attributes: u32,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde requires a reference"
)]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

pub(super) fn run(
    args: &SourceTestArgs,
    global: &GlobalArgs,
    runtime: &Runtime,
) -> anyhow::Result<()> {
    let sources = args.files.read_valid()?;
    let (document, mapping) = select(&sources, args)?;
    let mut rows = Vec::new();
    let limit = usize::from(args.limit);
    let mut problem = None;
    let each = |name: String, record: &InputRecord<'_>| {
        if rows.len() < limit && problem.is_none() {
            match map(mapping, record, &args.registries, runtime) {
                Ok(mapped) => rows.push(row(name, mapped)),
                Err(error) => problem = Some(error),
            }
        }
    };
    match (&args.from, &args.topic) {
        (Some(path), _) => {
            let topic = document.spec.topics.first().map_or("", String::as_str);
            sample::of_file(path, topic, limit, each)?;
        }
        (None, Some(topic)) => sample::of_topic(global, topic, limit, each)?,
        (None, None) => bail!("there are no records: pass --from or --topic"),
    }
    if let Some(problem) = problem {
        return Err(problem.into());
    }
    args.output.print(&rows, |rows| to_table(rows))
}

/// Maps a record, and fetches its schema if that is missing.
fn map(
    mapping: &Mapping,
    record: &InputRecord<'_>,
    registries: &RegistryCredentialsArgs,
    runtime: &Runtime,
) -> Result<Result<Mapped, MappingError>, RegistryError> {
    let mapped = mapping.map(record);
    let (Err(MappingError::MissingSchema { missing, .. }), Some(schemas)) =
        (&mapped, mapping.schemas())
    else {
        return Ok(mapped);
    };
    let MissingSchema(id) = *missing;
    let client = RegistryClient::new(schemas.registry(), registries)?;
    match runtime.block_on(client.schema(id)) {
        Ok(definition) => schemas.add(id, &definition),
        Err(RegistryError::Unusable(problem)) => schemas.add_unusable(id, problem),
        Err(error) => return Err(error),
    }
    Ok(mapping.map(record))
}

/// The source that the flags name, or the only one, or the one that reads the topic.
fn select<'a>(
    sources: &'a [ParsedSource],
    args: &SourceTestArgs,
) -> anyhow::Result<&'a ParsedSource> {
    let named = |source: &&ParsedSource| args.source.as_ref() == Some(&source.0.metadata.name);
    let reads = |(_, mapping): &&ParsedSource| {
        let topic = args.topic.as_ref();
        topic.is_some_and(|topic| mapping.reads(topic))
    };
    if let Some(name) = &args.source {
        let found = sources.iter().find(named);
        return found.with_context(|| format!("there is no source '{name}' in the files"));
    }
    match sources {
        [only] => Ok(only),
        several => {
            let names: Vec<_> = several.iter().map(|(document, _)| name(document)).collect();
            several.iter().find(reads).with_context(|| {
                format!(
                    "the files have several sources ({}): select one with --source",
                    names.join(", ")
                )
            })
        }
    }
}

fn name(document: &SessionSource) -> &str {
    &document.metadata.name
}

fn row(record: String, mapped: Result<Mapped, MappingError>) -> TestedRecord {
    let (result, event, error, unusable_attributes) = match mapped {
        Ok(Mapped::Skipped) => ("skipped", None, None, 0),
        Ok(Mapped::Event(event)) => {
            let json = serde_json::from_slice(&event.value).ok();
            ("event", json, None, event.unusable_attributes)
        }
        Err(error) => (error.code(), None, Some(error.to_string()), 0),
    };
    TestedRecord {
        record,
        result,
        event,
        error,
        unusable_attributes,
    }
}

fn to_table(rows: &[TestedRecord]) -> String {
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            let event = row.event.as_ref().map(Value::to_string);
            let mut detail = event.or_else(|| row.error.clone()).unwrap_or_default();
            if row.unusable_attributes > 0 {
                let count = row.unusable_attributes;
                detail =
                    format!("{detail} ({count} attributes left out: not text, number or boolean)");
            }
            [row.record.clone(), row.result.to_owned(), detail]
        })
        .collect();
    table(["RECORD", "RESULT", "EVENT OR REASON"], &rows)
}
