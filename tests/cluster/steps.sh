# shellcheck shell=bash
#
# Shared by `e2e` and `page`: steps, waiting, and a report of a failed step. Sourced.

NAMESPACE=${SUNDOWN_E2E_NAMESPACE:-sundown-e2e}
WORK=$(mktemp --directory)
WAIT_TIMEOUT=180s
WAIT_SECONDS=120

k() { kubectl --namespace "$NAMESPACE" "$@"; }

# Runs a step and says how long it took; `set -e` ends the run at the first that fails.
step() {
  STEP=$1
  local started=$SECONDS begun
  begun=$(date +%s%3N)
  echo "== $STEP"
  "${@:2}"
  # After each step: the next may replace the pods.
  check_restarts
  echo "== $STEP: $((SECONDS - started)) s"
  printf '%s\t%s\t%s\n' "$begun" "$(date +%s%3N)" "$STEP" >>"$WORK/steps"
}

# Takes the exit code of the run, and how to clean up behind it; 75 (EX_TEMPFAIL) if it has not come as
# far as a chart that is installed.
finish() {
  if (($1 != 0)); then
    echo "== ${STEP-}: FAILED (exit code $1); what the cluster was like:" >&2
    describe >&2 || true
  fi
  rm -rf "$WORK"
  [[ -n ${SUNDOWN_E2E_KEEP-} ]] || "$2"
  if (($1 != 0)) && [[ -z ${INSTALLED-} ]]; then exit 75; fi
}

# The state of the cluster, for the log of a failed run.
describe() {
  k get pods,kafkatopics,kafkausers --output wide
  k get events --sort-by=.lastTimestamp | tail -n 30
  local pod
  for pod in $(k get pods --output name); do
    echo "--- $pod"
    k logs --all-containers --tail=25 "$pod"
    k logs --all-containers --tail=10 --previous "$pod" 2>/dev/null || true
  done
}

# No container may be started again, unless MAY_END_THEMSELVES: a client of librdkafka that has metadata
# without brokers from a broker that starts never connects again (confluentinc/librdkafka#5301), and a
# member of a group ends with its process then.
check_restarts() {
  local restarts pod
  restarts=$(k get pods --selector app.kubernetes.io/instance=sundown \
    --output jsonpath='{range .items[*]}{.metadata.name}{range .status.containerStatuses[*]} {.restartCount}{end}{"\n"}{end}')
  while read -r pod _; do
    [[ -n ${MAY_END_THEMSELVES-} ]] && k logs --previous --tail=1 "$pod" | grep 'no broker has answered' ||
      fail "a container of $pod was started again"
  done < <(grep ' [1-9]' <<<"$restarts")
}

await_rollout() { k rollout status "deployment/sundown-$1" --timeout="$WAIT_TIMEOUT"; }

# Whether a policy, as its status has it, has so many live sessions.
sessions_under() { [[ $(k get sp "$1" --output jsonpath='{.status.sessions}') == "$2" ]]; }

# Runs a command each second until it succeeds.
wait_until() {
  local what=$1 end=$((SECONDS + WAIT_SECONDS))
  shift
  until "$@" >"$WORK/output" 2>&1; do
    ((SECONDS < end)) || { cat "$WORK/output" >&2 && fail "waited in vain for $what"; }
    sleep 1
  done
}

fail() {
  echo "${0##*/}: $1" >&2
  exit 1
}
