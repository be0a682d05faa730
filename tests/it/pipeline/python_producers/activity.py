"""Writes activity of sessions for a while. A third of the sessions is away at any time.

    activity.py BOOTSTRAP TOPIC DISTRIBUTION SESSIONS START SECONDS AWAY SEED

START is in epoch milliseconds, AWAY in seconds. DISTRIBUTION is how events get their partition: "default"
(librdkafka's hash of the key), "keyless" or "murmur2" (that of the Java client); the last one logs out, too.
"""

import json
import random
import sys
import time

from confluent_kafka import Producer

RATE = 120

bootstrap, topic, distribution, *numbers = sys.argv[1:]
sessions, start, seconds, away, seed = map(int, numbers)
config = {"bootstrap.servers": bootstrap, "topic.metadata.refresh.interval.ms": 5000}
if distribution == "murmur2":
    config["partitioner"] = "murmur2_random"
producer = Producer(config)
rng = random.Random(seed)
failures = []


def on_delivery(error, _record):
    if error is not None:
        failures.append(error)


def write(session, kind, at):
    event = {
        "event": kind,
        "session_id": f"{topic}-{session}",
        "user_id": f"user-{session % 100}",
        "activity_timestamp": at,
    }
    key = None if distribution == "keyless" else event["session_id"]
    producer.produce(topic, key=key, value=json.dumps(event), on_delivery=on_delivery)
    producer.poll(0)


logged_out = set()
for number in range(seconds * RATE):
    due = start + number * 1000 // RATE
    time.sleep(max(0, due / 1000 - time.time()))
    now = time.time_ns() // 1_000_000
    period, into = divmod(now - start, away * 1000)
    session = rng.randrange(sessions)
    if (session + period) % 3 == 0:
        continue
    # Once for each session in twenty-four, in the middle of a period.
    if distribution == "murmur2" and session % 24 == 5 and into > away * 400 and session not in logged_out:
        logged_out.add(session)
        write(session, "logout", now)
    else:
        write(session, "login" if rng.random() < 0.02 else "activity", now)

pending = producer.flush(60)
if failures or pending:
    sys.exit(f"{len(failures) + pending} events were not written: {failures[:1]}")
