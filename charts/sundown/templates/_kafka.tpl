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
The secrets to mount, as JSON: ca {secret, key}, client {secret, cert, key}, password {secret, key, mechanism, username,
usernameKey}, oauth {secret, key, clientId, clientIdKey} and oauth-ca {secret, key}; absent entries are omitted. A ca without a key is the whole secret. Takes root, role.
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
{{- $_ := set $found "password" (dict "secret" $user "key" "password" "mechanism" "SCRAM-SHA-512" "username" $user "usernameKey" "") -}}
{{- end -}}
{{- else -}}
{{- if $kafka.tls.caSecret -}}
{{- $_ := set $found "ca" (dict "secret" $kafka.tls.caSecret "key" $kafka.tls.caKey) -}}
{{- end -}}
{{- if $kafka.tls.clientSecret -}}
{{- $_ := set $found "client" (dict "secret" $kafka.tls.clientSecret "cert" $kafka.tls.certKey "key" $kafka.tls.keyKey) -}}
{{- end -}}
{{- if and $kafka.sasl.mechanism (ne $kafka.sasl.mechanism "OAUTHBEARER") -}}
{{- $_ := set $found "password" (dict "secret" $kafka.sasl.passwordSecret "key" $kafka.sasl.passwordKey "mechanism" $kafka.sasl.mechanism "username" $kafka.sasl.username "usernameKey" $kafka.sasl.usernameKey) -}}
{{- end -}}
{{- end -}}
{{- if include "sundown.usesOAuth" .root -}}
{{- $oauth := $kafka.sasl.oauth -}}
{{- $client := dict "secret" $oauth.secret "key" $oauth.secretKey "clientId" $oauth.clientId "clientIdKey" $oauth.clientIdKey -}}
{{- if $kafka.strimzi.cluster -}}
{{- /* Each role is a client, with the name of its KafkaUser. */ -}}
{{- $_ := set $client "secret" (default (include "sundown.role" .) $oauth.secret) -}}
{{- if not $oauth.clientIdKey -}}
{{- $_ := set $client "clientId" (default (include "sundown.role" .) $oauth.clientId) -}}
{{- end -}}
{{- end -}}
{{- $_ := set $found "oauth" $client -}}
{{- if $oauth.caSecret -}}
{{- $_ := set $found "oauth-ca" (dict "secret" $oauth.caSecret "key" $oauth.caKey) -}}
{{- end -}}
{{- end -}}
{{- $found | toJson -}}
{{- end -}}

{{/* Non-empty if clients authenticate with tokens. Takes root. */}}
{{- define "sundown.usesOAuth" -}}
{{- with .Values.kafka -}}
{{- if eq (ternary (eq .strimzi.authentication "oauth") (eq .sasl.mechanism "OAUTHBEARER") (not (empty .strimzi.cluster))) true -}}
true
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Port of the token endpoint; empty without one. Takes root. */}}
{{- define "sundown.tokenPort" -}}
{{- if include "sundown.usesOAuth" . -}}
{{- include "sundown.urlPort" .Values.kafka.sasl.oauth.tokenUrl -}}
{{- end -}}
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
{{- if .usernameKey }}
- name: SUNDOWN_SASL_USERNAME_FILE
  value: /etc/sundown/kafka/password/username
{{- else }}
- name: SUNDOWN_SASL_USERNAME
  value: {{ .username | quote }}
{{- end }}
- name: SUNDOWN_SASL_PASSWORD_FILE
  value: /etc/sundown/kafka/password/password
{{- end }}
{{- with $credentials.oauth }}
- name: SUNDOWN_SASL_MECHANISM
  value: OAUTHBEARER
- name: SUNDOWN_OAUTH_TOKEN_URL
  value: {{ $kafka.sasl.oauth.tokenUrl | quote }}
{{- if .clientIdKey }}
- name: SUNDOWN_OAUTH_CLIENT_ID_FILE
  value: /etc/sundown/kafka/oauth/client-id
{{- else }}
- name: SUNDOWN_OAUTH_CLIENT_ID
  value: {{ .clientId | quote }}
{{- end }}
- name: SUNDOWN_OAUTH_CLIENT_SECRET_FILE
  value: /etc/sundown/kafka/oauth/client-secret
{{- with $kafka.sasl.oauth.scope }}
- name: SUNDOWN_OAUTH_SCOPE
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- with index $credentials "oauth-ca" }}
- name: SUNDOWN_OAUTH_CA_FILE
  value: /etc/sundown/kafka/oauth-ca{{ with .key }}/ca.crt{{ end }}
{{- end }}
{{- if $kafka.secretProperties }}
- name: SUNDOWN_KAFKA_PROPERTY_FILES
  value: {{ include "sundown.propertyFiles" $kafka.secretProperties | quote }}
{{- end }}
{{- end -}}

{{/* The files of secret properties as `key=file;key=file`. */}}
{{- define "sundown.propertyFiles" -}}
{{- $pairs := list -}}
{{- range $property, $_ := . -}}
{{- $pairs = append $pairs (printf "%s=/etc/sundown/kafka/properties/%s" $property $property) -}}
{{- end -}}
{{- join ";" $pairs -}}
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
{{- if .root.Values.kafka.secretProperties }}
- name: kafka-properties
  mountPath: /etc/sundown/kafka/properties
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
    items: [{key: {{ .key | quote }}, path: password}{{ with .usernameKey }}, {key: {{ . | quote }}, path: username}{{ end }}]
{{- end }}
{{- with $credentials.oauth }}
- name: kafka-oauth
  secret:
    secretName: {{ .secret | quote }}
    items: [{key: {{ .key | quote }}, path: client-secret}{{ with .clientIdKey }}, {key: {{ . | quote }}, path: client-id}{{ end }}]
{{- end }}
{{- with index $credentials "oauth-ca" }}
- name: kafka-oauth-ca
  secret:
    secretName: {{ .secret | quote }}
    {{- with .key }}
    items: [{key: {{ . | quote }}, path: ca.crt}]
    {{- end }}
{{- end }}
{{- with .root.Values.kafka.secretProperties }}
- name: kafka-properties
  projected:
    sources:
      {{- range $property, $source := . }}
      - secret: {name: {{ $source.secret | quote }}, items: [{key: {{ $source.key | quote }}, path: {{ $property | quote }}}]}
      {{- end }}
{{- end }}
{{- end -}}

{{/* Whether the chart makes KafkaUsers: the certificates or passwords of its pods, or their permissions. */}}
{{- define "sundown.kafkaUsers" -}}
{{- with .Values.kafka.strimzi -}}
{{- if and .cluster .users.create (ne .authentication "none") (ne (list .authentication .authorization | join " ") "oauth none") }}true{{ end -}}
{{- end -}}
{{- end -}}

{{/* Whether the chart makes resources of Strimzi. */}}
{{- define "sundown.strimziResources" -}}
{{- if or (include "sundown.kafkaUsers" .) (and .Values.kafka.strimzi.cluster .Values.kafka.strimzi.topics.create) }}true{{ end -}}
{{- end -}}
