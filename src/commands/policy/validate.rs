//! `sundown policy validate`.

use anyhow::bail;

use super::input::{FileArgs, RESOURCE_NAME, read};
use crate::output;

pub(super) fn run(args: &FileArgs) -> anyhow::Result<()> {
    let input = read(&args.filename)?;
    for (_, policy) in &input.policies {
        output::line(format_args!("{RESOURCE_NAME}/{} valid", policy.name));
    }
    for problem in &input.problems {
        output::note(problem);
    }
    match input.problems.len() {
        0 => Ok(()),
        1 => bail!("1 policy is invalid: correct it"),
        several => bail!("{several} policies are invalid: correct them"),
    }
}
