//! `sundown policy validate`.

use anyhow::bail;

use super::input::KIND;
use super::input::{FileArgs, read};
use crate::output;

pub(super) fn run(args: &FileArgs) -> anyhow::Result<()> {
    let input = read(&args.filename)?;
    for (_, policy) in &input.policies {
        output::line(format_args!("{KIND}/{} valid", policy.name));
    }
    for problem in &input.problems {
        output::note(problem);
    }
    match input.problems.len() {
        0 => Ok(()),
        1 => bail!("a policy cannot be used: correct it"),
        several => bail!("{several} policies cannot be used: correct them"),
    }
}
