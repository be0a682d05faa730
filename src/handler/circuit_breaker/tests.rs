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

/// Records the first failure of another event each time.
fn record(circuit: &CircuitBreaker, permit: &Permit<'_>, result: &Result<(), ActionError>) -> bool {
    circuit.record(permit, result, &mut FailureHistory::default(), 0.5)
}

/// Opens the circuit with failures that count for no event.
fn down(circuit: &CircuitBreaker, permit: &Permit<'_>) -> bool {
    (0..DOWN_THRESHOLD).all(|_| record(circuit, permit, &unreachable()))
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
        assert!(!record(&circuit, &permit, &busy()));
    }
    assert!(!record(&circuit, &permit, &refused()));
    for _ in 1..FAILURE_THRESHOLD {
        assert!(!record(&circuit, &permit, &busy()));
        assert!(circuit.is_valid(&permit));
    }
    assert!(health.notes().is_empty());
    assert!(record(&circuit, &permit, &busy()));
    assert!(!circuit.is_valid(&permit));
    let problem = "its target keeps failing: 503";
    assert!(health.notes()["action notify"].starts_with(problem));
    assert_eq!(circuit.problem().as_deref(), Some(problem));
    assert!(health.not_ready().is_empty(), "the process stays ready");
    assert!(circuit.acquire().now_or_never().is_none());
}

#[tokio::test]
async fn a_target_that_is_down_opens_it_at_the_second_failure_and_costs_no_event_an_attempt() {
    let (circuit, health) = circuit(POLICY);
    let permit = circuit.acquire().await;
    assert!(record(&circuit, &permit, &unreachable()));
    assert!(circuit.is_valid(&permit));
    assert!(record(&circuit, &permit, &unreachable()));
    assert!(!circuit.is_valid(&permit));
    assert!(health.notes()["action notify"].contains("cannot be used"));
}

#[tokio::test]
async fn an_event_that_fails_while_others_succeed_is_at_fault_whatever_its_error() {
    let (circuit, _health) = circuit(POLICY);
    let permit = circuit.acquire().await;
    let mut poison = FailureHistory::default();
    assert!(circuit.record(&permit, &unreachable(), &mut poison, 0.5));
    for _ in 0..10 {
        // One that began before the success of another one may have met an outage.
        let early = circuit.acquire().await;
        assert!(!record(&circuit, &permit, &Ok(())));
        assert!(circuit.record(&early, &unreachable(), &mut poison, 0.5));
        assert!(!record(&circuit, &permit, &Ok(())));
        let permit = circuit.acquire().await;
        assert!(!circuit.record(&permit, &unreachable(), &mut poison, 0.5));
        assert!(circuit.is_valid(&permit), "others do not wait");
    }
    // Once others fail too, the target is at fault.
    assert!(record(&circuit, &permit, &unreachable()));
    assert!(!circuit.is_valid(&permit));
}

#[tokio::test]
async fn the_probe_of_an_event_that_is_at_fault_itself_does_not_lengthen_the_pause() {
    let (circuit, _health) = circuit("{initialBackoff: 1ms, maxBackoff: 1ms}");
    let permit = circuit.acquire().await;
    let mut poison = FailureHistory::default();
    assert!(circuit.record(&permit, &unreachable(), &mut poison, 0.5));
    assert!(record(&circuit, &permit, &unreachable()));
    assert!(!record(&circuit, &permit, &Ok(())));
    assert!(down(&circuit, &permit));
    let probe = circuit.acquire().await;
    assert!(!circuit.record(&probe, &unreachable(), &mut poison, 0.5));
    drop(probe);
    let next = circuit.acquire().now_or_never();
    assert!(next.is_some_and(|permit| permit.probe.is_some()));
}

#[tokio::test]
async fn a_failure_of_the_handlers_own_leaves_it_as_it_is() {
    let (circuit, _health) = circuit(POLICY);
    let permit = circuit.acquire().await;
    assert!(down(&circuit, &permit));
    let ours = Err(failed(Fault::Handler, "a template cannot be rendered"));
    assert!(!record(&circuit, &permit, &ours));
    assert!(!circuit.is_valid(&permit), "it has not reached the target");
}

#[tokio::test]
async fn a_half_open_circuit_has_one_probe_at_a_time_and_its_success_closes_the_circuit() {
    let (circuit, health) = circuit("{initialBackoff: 1ms, maxBackoff: 1ms}");
    let permit = circuit.acquire().await;
    assert!(down(&circuit, &permit));
    let probe = circuit.acquire().await;
    assert_eq!(circuit.circuit().state, CircuitState::HalfOpen);
    assert!(circuit.is_valid(&probe));
    let mut next = Box::pin(circuit.acquire());
    assert!((&mut next).now_or_never().is_none());

    // The probe fails: the next event in the queue probes.
    assert!(record(&circuit, &probe, &busy()));
    drop(probe);
    let probe = next.await;
    let waiting = {
        let circuit = Arc::clone(&circuit);
        tokio::spawn(async move { circuit.acquire().await.probe.is_none() })
    };
    tokio::task::yield_now().await;
    assert!(!record(&circuit, &probe, &Ok(())));
    drop(probe);
    assert!(waiting.await.unwrap(), "a closed circuit needs no probe");
    assert!(health.notes().is_empty());
}

#[tokio::test]
async fn a_probe_that_is_dropped_without_a_result_makes_way_for_the_next_one() {
    let (circuit, _health) = circuit("{initialBackoff: 1ms, maxBackoff: 1ms}");
    let permit = circuit.acquire().await;
    assert!(down(&circuit, &permit));
    drop(circuit.acquire().await);
    let next = circuit.acquire().now_or_never();
    assert!(next.is_some_and(|permit| permit.probe.is_some()));
}

#[tokio::test]
async fn a_success_of_an_earlier_attempt_closes_the_circuit() {
    let (circuit, _health) = circuit(POLICY);
    let slow = circuit.acquire().await;
    let permit = circuit.acquire().await;
    assert!(down(&circuit, &permit));
    let mut waiting = Box::pin(circuit.acquire());
    assert!((&mut waiting).now_or_never().is_none());
    assert!(!record(&circuit, &slow, &Ok(())));
    waiting.await;
}

#[tokio::test]
async fn the_targets_retry_after_is_the_shortest_pause() {
    let (circuit, _health) = circuit("{initialBackoff: 1ms, maxBackoff: 1ms}");
    let permit = circuit.acquire().await;
    let busy = |retry_after| Err(failed(Fault::Target, "429").with_retry_after(Some(retry_after)));
    for _ in 0..FAILURE_THRESHOLD {
        record(&circuit, &permit, &busy(Duration::from_secs(60)));
    }
    let minute = pause(&circuit);
    assert!(minute > Duration::from_secs(50), "{minute:?}");

    let probe = Permit {
        probe: Some(circuit.probe.try_lock().unwrap()),
        successes: 0,
    };
    record(&circuit, &probe, &busy(Duration::from_secs(1_000_000)));
    assert!(pause(&circuit) <= MAX_RETRY_AFTER);
}
