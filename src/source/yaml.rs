//! Session sources as a stream of YAML documents.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::document::{SessionSource, SourceError};
use super::mapping::Mapping;

/// A valid document and its compiled mapping.
pub type ParsedSource = (SessionSource, Mapping);

/// Why a document is invalid.
#[derive(Debug, thiserror::Error)]
pub enum SourceDocumentError {
    /// The document is not the YAML of a session source. The documents after it are not parsed.
    #[error("document {number}: {source}")]
    Malformed {
        /// The position of the document, from 1.
        number: usize,
        source: serde_yaml::Error,
    },
    #[error(transparent)]
    Invalid(#[from] SourceError),
    /// An earlier document has the same name.
    #[error("there are two sources named '{0}': rename one")]
    Duplicate(String),
}

/// Parses and validates the documents in `text`. Empty documents are skipped. At most one error
/// is [`SourceDocumentError::Malformed`]; it is the last result.
///
/// `names` collects the names of valid documents, also across texts.
pub fn parse(
    text: &str,
    names: &mut BTreeSet<String>,
) -> Vec<Result<ParsedSource, SourceDocumentError>> {
    let mut parsed = Vec::new();
    for (number, document) in (1..).zip(serde_yaml::Deserializer::from_str(text)) {
        match Option::<SessionSource>::deserialize(document) {
            // Between two `---`, or a comment after the last one.
            Ok(None) => {}
            Ok(Some(document)) => parsed.push(validate(document, names)),
            Err(source) => {
                parsed.push(Err(SourceDocumentError::Malformed { number, source }));
                break;
            }
        }
    }
    parsed
}

fn validate(
    document: SessionSource,
    names: &mut BTreeSet<String>,
) -> Result<ParsedSource, SourceDocumentError> {
    let mapping = Mapping::compile(&document)?;
    let name = document.full_name();
    if names.insert(name.clone()) {
        Ok((document, mapping))
    } else {
        Err(SourceDocumentError::Duplicate(name))
    }
}
