//! `sundown policy delete`.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;

use super::input::{RESOURCE_NAME, read_valid};
use crate::output;
use crate::policy::topic::PolicyTopic;

/// Flags of `sundown policy delete`.
#[derive(Args, Clone, Debug)]
pub struct DeleteArgs {
    /// Names of the policies, as shown by `get`.
    #[arg(
        value_name = "NAME",
        required_unless_present = "filename",
        conflicts_with = "filename"
    )]
    pub names: Vec<String>,

    /// YAML file of policies to delete, or - for standard input; can be repeated.
    #[arg(short, long, env = "SUNDOWN_FILENAME", value_name = "FILE")]
    pub filename: Vec<PathBuf>,

    /// Ignore policies that do not exist.
    #[arg(long, env = "SUNDOWN_IGNORE_NOT_FOUND")]
    pub ignore_not_found: bool,
}

pub(super) async fn run(args: &DeleteArgs, topic: &PolicyTopic) -> anyhow::Result<()> {
    let names = names(args)?;
    let store = topic.read(output::note).await?;
    let (known, unknown): (Vec<_>, Vec<_>) = names
        .iter()
        .map(String::as_str)
        .partition(|name| store.document(name).is_some());
    if !args.ignore_not_found && !unknown.is_empty() {
        bail!(
            "there is no policy '{}': list policies with sundown policy get, or pass --ignore-not-found; nothing has been deleted",
            unknown.join("', nor '")
        );
    }
    topic.write(known.iter().map(|name| (*name, None))).await?;
    for name in known {
        if name.contains('/') {
            output::note(format_args!(
                "policy '{name}' belongs to the Kubernetes controller, which writes it again while it runs"
            ));
        }
        output::line(format_args!("{RESOURCE_NAME}/{name} deleted"));
    }
    Ok(())
}

/// The requested names, without duplicates.
fn names(args: &DeleteArgs) -> anyhow::Result<Vec<String>> {
    let mut names = args.names.clone();
    if !args.filename.is_empty() {
        // `apply` writes them without their namespace.
        let policies = read_valid(&args.filename)?.into_iter();
        names.extend(policies.map(|(document, _)| document.metadata.name));
    }
    names.sort();
    names.dedup();
    Ok(names)
}
