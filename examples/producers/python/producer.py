"""Writes a login, an activity and a logout of each session.

    pip install -r requirements.txt
    python3 producer.py localhost:9092 session_logs user-1 session-1 session-2
"""

import json
import sys
import time

from confluent_kafka import Producer

bootstrap, topic, user, *sessions = sys.argv[1:]
producer = Producer(
    {
        "bootstrap.servers": bootstrap,
        "enable.idempotence": True,
        # librdkafka's default hashes keys by CRC32; trackers expect the partitioner of the Java client.
        "partitioner": "murmur2_random",
    }
)
failures = []


def on_delivery(error, _record):
    if error is not None:
        failures.append(error)


for session in sessions:
    for kind in ("login", "activity", "logout"):
        event = {
            "event": kind,
            "session_id": session,
            "user_id": user,
            "activity_timestamp": time.time_ns() // 1_000_000,
        }
        producer.produce(topic, key=session, value=json.dumps(event), on_delivery=on_delivery)
        producer.poll(0)

pending = producer.flush(30)
if failures or pending:
    sys.exit(f"{len(failures) + pending} events were not written: {failures[:1]}")
