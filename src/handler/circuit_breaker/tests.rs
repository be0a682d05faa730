use std::sync::Arc;

use futures_util::FutureExt;

use super::super::circuit_breaker::*;
use crate::handler::dead_letters::FailureReason;

const POLICY: &str = "{initialBackoff: 1h, maxBackoff: 1h}";

fn circuit(policy: &str) -> (Arc<CircuitBreaker>, Health) {
    let name: ActionName = "notify".parse().unwrap();
    let health = Health::default();
    let registry = prometheus::Registry::new();
    let metrics = HandlerMetrics::new(&registry, ["notify"], &FailureReason::ALL).unwrap();
    let policy = serde_yaml::from_str(policy).unwrap();
    let circuit = CircuitBreaker::new(name, policy, health.clone(), metrics);
    (Arc::new(circuit), health)
}

fn failed(fault: Fault, reason: &str) -> ActionError {
    ActionError {
        fault,
        reason: reason.to_owned(),
        retry_after: None,
    }
}

fn busy() -> Result<(), ActionError> {
    Err(failed(Fault::Target, "503"))
}

fn refused() -> Result<(), ActionError> {
    Err(failed(Fault::Event, "410"))
}

fn unreachable() -> Result<(), ActionError> {
    Err(failed(Fault::TargetDown, "connection refused"))
}

/// The time that an open circuit stays open.
fn pause(circuit: &CircuitBreaker) -> Duration {
    match circuit.circuit().state {
        CircuitState::Open { until } => until.saturating_sub(circuit.clock.elapsed()),
        state => panic!("the circuit is {state:?}"),
    }
}

#[tokio::test]
async fn consecutive_failures_open_it_and_a_refusal_resets_the_count() {
    let (circuit, health) = circuit(POLICY);
    let permit = circuit.acquire().await;
    for _ in 1..FAILURE_THRESHOLD {
        assert!(!circuit.record(&permit, &busy(), 0.5));
    }
    assert!(!circuit.record(&permit, &refused(), 0.5));
    for _ in 1..FAILURE_THRESHOLD {
        assert!(!circuit.record(&permit, &busy(), 0.5));
        assert!(circuit.is_valid(&permit));
    }
    assert!(health.not_ready().is_empty());
    assert!(circuit.record(&permit, &busy(), 0.5));
    assert!(!circuit.is_valid(&permit));
    let reasons = health.not_ready();
    assert_eq!(reasons["action notify"], "its target keeps failing: 503");
    assert!(circuit.acquire().now_or_never().is_none());
}

#[tokio::test]
async fn a_target_that_cannot_be_reached_opens_it_at_once() {
    let (circuit, health) = circuit(POLICY);
    let permit = circuit.acquire().await;
    assert!(circuit.record(&permit, &unreachable(), 0.5));
    assert!(health.not_ready()["action notify"].contains("cannot be used"));
}

#[tokio::test]
async fn a_half_open_circuit_has_one_probe_at_a_time_and_its_success_closes_the_circuit() {
    let (circuit, health) = circuit("{initialBackoff: 1ms, maxBackoff: 1ms}");
    let permit = circuit.acquire().await;
    assert!(circuit.record(&permit, &unreachable(), 0.5));
    let probe = circuit.acquire().await;
    assert_eq!(circuit.circuit().state, CircuitState::HalfOpen);
    assert!(circuit.is_valid(&probe));
    let mut next = Box::pin(circuit.acquire());
    assert!((&mut next).now_or_never().is_none());

    // The probe fails: the next event in the queue probes.
    assert!(circuit.record(&probe, &busy(), 0.5));
    drop(probe);
    let probe = next.await;
    let waiting = {
        let circuit = Arc::clone(&circuit);
        tokio::spawn(async move { circuit.acquire().await.probe.is_none() })
    };
    tokio::task::yield_now().await;
    assert!(!circuit.record(&probe, &Ok(()), 0.5));
    drop(probe);
    assert!(waiting.await.unwrap(), "a closed circuit needs no probe");
    assert!(health.not_ready().is_empty());
}

#[tokio::test]
async fn a_probe_that_is_dropped_without_a_result_makes_way_for_the_next_one() {
    let (circuit, _health) = circuit("{initialBackoff: 1ms, maxBackoff: 1ms}");
    let permit = circuit.acquire().await;
    assert!(circuit.record(&permit, &unreachable(), 0.5));
    drop(circuit.acquire().await);
    let next = circuit.acquire().now_or_never();
    assert!(next.is_some_and(|permit| permit.probe.is_some()));
}

#[tokio::test]
async fn a_success_of_an_earlier_attempt_closes_the_circuit() {
    let (circuit, _health) = circuit(POLICY);
    let slow = circuit.acquire().await;
    let permit = circuit.acquire().await;
    assert!(circuit.record(&permit, &unreachable(), 0.5));
    let mut waiting = Box::pin(circuit.acquire());
    assert!((&mut waiting).now_or_never().is_none());
    assert!(!circuit.record(&slow, &Ok(()), 0.5));
    waiting.await;
}

#[tokio::test]
async fn the_targets_retry_after_is_the_shortest_pause() {
    let (circuit, _health) = circuit("{initialBackoff: 1ms, maxBackoff: 1ms}");
    let permit = circuit.acquire().await;
    let busy = |retry_after| Err(failed(Fault::Target, "429").with_retry_after(Some(retry_after)));
    for _ in 0..FAILURE_THRESHOLD {
        circuit.record(&permit, &busy(Duration::from_secs(60)), 0.5);
    }
    let minute = pause(&circuit);
    assert!(minute > Duration::from_secs(50), "{minute:?}");

    let probe = Permit {
        probe: Some(circuit.probe.try_lock().unwrap()),
    };
    circuit.record(&probe, &busy(Duration::from_secs(1_000_000)), 0.5);
    assert!(pause(&circuit) <= MAX_RETRY_AFTER);
}
