//! `sundown policy delete`.

use std::path::PathBuf;

use clap::Args;

use super::input::{RESOURCE_NAME, read_valid};
use crate::commands::deletion::{self, existing};
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
    let exists = |name: &str| store.document(name).is_some();
    let known = existing("policy", &names, exists, args.ignore_not_found)?;
    topic.write(known.iter().map(|name| (*name, None))).await?;
    for name in known {
        deletion::print("policy", RESOURCE_NAME, name);
    }
    Ok(())
}

/// The requested names.
fn names(args: &DeleteArgs) -> anyhow::Result<Vec<String>> {
    let mut names = args.names.clone();
    if !args.filename.is_empty() {
        // `apply` writes them without their namespace.
        let policies = read_valid(&args.filename)?.into_iter();
        names.extend(policies.map(|(document, _)| document.metadata.name));
    }
    Ok(names)
}
