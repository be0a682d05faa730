# shellcheck shell=bash
#
# Where `e2e` and `page` take place: images, a namespace, a Kafka in it, and what is in its topics. Sourced,
# after steps.sh.

load_images() {
  local folder=${SUNDOWN_E2E_IMAGES-} loader
  if [[ -z $folder ]]; then
    folder=$WORK/images
    "$HERE/images" "$folder"
  fi
  [[ -n ${SUNDOWN_E2E_LOAD-} ]] || return 0
  read -ra loader <<<"$SUNDOWN_E2E_LOAD"
  "${loader[@]}" "$folder"/{sundown,kafka,prometheus}.tar
}

make_namespace() {
  if [[ -z ${SUNDOWN_E2E_STRIMZI-} ]]; then
    clean
    kubectl create namespace "$NAMESPACE"
  fi
  kubectl label --overwrite namespace "$NAMESPACE" pod-security.kubernetes.io/enforce=restricted
  if [[ -n ${SUNDOWN_E2E_CRDS-} ]]; then
    kubectl apply --server-side --filename "$SUNDOWN_E2E_CRDS" >/dev/null
    wait_until "Strimzi's kinds" k get kafkatopics,kafkausers
  fi
  wait_until "a service account" k get serviceaccount default
}

clean() {
  # While the operator runs, which removes the finalizers.
  k delete kafkatopics --all --timeout=30s >/dev/null 2>&1 || release_topics
  kubectl delete namespace "$NAMESPACE" --wait=false --ignore-not-found >/dev/null
  kubectl delete persistentvolume "$NAMESPACE-kafka" --wait=false --ignore-not-found >/dev/null 2>&1 || true
  kubectl wait --for=delete "namespace/$NAMESPACE" --timeout="$WAIT_TIMEOUT" >/dev/null || true
}

# The operator no longer runs.
release_topics() {
  local topic
  for topic in $(k get kafkatopics --output name 2>/dev/null); do
    k patch "$topic" --type merge --patch '{"metadata":{"finalizers":null}}' >/dev/null || true
  done
}

start_kafka() {
  if [[ -z ${SUNDOWN_E2E_STRIMZI-} ]]; then
    make_authorities
    make_volume
    k apply --filename "$HERE/kafka.yaml" >/dev/null
    k rollout status statefulset/my-cluster-dual --timeout="$WAIT_TIMEOUT"
  fi
  # Reads the topics in the end.
  k apply --filename "$HERE/reader.yaml" >/dev/null
}

# The secrets of a Strimzi cluster: the authority of the brokers, that of the users, the broker's own
# certificate.
make_authorities() {
  local authority broker=my-cluster-kafka-brokers.$NAMESPACE.svc
  for authority in cluster clients; do
    certificate "$authority-ca" "/O=io.strimzi/CN=$authority-ca" -x509 -addext basicConstraints=critical,CA:TRUE
    k create secret generic "my-cluster-$authority-ca-cert" --from-file=ca.crt="$WORK/$authority-ca.crt"
  done
  k create secret generic my-cluster-clients-ca --from-file=ca.key="$WORK/clients-ca.key"
  certificate broker "/O=io.strimzi/CN=my-cluster-kafka" -x509 -CA "$WORK/cluster-ca.crt" -CAkey "$WORK/cluster-ca.key" \
    -addext basicConstraints=critical,CA:FALSE -addext \
    "subjectAltName=DNS:my-cluster-dual-0.$broker,DNS:my-cluster-kafka-bootstrap.$NAMESPACE.svc,DNS:my-cluster-kafka-bootstrap"
  k create secret generic my-cluster-dual-0 --from-file=tls.crt="$WORK/broker.crt" --from-file=tls.key="$WORK/broker.key"
}

certificate() {
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "$2" \
    -keyout "$WORK/$1.key" -out "$WORK/$1.crt" "${@:3}" 2>"$WORK/openssl" || { cat "$WORK/openssl" >&2 && return 1; }
}

# The broker's data outlives its pod. Where no storage class makes volumes, a folder of the node does,
# which a privileged pod must hand over to the broker's user: `restricted` pods may not.
make_volume() {
  if ! kubectl get storageclass --output yaml | grep --quiet 'is-default-class: "true"'; then
    sed "s/@NAMESPACE@/$NAMESPACE/" "$HERE/volume.yaml" | kubectl apply --filename - >/dev/null
    kubectl wait --for=jsonpath='{.status.phase}'=Succeeded --timeout=60s --namespace default "pod/$NAMESPACE-volume"
    kubectl delete pod --namespace default "$NAMESPACE-volume" --wait=false >/dev/null
  fi
  k apply --filename - <<EOF >/dev/null
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: kafka-data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 2Gi}}}
EOF
}

# Reads both topics from beginning to end, and holds them against what a test of tests/it/pipeline/ledger.rs
# expects: its name, and variables for it.
hold_to_account() {
  dump session_logs &
  local events=$!
  dump expired_sessions
  wait "$events"
  env "${@:2}" SUNDOWN_E2E_EVENTS="$WORK/session_logs" SUNDOWN_E2E_ENDINGS="$WORK/expired_sessions" \
    cargo test --manifest-path "$ROOT/Cargo.toml" --quiet --test it -- --ignored --exact "pipeline::ledger::$1" --nocapture
}

dump() {
  k exec reader -- dump my-cluster-kafka-bootstrap:9093 "$1" >"$WORK/$1"
  echo "$1: $(wc --lines <"$WORK/$1") records"
}
