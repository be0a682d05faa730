//! Shortens a failing plan while it still fails.

use crate::schedule::Plan;

/// Runs that may be spent on it.
const BUDGET: usize = 600;

/// The shortest plan found for which `fails` is true.
pub(crate) fn shrink(plan: &Plan, fails: impl Fn(&Plan) -> bool) -> Plan {
    let mut best = plan.clone();
    let mut chunk = best.steps.len().div_ceil(2).max(1);
    let mut budget = BUDGET;
    loop {
        let mut progress = false;
        let mut at = 0;
        while at < best.steps.len() && budget > 0 {
            budget -= 1;
            let mut candidate = best.clone();
            let end = (at + chunk).min(candidate.steps.len());
            candidate.steps.drain(at..end);
            if fails(&candidate) {
                best = candidate;
                progress = true;
            } else {
                at += chunk;
            }
        }
        if budget == 0 || chunk == 1 && !progress {
            return best;
        }
        if !progress {
            chunk = chunk.div_ceil(2);
        }
    }
}
