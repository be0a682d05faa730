//! Policies from files and standard input.

use std::collections::BTreeSet;
use std::io::{ErrorKind, stdin};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use crate::bounded::{self, MAX_DOCUMENT_BYTES};
use crate::output;
use crate::policy::yaml::{ParsedPolicy, parse};

/// Files of policies.
#[derive(Args, Clone, Debug)]
pub struct FileArgs {
    /// YAML file of SessionPolicy documents, or - for standard input; can be repeated.
    #[arg(
        short,
        long,
        env = "SUNDOWN_FILENAME",
        value_name = "FILE",
        required = true
    )]
    pub filename: Vec<PathBuf>,
}

/// The valid policies of the files, and the problems of the others.
#[derive(Debug, Default)]
pub(super) struct PolicyInput {
    pub(super) policies: Vec<ParsedPolicy>,
    pub(super) problems: Vec<String>,
}

/// Reads the policies of all files.
///
/// # Errors
/// If a file cannot be read, or there is no document at all.
pub(super) fn read(files: &[PathBuf]) -> anyhow::Result<PolicyInput> {
    let mut input = PolicyInput::default();
    let mut names = BTreeSet::new();
    for path in files {
        for parsed in parse(&text(path)?, &mut names) {
            match parsed {
                Ok(checked) => input.policies.push(checked),
                Err(error) => input.problems.push(format!("{}: {error}", path.display())),
            }
        }
    }
    if input.policies.is_empty() && input.problems.is_empty() {
        let files: Vec<_> = files.iter().map(|path| path.to_string_lossy()).collect();
        bail!("there is no policy in {}: check -f", files.join(", "));
    }
    Ok(input)
}

/// Reads the policies of all files, and prints all problems.
///
/// # Errors
/// As [`read`], or if a policy is invalid.
pub(super) fn read_valid(files: &[PathBuf]) -> anyhow::Result<Vec<ParsedPolicy>> {
    let input = read(files)?;
    for problem in &input.problems {
        output::note(problem);
    }
    match input.problems.len() {
        0 => Ok(input.policies),
        1 => bail!("1 policy is invalid: correct it; nothing has been written"),
        several => bail!("{several} policies are invalid: correct them; nothing has been written"),
    }
}

fn text(path: &Path) -> anyhow::Result<String> {
    let cannot = || format!("cannot read policies from {}: check -f", path.display());
    let text = if path == Path::new("-") {
        bounded::read_text(stdin(), MAX_DOCUMENT_BYTES)
    } else {
        bounded::read_text_file(path, MAX_DOCUMENT_BYTES)
    };
    match text {
        Err(error) if error.kind() == ErrorKind::FileTooLarge => {
            bail!("{}: {error}: split it", path.display())
        }
        text => text.with_context(cannot),
    }
}

/// The qualified resource name, as kubectl prints it.
pub(super) const RESOURCE_NAME: &str = "sessionpolicy.sundown.dev";
