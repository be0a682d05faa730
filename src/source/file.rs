//! Session sources from files and directories.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind, stdin};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bounded::{self, MAX_DOCUMENT_BYTES};

use super::set::SourceSet;
use super::yaml::{ParsedSource, parse};

/// Limit on the files of a directory.
const MAX_FILES: usize = 1_000;

/// The valid sources of files, and the problems of the others.
#[derive(Debug, Default)]
pub struct SourceInput {
    pub sources: Vec<ParsedSource>,
    /// Each with the name of its file.
    pub problems: Vec<String>,
}

/// Reads the sources of all files, of directories their `.yaml` and `.yml` files, and of `-`
/// standard input.
///
/// # Errors
/// If a file or directory cannot be read.
pub fn read(paths: &[PathBuf]) -> Result<SourceInput, SourceFileError> {
    let mut input = SourceInput::default();
    let mut names = BTreeSet::new();
    for path in paths {
        for (path, text) in texts(path)? {
            for parsed in parse(&text, &mut names) {
                match parsed {
                    Ok(source) => input.sources.push(source),
                    Err(error) => input.problems.push(format!("{}: {error}", path.display())),
                }
            }
        }
    }
    Ok(input)
}

/// Reads the sources of a file or directory, all of which must be valid.
///
/// # Errors
/// If the path cannot be read, a source is invalid, or two sources read the same topic.
pub fn load(path: &Path) -> anyhow::Result<SourceSet> {
    let input = read(&[path.to_owned()])?;
    if !input.problems.is_empty() {
        anyhow::bail!("{}", input.problems.join("; "));
    }
    let sources = input.sources.into_iter();
    Ok(SourceSet::new(
        sources.map(|(_, mapping)| Arc::new(mapping)),
    )?)
}

/// A file or directory that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read sources from {}: {source}", path.display())]
pub struct SourceFileError {
    path: PathBuf,
    source: io::Error,
}

/// The files at a path, with their contents.
pub(super) fn texts(path: &Path) -> Result<Vec<(PathBuf, String)>, SourceFileError> {
    let fail = |path: &Path, source| SourceFileError {
        path: path.to_owned(),
        source,
    };
    if path == Path::new("-") {
        let text = bounded::read_text(stdin(), MAX_DOCUMENT_BYTES);
        return Ok(vec![(
            path.to_owned(),
            text.map_err(|error| fail(path, error))?,
        )]);
    }
    let files = if path.is_dir() {
        files(path).map_err(|error| fail(path, error))?
    } else {
        vec![path.to_owned()]
    };
    let read = files.into_iter().map(|file| {
        let text = bounded::read_text_file(&file, MAX_DOCUMENT_BYTES);
        let text = text.map_err(|error| fail(&file, error))?;
        Ok((file, text))
    });
    read.collect()
}

/// The YAML files of a directory, in order of their names. A mounted ConfigMap has others, which
/// begin with a dot.
fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("yaml" | "yml")) {
            files.push(path);
        }
        if files.len() > MAX_FILES {
            let problem = format!("it has more than {MAX_FILES} files");
            return Err(io::Error::new(ErrorKind::FileTooLarge, problem));
        }
    }
    files.sort();
    Ok(files)
}
