//! An installation in its own namespace, in which alerts are provoked.

use std::collections::BTreeSet;
use std::time::Duration;

use super::prometheus::Prometheus;
use crate::support::role::RoleProcess;
use crate::support::wait::eventually;

/// For an alert to fire; the slowest looks at half a minute.
const SOON: Duration = Duration::from_secs(120);

/// Alerts that have fired by the faults that they are for.
pub type Provoked = BTreeSet<&'static str>;

/// What alerts of one installation have done.
pub struct Scene<'a> {
    pub prometheus: &'a Prometheus,
    namespace: &'static str,
    provoked: Provoked,
}

impl<'a> Scene<'a> {
    pub fn new(prometheus: &'a Prometheus, namespace: &'static str) -> Self {
        Self {
            prometheus,
            namespace,
            provoked: BTreeSet::new(),
        }
    }

    /// Scrapes processes as pods of these names.
    pub fn scrape(&self, pods: &[(&str, &RoleProcess)]) {
        self.prometheus.scrape(self.namespace, pods);
    }

    /// Waits until an expression gives something.
    pub fn wait_for(&self, expression: &str) {
        eventually(SOON, expression, || {
            (!self.prometheus.query(expression).is_empty()).then_some(())
        });
    }

    /// Sees that `alerts` have not fired so far, does what they are for, and waits until
    /// they have fired.
    pub fn provoke<const N: usize>(
        &mut self,
        alerts: [&'static str; N],
        fault: impl FnOnce(&Self),
    ) {
        for alert in alerts {
            assert!(!self.has_fired(alert), "{alert} fires without its fault");
        }
        fault(self);
        for alert in alerts {
            eventually(SOON, &format!("{alert} to fire"), || {
                self.has_fired(alert).then_some(())
            });
            self.provoked.insert(alert);
        }
    }

    /// Waits until rules have been evaluated over some scrapes of everything; nothing has
    /// fired by then.
    pub fn await_calm(&self) {
        let namespace = self.namespace;
        self.wait_for(&format!(
            "min(count_over_time(up{{namespace=\"{namespace}\"}}[1h])) > 8"
        ));
        self.assert_calm();
    }

    /// No alert has fired since the first scrape.
    pub fn assert_calm(&self) {
        let fired = format!(
            "max_over_time(ALERTS{{alertstate=\"firing\", namespace=\"{}\"}}[1h])",
            self.namespace
        );
        assert_eq!(self.prometheus.query(&fired), [], "{}", self.namespace);
    }

    /// What has been provoked.
    pub fn provoked(&self) -> Provoked {
        self.provoked.clone()
    }

    fn has_fired(&self, alert: &str) -> bool {
        let fired = format!(
            "max_over_time(ALERTS{{alertname=\"{alert}\", alertstate=\"firing\", namespace=\"{}\"}}[1h])",
            self.namespace
        );
        !self.prometheus.query(&fired).is_empty()
    }
}
