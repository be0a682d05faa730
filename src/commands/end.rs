//! `sundown logout` and `sundown revoke`: end sessions immediately.

use clap::{ArgGroup, Args};

use crate::clock::Clock;
use crate::kafka::args::GlobalArgs;
use crate::kafka::event_writer::{EventWriter, Target};
use crate::kafka::topics::{TopicAdmin, require};
use crate::output;
use crate::session::EventKind;
use crate::wire::event::encode::{SessionEvent, user_id};

/// Flags of `sundown logout` and `sundown revoke`.
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("subject").required(true).args(["session", "user"]))]
pub struct LogoutArgs {
    /// End this session, even if Sundown does not know it as live.
    #[arg(long, env = "SUNDOWN_SESSION", value_name = "ID")]
    pub session: Option<String>,

    /// End every live session of this user. A whole number such as 123 selects the user
    /// whose events carry the JSON number 123, not the string "123"; see --string.
    #[arg(long, env = "SUNDOWN_USER", value_name = "ID")]
    pub user: Option<String>,

    /// Treat the user id as a JSON string even if it is a whole number.
    #[arg(long, env = "SUNDOWN_STRING", requires = "user")]
    pub string: bool,
}

/// Runs `sundown logout` or `sundown revoke`, depending on `kind`.
///
/// # Errors
/// If an id is invalid, the topic is missing, or Kafka is unreachable or rejects the event.
pub fn run(kind: EventKind, args: &LogoutArgs, global: &GlobalArgs) -> anyhow::Result<()> {
    let user = args.user.as_deref();
    let user = user.map(|id| user_id(id, args.string)).transpose()?;
    let event = SessionEvent {
        user_id: user.as_deref(),
        session_id: args.session.as_deref(),
        activity_timestamp: Clock::default().wall(),
        kind,
        attributes: None,
    };
    let value = event.to_json()?;
    let target = Target::of(&value)?;

    let config = global.connection.producer_config()?;
    let topic = global.topics.topics().session_logs;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let admin = TopicAdmin::new(&config)?;
    let existing = runtime.block_on(require(&admin, &[&topic]))?;
    let partitions = existing[&topic].partition_count();
    let writer = EventWriter::new(config, &topic, partitions)?;
    writer.send(&target, &value)?;
    writer.flush()?;
    output::line(match target {
        Target::EveryPartition(_) => format!("written to all {partitions} partitions of {topic}"),
        _ => format!("written to {topic}"),
    });
    Ok(())
}
