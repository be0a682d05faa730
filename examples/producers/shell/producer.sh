#!/bin/sh
# Writes a login, an activity and a logout of each session, with kcat.
#
#   ./producer.sh localhost:9092 session_logs user-1 session-1 session-2
set -eu
bootstrap=$1 topic=$2 user=$3
shift 3

# Ids go into the JSON as they are: no quotes and backslashes, and no spaces in session ids.
for session in "$@"; do
  for event in login activity logout; do
    # Without a time of its own, an event happened when its record was written.
    printf '%s {"event":"%s","session_id":"%s","user_id":"%s"}\n' "$session" "$event" "$session" "$user"
  done
done |
  kcat -P -b "$bootstrap" -t "$topic" -K ' ' \
    -X topic.partitioner=murmur2_random -X enable.idempotence=true
