//! `sundown source validate`.

use std::sync::Arc;

use super::args::{RESOURCE_NAME, SourceFileArgs};
use crate::output;
use crate::source::set::SourceSet;

pub(super) fn run(args: &SourceFileArgs) -> anyhow::Result<()> {
    let sources = args.read_valid()?;
    let (documents, mappings): (Vec<_>, Vec<_>) = sources.into_iter().unzip();
    SourceSet::new(mappings.into_iter().map(Arc::new))?;
    for document in documents {
        output::line(format_args!(
            "{RESOURCE_NAME}/{} is valid",
            document.full_name()
        ));
    }
    Ok(())
}
