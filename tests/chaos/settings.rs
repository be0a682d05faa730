//! Settings from the environment.

/// Default number of faults: all kinds occur, within a few minutes.
const FAULTS: usize = 100;

/// Settings of a chaos run.
#[derive(Debug)]
pub struct Settings {
    /// Seed of the schedule and of the users.
    pub seed: u64,
    /// Total number of faults.
    pub faults: usize,
    /// Additional flags of the trackers.
    pub flags: Vec<String>,
}

impl Settings {
    /// Reads `SUNDOWN_CHAOS_SEED`, `SUNDOWN_CHAOS_FAULTS` and `SUNDOWN_CHAOS_FLAGS` (split at blanks).
    pub fn from_environment() -> Self {
        let flags = variable("SUNDOWN_CHAOS_FLAGS").unwrap_or_default();
        Self {
            seed: number("SUNDOWN_CHAOS_SEED").unwrap_or(1),
            faults: number("SUNDOWN_CHAOS_FAULTS").map_or(FAULTS, |faults| {
                usize::try_from(faults).expect("a number that fits")
            }),
            flags: flags.split_whitespace().map(str::to_owned).collect(),
        }
    }

    /// The command that reruns this schedule.
    pub fn command(&self) -> String {
        let Self {
            seed,
            faults,
            flags,
        } = self;
        let flags = match flags.as_slice() {
            [] => String::new(),
            flags => format!("SUNDOWN_CHAOS_FLAGS='{}' ", flags.join(" ")),
        };
        format!(
            "{flags}SUNDOWN_CHAOS_FAULTS={faults} SUNDOWN_CHAOS_SEED={seed} cargo test --test chaos -- --nocapture"
        )
    }
}

fn number(name: &str) -> Option<u64> {
    let text = variable(name)?;
    let number = text.parse();
    Some(number.unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
