//! `sundown policy preset`: policies of published guidelines.

use clap::{Args, ValueEnum};

use crate::output;

/// Arguments of `sundown policy preset`.
#[derive(Args, Clone, Debug)]
pub struct PresetArgs {
    /// The guideline.
    #[arg(value_name = "NAME")]
    pub preset: Preset,
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
    /// PCI DSS 4.0, 8.2.8: 15 minutes of inactivity; at most a working day.
    PciDss,
}

impl Preset {
    /// The name, and the idle and the absolute timeout.
    const fn limits(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::NistAal1 => ("nist-aal1", "720h", "720h"),
            Self::NistAal2 => ("nist-aal2", "1h", "24h"),
            Self::NistAal3 => ("nist-aal3", "15m", "12h"),
            Self::OwaspHighValue => ("owasp-high-value", "5m", "4h"),
            Self::OwaspLowRisk => ("owasp-low-risk", "30m", "8h"),
            Self::PciDss => ("pci-dss", "15m", "8h"),
        }
    }

    /// The policy as a YAML document.
    #[must_use]
    pub fn document(self) -> String {
        let (name, idle, absolute) = self.limits();
        format!(
            "apiVersion: sundown.dev/v1alpha1\nkind: SessionPolicy\nmetadata: {{name: {name}}}\nspec: {{idleTimeout: {idle}, absoluteTimeout: {absolute}}}"
        )
    }
}

pub(super) fn run(args: &PresetArgs) {
    output::line(args.preset.document());
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
