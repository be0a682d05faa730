use std::sync::Arc;

use futures_util::FutureExt;

use super::super::circuit_breaker::*;
use crate::handler::dead_letters::Reason;

const POLICY: &str = "{initialBackoff: 1h, maxBackoff: 1h}";

fn circuit(policy: &str) -> (Arc<CircuitBreaker>, Health) {
    let name: ActionName = "notify".parse().unwrap();
    let health = Health::default();
    let registry = prometheus::Registry::new();
    let metrics = HandlerMetrics::new(&registry, ["notify"], &Reason::ALL).unwrap();
    let policy = serde_yaml::from_str(policy).unwrap();
    let circuit = CircuitBreaker::new(name, policy, health.clone(), metrics);
    (Arc::new(circuit), health)
}

fn busy() -> Result<(), ActionError> {
    Err(ActionError::retryable("503"))
}

fn refused() -> Result<(), ActionError> {
    Err(ActionError::permanent("410"))
}

fn nobody() -> Result<(), ActionError> {
    Err(ActionError::unreachable("connection refused"))
}

#[tokio::test]
async fn failures_in_a_row_open_it_and_a_refusal_breaks_the_row() {
    let (circuit, health) = circuit(POLICY);
    let pass = circuit.admit().await;
    for _ in 1..FAILURES_TO_OPEN {
        assert!(!circuit.note(&pass, &busy(), 0.5));
    }
    assert!(!circuit.note(&pass, &refused(), 0.5));
    for _ in 1..FAILURES_TO_OPEN {
        assert!(!circuit.note(&pass, &busy(), 0.5));
        assert!(circuit.is_valid(&pass));
    }
    assert!(health.not_ready().is_empty());
    assert!(circuit.note(&pass, &busy(), 0.5));
    assert!(!circuit.is_valid(&pass));
    let reasons = health.not_ready();
    assert_eq!(reasons["action notify"], "its target keeps failing: 503");
    assert!(circuit.admit().now_or_never().is_none());
}

#[tokio::test]
async fn a_target_that_cannot_be_reached_opens_it_at_once() {
    let (circuit, health) = circuit(POLICY);
    let pass = circuit.admit().await;
    assert!(circuit.note(&pass, &nobody(), 0.5));
    assert!(health.not_ready()["action notify"].contains("cannot be reached"));
}

#[tokio::test]
async fn one_at_a_time_tries_while_it_is_open_and_success_lets_all_in() {
    let (circuit, health) = circuit("{initialBackoff: 1ms, maxBackoff: 1ms}");
    let pass = circuit.admit().await;
    assert!(circuit.note(&pass, &nobody(), 0.5));
    let probe = circuit.admit().await;
    assert!(circuit.is_valid(&probe));
    let mut next = Box::pin(circuit.admit());
    assert!((&mut next).now_or_never().is_none());

    // It fails: the next in line tries.
    assert!(circuit.note(&probe, &busy(), 0.5));
    drop(probe);
    let probe = next.await;
    let waiting = {
        let circuit = Arc::clone(&circuit);
        tokio::spawn(async move { circuit.admit().await.probe.is_none() })
    };
    tokio::task::yield_now().await;
    assert!(!circuit.note(&probe, &Ok(()), 0.5));
    drop(probe);
    assert!(waiting.await.unwrap(), "nobody probes a closed circuit");
    assert!(health.not_ready().is_empty());
}

#[tokio::test]
async fn a_success_that_was_under_way_ends_the_pause() {
    let (circuit, _health) = circuit(POLICY);
    let slow = circuit.admit().await;
    let pass = circuit.admit().await;
    assert!(circuit.note(&pass, &nobody(), 0.5));
    let mut waiting = Box::pin(circuit.admit());
    assert!((&mut waiting).now_or_never().is_none());
    assert!(!circuit.note(&slow, &Ok(()), 0.5));
    waiting.await;
}

#[tokio::test]
async fn what_the_target_asks_for_is_the_least_pause() {
    let (circuit, _health) = circuit("{initialBackoff: 1ms, maxBackoff: 1ms}");
    let pass = circuit.admit().await;
    let busy = |retry_after| {
        Err(ActionError::Retryable {
            reason: "429".to_owned(),
            retry_after: Some(retry_after),
        })
    };
    for _ in 0..FAILURES_TO_OPEN {
        circuit.note(&pass, &busy(Duration::from_secs(60)), 0.5);
    }
    let pause = circuit.pause().unwrap();
    assert!(pause > Duration::from_secs(50), "{pause:?}");

    let probe = Permit {
        probe: Some(circuit.line.try_lock().unwrap()),
    };
    circuit.note(&probe, &busy(Duration::from_secs(1_000_000)), 0.5);
    assert!(circuit.pause().unwrap() <= LONGEST_PAUSE);
}
