//! `sundown source validate`.

use super::args::SourceFileArgs;
use crate::output;
use crate::source::set::SourceSet;

/// The qualified resource name, as kubectl prints it.
const RESOURCE_NAME: &str = "sessionsource.sundown.dev";

pub(super) fn run(args: &SourceFileArgs) -> anyhow::Result<()> {
    let sources = args.read_valid()?;
    let (documents, mappings): (Vec<_>, Vec<_>) = sources.into_iter().unzip();
    SourceSet::new(mappings)?;
    for document in documents {
        output::line(format_args!(
            "{RESOURCE_NAME}/{} is valid",
            document.full_name()
        ));
    }
    Ok(())
}
