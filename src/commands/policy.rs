//! `sundown policy`: writes, shows, checks and tries out session policies, without
//! Kubernetes.

mod apply;
mod delete;
mod get;
mod input;
mod simulate;
mod validate;

use clap::Subcommand;

use crate::kafka::args::GlobalArgs;
use crate::policy::store::Store;

/// What to do with policies.
#[derive(Subcommand, Debug)]
pub enum PolicyCommand {
    /// Put policies into force: running trackers obey within a second.
    ///
    /// Writes to the policy topic, all of the policies or none: they are checked first.
    /// They carry no namespace. In Kubernetes, apply SessionPolicy resources with kubectl
    /// instead: the controller keeps the topic as its resources are. It leaves policies
    /// without a namespace alone, so both kinds are in force side by side.
    Apply(input::FileArgs),
    /// Show the policies in force.
    Get(get::GetArgs),
    /// Take policies out of force: their sessions fall under the ones that are left.
    ///
    /// A policy with a namespace is the controller's, which writes it again: delete the
    /// resource with kubectl instead.
    Delete(delete::DeleteArgs),
    /// Check policies as `apply` would, without Kafka and without writing anything.
    Validate(input::FileArgs),
    /// Find out what policies would do: replays session events under them and under the
    /// present ones, and shows which sessions end differently. Writes nothing.
    Simulate(Box<simulate::SimulateArgs>),
}

/// Runs `sundown policy`.
///
/// # Errors
/// If policies cannot be used or found, or Kafka cannot be asked or does not take them.
pub fn run(command: &PolicyCommand, global: &GlobalArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let store = || Store::new(global);
    match command {
        PolicyCommand::Apply(args) => runtime.block_on(apply::run(args, &store()?)),
        PolicyCommand::Get(args) => runtime.block_on(get::run(args, &store()?)),
        PolicyCommand::Delete(args) => runtime.block_on(delete::run(args, &store()?)),
        PolicyCommand::Validate(args) => validate::run(args),
        PolicyCommand::Simulate(args) => simulate::run(args, global, &runtime),
    }
}
