//! `sundown policy preset`: policies of published guidelines.

use clap::{Args, ValueEnum};

use crate::output::{self, table};

/// Arguments of `sundown policy preset`.
#[derive(Args, Clone, Debug)]
pub struct PresetArgs {
    /// The guideline. Without it, all presets are listed.
    #[arg(value_name = "NAME")]
    pub preset: Option<Preset>,
}

/// Guidelines with limits on sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// NIST SP 800-63B-4, AAL1: reauthentication after 30 days.
    NistAal1,
    /// NIST SP 800-63B-4, AAL2: after 1 hour of inactivity or 24 hours.
    NistAal2,
    /// NIST SP 800-63B-4, AAL3: after 15 minutes of inactivity or 12 hours.
    NistAal3,
    /// OWASP, applications of high value: 5 minutes of inactivity, 4 hours.
    OwaspHighValue,
    /// OWASP, applications of low risk: 30 minutes of inactivity, 8 hours.
    OwaspLowRisk,
    /// PCI DSS 4.0.1, 8.2.8: 15 minutes of inactivity; at most a working day.
    PciDss,
}

/// A timeout of a guideline.
#[derive(Clone, Copy)]
struct Timeout {
    /// As in a policy: `15m`.
    limit: &'static str,
    citation: Citation,
    /// What the source states, or why the limit fits it.
    statement: &'static str,
}

/// The part of a guideline that states a timeout.
#[derive(Clone, Copy)]
struct Citation {
    guideline: &'static str,
    section: &'static str,
}

const NIST_AAL1: Citation = nist("section 2.1.3");
const NIST_AAL2: Citation = nist("section 2.2.3");
const NIST_AAL3: Citation = nist("section 2.3.3");
const OWASP: Citation = Citation {
    guideline: "OWASP Session Management Cheat Sheet",
    section: "Session Expiration",
};
const PCI_DSS: Citation = Citation {
    guideline: "PCI DSS 4.0.1",
    section: "requirement 8.2.8",
};

const fn nist(section: &'static str) -> Citation {
    Citation {
        guideline: "NIST SP 800-63B-4",
        section,
    }
}

impl Citation {
    const fn limit(self, limit: &'static str, statement: &'static str) -> Timeout {
        Timeout {
            limit,
            citation: self,
            statement,
        }
    }
}

impl std::fmt::Display for Citation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {}", self.guideline, self.section)
    }
}

impl Preset {
    const fn name(self) -> &'static str {
        match self {
            Self::NistAal1 => "nist-aal1",
            Self::NistAal2 => "nist-aal2",
            Self::NistAal3 => "nist-aal3",
            Self::OwaspHighValue => "owasp-high-value",
            Self::OwaspLowRisk => "owasp-low-risk",
            Self::PciDss => "pci-dss",
        }
    }

    const fn idle(self) -> Timeout {
        match self {
            Self::NistAal1 => NIST_AAL1.limit("720h", "no inactivity timeout is required at AAL1"),
            Self::NistAal2 => NIST_AAL2.limit("1h", "should be no more than 1 hour"),
            Self::NistAal3 => NIST_AAL3.limit("15m", "should be no more than 15 minutes"),
            Self::OwaspHighValue => OWASP.limit("5m", "2 to 5 minutes for high-value applications"),
            Self::OwaspLowRisk => OWASP.limit("30m", "15 to 30 minutes for low-risk applications"),
            Self::PciDss => PCI_DSS.limit("15m", "no more than 15 minutes"),
        }
    }

    const fn absolute(self) -> Timeout {
        match self {
            Self::NistAal1 => NIST_AAL1.limit("720h", "should be no more than 30 days"),
            Self::NistAal2 => NIST_AAL2.limit("24h", "should be no more than 24 hours"),
            Self::NistAal3 => NIST_AAL3.limit("12h", "shall be no more than 12 hours"),
            Self::OwaspHighValue => OWASP.limit("4h", "4 to 8 hours for a day of work"),
            Self::OwaspLowRisk => OWASP.limit("8h", "4 to 8 hours for a day of work"),
            Self::PciDss => OWASP.limit("8h", "4 to 8 hours for a day of work; none in PCI DSS"),
        }
    }

    /// The policy as a YAML document. Comments state the source of each timeout.
    #[must_use]
    pub fn document(self) -> String {
        let field = |name: &str, timeout: Timeout| {
            let (source, statement, limit) = (timeout.citation, timeout.statement, timeout.limit);
            format!("  # {source}: {statement}\n  {name}: {limit}")
        };
        let (name, idle) = (self.name(), field("idleTimeout", self.idle()));
        let absolute = field("absoluteTimeout", self.absolute());
        format!(
            "apiVersion: sundown.dev/v1alpha1\nkind: SessionPolicy\nmetadata: {{name: {name}}}\nspec:\n{idle}\n{absolute}"
        )
    }
}

pub(super) fn run(args: &PresetArgs) {
    output::line(args.preset.map_or_else(list, Preset::document));
}

fn list() -> String {
    let rows = Preset::value_variants().iter().map(|preset| {
        let (idle, absolute) = (preset.idle(), preset.absolute());
        [
            preset.name().to_owned(),
            idle.limit.to_owned(),
            absolute.limit.to_owned(),
            sources(idle.citation, absolute.citation),
        ]
    });
    table(
        ["NAME", "IDLE", "ABSOLUTE", "SOURCE"],
        &rows.collect::<Vec<_>>(),
    )
}

/// The sources of the idle and the absolute timeout.
fn sources(idle: Citation, absolute: Citation) -> String {
    if idle.guideline == absolute.guideline {
        return idle.to_string();
    }
    format!("{idle}; absolute: {absolute}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::policy::yaml::parse;

    #[test]
    fn every_preset_is_a_valid_policy_with_both_timeouts() {
        for preset in Preset::value_variants() {
            let parsed = parse(&preset.document(), &mut BTreeSet::new());
            assert_eq!(parsed.len(), 1, "{preset:?}");
            let name = parsed[0].as_ref().unwrap().1.name.clone();
            let value = preset.to_possible_value().unwrap();
            assert_eq!(name, value.get_name());
            assert!(preset.document().contains("absoluteTimeout"));
        }
    }
}
