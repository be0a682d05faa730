{{/* Contradictions between values, which the schema would only report as a rule that failed. */}}
{{- define "sundown.validate" -}}
{{- with .Values.kafka -}}
{{- if and .strimzi.cluster .bootstrapServers -}}
{{- fail "kafka.bootstrapServers and kafka.strimzi.cluster are both set: the chart finds the brokers of a Strimzi cluster by itself; empty one of them" -}}
{{- end -}}
{{- if and .strimzi.cluster (or .tls.enabled .tls.caSecret .tls.clientSecret .sasl.mechanism) -}}
{{- fail "kafka.tls and kafka.sasl do not go with kafka.strimzi.cluster: Strimzi's secrets are mounted by themselves; choose with kafka.strimzi.authentication" -}}
{{- end -}}
{{- if and .strimzi.cluster (eq .strimzi.authentication "tls") (not .strimzi.encrypted) -}}
{{- fail "kafka.strimzi.authentication is tls, but kafka.strimzi.encrypted is false: mutual TLS needs an encrypted listener" -}}
{{- end -}}
{{- if and .sasl.mechanism (not (and .sasl.username .sasl.passwordSecret)) -}}
{{- fail "kafka.sasl.mechanism is set: kafka.sasl.username and kafka.sasl.passwordSecret have to be, too" -}}
{{- end -}}
{{- if and .sasl.username (not .sasl.mechanism) -}}
{{- fail "kafka.sasl.username is set, but kafka.sasl.mechanism is not: set it to PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.handler.actions .Values.handler.actionsConfigMap -}}
{{- fail "handler.actions and handler.actionsConfigMap are both set: choose one" -}}
{{- end -}}
{{- if and .Values.monitoring.podMonitor.enabled .Values.monitoring.serviceMonitor.enabled -}}
{{- fail "monitoring.podMonitor.enabled and monitoring.serviceMonitor.enabled are both set: every process would be scraped, and counted, twice; choose one" -}}
{{- end -}}
{{- if and .Values.controller.allNamespaces .Values.controller.namespaces -}}
{{- fail "controller.allNamespaces and controller.namespaces are both set: choose one" -}}
{{- end -}}
{{- end -}}
