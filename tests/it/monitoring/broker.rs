//! An installation that loses its brokers.

use super::prometheus::Prometheus;
use super::scene::{Provoked, Scene};
use crate::support::installation::{Installation, SHORT};
use crate::support::kafka::Kafka;

pub fn play(prometheus: &Prometheus) -> Provoked {
    let kafka = Kafka::own(1);
    let installation = Installation::new(&kafka, SHORT);
    let tracker = installation.tracker(&[]);
    tracker.await_ready();
    let mut scene = Scene::new(prometheus, "broker");
    scene.scrape(&[("tracker-0", &tracker)]);
    scene.await_calm();
    scene.provoke(["SundownKafkaUnreachable"], |_| kafka.kill(1));
    scene.provoked()
}
