{{/*
Kafka connection of the pods. Secrets are mounted as files and passed by path, so that their contents
appear neither in the pod specification nor in the process list.
*/}}

{{/* Bootstrap servers. */}}
{{- define "sundown.bootstrap" -}}
{{- with .Values.kafka -}}
{{- if .strimzi.cluster -}}
{{- printf "%s-kafka-bootstrap.%s.svc:%d" .strimzi.cluster $.Release.Namespace (int .strimzi.port) -}}
{{- else -}}
{{- required "kafka.bootstrapServers is empty: name your brokers (host:port,…), or a Strimzi cluster with kafka.strimzi.cluster" .bootstrapServers -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
The secrets to mount, as JSON: ca {secret, key}, client {secret, cert, key} and
password {secret, key, mechanism, username}; absent entries are omitted. A ca without a key is the whole secret. Takes root, role.
*/}}
{{- define "sundown.credentials" -}}
{{- $kafka := .root.Values.kafka -}}
{{- $found := dict -}}
{{- if $kafka.strimzi.cluster -}}
{{- $user := include "sundown.role" . -}}
{{- if or $kafka.strimzi.encrypted (eq $kafka.strimzi.authentication "tls") -}}
{{- $_ := set $found "ca" (dict "secret" (printf "%s-cluster-ca-cert" $kafka.strimzi.cluster)) -}}
{{- end -}}
{{- if eq $kafka.strimzi.authentication "tls" -}}
{{- $_ := set $found "client" (dict "secret" $user "cert" "user.crt" "key" "user.key") -}}
{{- else if eq $kafka.strimzi.authentication "scram-sha-512" -}}
{{- $_ := set $found "password" (dict "secret" $user "key" "password" "mechanism" "SCRAM-SHA-512" "username" $user) -}}
{{- end -}}
{{- else -}}
{{- if $kafka.tls.caSecret -}}
{{- $_ := set $found "ca" (dict "secret" $kafka.tls.caSecret "key" $kafka.tls.caKey) -}}
{{- end -}}
{{- if $kafka.tls.clientSecret -}}
{{- $_ := set $found "client" (dict "secret" $kafka.tls.clientSecret "cert" $kafka.tls.certKey "key" $kafka.tls.keyKey) -}}
{{- end -}}
{{- if $kafka.sasl.mechanism -}}
{{- $_ := set $found "password" (dict "secret" $kafka.sasl.passwordSecret "key" $kafka.sasl.passwordKey "mechanism" $kafka.sasl.mechanism "username" $kafka.sasl.username) -}}
{{- end -}}
{{- end -}}
{{- $found | toJson -}}
{{- end -}}

{{/* Environment variables. Takes root, role. */}}
{{- define "sundown.kafkaEnv" -}}
{{- $kafka := .root.Values.kafka -}}
{{- $credentials := include "sundown.credentials" . | fromJson -}}
- name: SUNDOWN_BOOTSTRAP_SERVERS
  value: {{ include "sundown.bootstrap" .root | quote }}
{{- with $kafka.topicPrefix }}
- name: SUNDOWN_TOPIC_PREFIX
  value: {{ . | quote }}
{{- end }}
{{- if $kafka.properties }}
- name: SUNDOWN_KAFKA_PROPERTIES
  value: {{ include "sundown.properties" $kafka.properties | quote }}
{{- end }}
{{- if and $kafka.tls.enabled (not $kafka.strimzi.cluster) }}
- name: SUNDOWN_TLS
  value: "true"
{{- end }}
{{- if $credentials.ca }}
- name: SUNDOWN_TLS_CA_FILE
  # A directory, of which every certificate is trusted: while an authority is being replaced, brokers
  # present certificates of the old and of the new one.
  value: /etc/sundown/kafka/ca{{ with $credentials.ca.key }}/ca.crt{{ end }}
{{- end }}
{{- if $credentials.client }}
- name: SUNDOWN_TLS_CERT_FILE
  value: /etc/sundown/kafka/client/tls.crt
- name: SUNDOWN_TLS_KEY_FILE
  value: /etc/sundown/kafka/client/tls.key
{{- end }}
{{- with $credentials.password }}
- name: SUNDOWN_SASL_MECHANISM
  value: {{ .mechanism | quote }}
- name: SUNDOWN_SASL_USERNAME
  value: {{ .username | quote }}
- name: SUNDOWN_SASL_PASSWORD_FILE
  value: /etc/sundown/kafka/password/password
{{- end }}
{{- end -}}

{{/* librdkafka's properties as `key=value;key=value`, in the order of their names. */}}
{{- define "sundown.properties" -}}
{{- $pairs := list -}}
{{- range $key, $value := . -}}
{{- $pairs = append $pairs (printf "%s=%s" $key (include "sundown.digits" $value)) -}}
{{- end -}}
{{- join ";" $pairs -}}
{{- end -}}

{{/* Mounts. Takes root, role. */}}
{{- define "sundown.kafkaMounts" -}}
{{- range $name, $_ := include "sundown.credentials" . | fromJson }}
- name: kafka-{{ $name }}
  mountPath: /etc/sundown/kafka/{{ $name }}
  readOnly: true
{{- end }}
{{- end -}}

{{/* Volumes. Takes root, role. */}}
{{- define "sundown.kafkaVolumes" -}}
{{- $credentials := include "sundown.credentials" . | fromJson -}}
{{- with $credentials.ca }}
- name: kafka-ca
  secret:
    secretName: {{ .secret | quote }}
    {{- with .key }}
    items: [{key: {{ . | quote }}, path: ca.crt}]
    {{- end }}
{{- end }}
{{- with $credentials.client }}
- name: kafka-client
  secret:
    secretName: {{ .secret | quote }}
    items: [{key: {{ .cert | quote }}, path: tls.crt}, {key: {{ .key | quote }}, path: tls.key}]
{{- end }}
{{- with $credentials.password }}
- name: kafka-password
  secret:
    secretName: {{ .secret | quote }}
    items: [{key: {{ .key | quote }}, path: password}]
{{- end }}
{{- end -}}
