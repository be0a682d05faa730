//! `sundown policy`: manages session policies without Kubernetes.

mod apply;
mod delete;
mod get;
mod input;
mod preset;
mod simulate;
mod validate;

use clap::Subcommand;

use crate::kafka::args::GlobalArgs;
use crate::policy::topic::PolicyTopic;

/// Subcommands of `sundown policy`.
#[derive(Subcommand, Debug)]
pub enum PolicyCommand {
    /// Apply policies: running trackers activate them within a second.
    ///
    /// Validates all policies, then writes all of them to the policy topic, without a
    /// namespace. In Kubernetes, apply SessionPolicy resources with kubectl instead; the
    /// controller publishes them. It does not touch policies without a namespace, so both
    /// kinds can be active side by side.
    Apply(input::FileArgs),
    /// Show active policies.
    Get(get::GetPolicyArgs),
    /// Delete policies: the remaining policies then apply to their sessions.
    ///
    /// A policy with a namespace belongs to the controller, which writes it again. Delete
    /// the resource with kubectl instead.
    Delete(delete::DeleteArgs),
    /// Validate policies like `apply`, without Kafka.
    Validate(input::FileArgs),
    /// Print the policy of a guideline (NIST SP 800-63B, OWASP, PCI DSS), or list the guidelines.
    ///
    /// Comments in the policy state the section that each timeout is from.
    /// Apply it with `sundown policy preset nist-aal2 | kubectl apply -f -`, or with
    /// `sundown policy apply -f -` without Kubernetes.
    Preset(preset::PresetArgs),
    /// Replay session events under the given and the current policies, and show which
    /// sessions end differently. Writes nothing.
    Simulate(Box<simulate::SimulateArgs>),
}

/// Runs `sundown policy`.
///
/// # Errors
/// If policies are invalid or do not exist, or Kafka is unavailable.
pub fn run(command: &PolicyCommand, global: &GlobalArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let topic = || PolicyTopic::new(global);
    match command {
        PolicyCommand::Apply(args) => runtime.block_on(apply::run(args, &topic()?)),
        PolicyCommand::Get(args) => runtime.block_on(get::run(args, &topic()?)),
        PolicyCommand::Delete(args) => runtime.block_on(delete::run(args, &topic()?)),
        PolicyCommand::Validate(args) => validate::run(args),
        PolicyCommand::Preset(args) => {
            preset::run(args);
            Ok(())
        }
        PolicyCommand::Simulate(args) => simulate::run(args, global, &runtime),
    }
}
