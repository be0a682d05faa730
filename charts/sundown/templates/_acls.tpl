{{/* The topics that ingest reads, as far as the values name them. Takes the root. */}}
{{- define "sundown.sourceTopics" -}}
{{- $topics := default list .Values.ingest.sourceTopics -}}
{{- range .Values.ingest.sources -}}
{{- $topics = concat $topics (default list .spec.topics) -}}
{{- end -}}
{{- $topics | uniq | sortAlpha | toJson -}}
{{- end -}}

{{/*
What each role may do in Kafka, and nothing wider. A topic's rules are its name and the
operations; removing any single one makes the role fail.
*/}}
{{- define "sundown.acls" -}}
{{- $prefix := .root.Values.kafka.topicPrefix -}}
{{- /* With logins, the console ends sessions, deals with dead letters and pauses partitions. */ -}}
{{- $console := ternary (list "Read" "Write") (list "Read") (not (empty (include "sundown.consoleLogin" .root))) -}}
{{- $topics := dict
  "tracker" (list
    (dict "name" "session_logs" "operations" (list "Read" "Write" "DescribeConfigs"))
    (dict "name" "session_logs.dlq" "operations" (list "Write"))
    (dict "name" "expired_sessions" "operations" (list "Write"))
    (dict "name" "expiring_sessions" "operations" (list "Write"))
    (dict "name" "sundown.checkpoint" "operations" (list "Read" "Write" "DescribeConfigs"))
    (dict "name" "sundown.policies" "operations" (list "Read" "DescribeConfigs"))
    (dict "name" "sundown.processes" "operations" (list "Write" "DescribeConfigs"))
    (dict "name" "sundown.watermarks" "operations" (list "Read" "Write" "DescribeConfigs"))
  )
  "handler" (list
    (dict "name" "expired_sessions" "operations" (list "Read"))
    (dict "name" "expiring_sessions" "operations" (list "Read"))
    (dict "name" "expired_sessions.dlq" "operations" (list "Write"))
    (dict "name" "sundown.policies" "operations" (list "Read" "DescribeConfigs"))
    (dict "name" "sundown.processes" "operations" (list "Write"))
  )
  "ingest" (list
    (dict "name" "session_logs" "operations" (list "Write"))
    (dict "name" "session_logs.dlq" "operations" (list "Write"))
    (dict "name" "sundown.policies" "operations" (list "Read" "DescribeConfigs"))
    (dict "name" "sundown.processes" "operations" (list "Write" "DescribeConfigs"))
    (dict "name" "sundown.watermarks" "operations" (list "Read" "Write" "DescribeConfigs"))
  )
  "controller" (list
    (dict "name" "session_logs" "operations" (list "Read"))
    (dict "name" "expired_sessions" "operations" (list "Read"))
    (dict "name" "sundown.policies" "operations" (list "Read" "Write" "DescribeConfigs"))
    (dict "name" "sundown.processes" "operations" (list "Read" "Write"))
  )
  "console" (list
    (dict "name" "session_logs" "operations" $console)
    (dict "name" "session_logs.dlq" "operations" $console)
    (dict "name" "expired_sessions" "operations" $console)
    (dict "name" "expired_sessions.dlq" "operations" $console)
    (dict "name" "expiring_sessions" "operations" (list "Read"))
    (dict "name" "sundown.checkpoint" "operations" (list "Read"))
    (dict "name" "sundown.policies" "operations" $console)
    (dict "name" "sundown.processes" "operations" (list "Read" "Write"))
    (dict "name" "sundown.watermarks" "operations" (list "Read"))
    (dict "name" "sundown.audit" "operations" (list "Read" "Write"))
  )
  "check" (list
    (dict "name" "session_logs" "operations" (list "Write"))
    (dict "name" "expired_sessions" "operations" (list "Read"))
  )
-}}
{{- range index $topics .role }}
- resource: {type: topic, name: {{ printf "%s%s" $prefix .name | quote }}, patternType: literal}
  operations: {{ .operations | toJson }}
{{- end }}
{{- if eq .role "tracker" }}
- resource: {type: group, name: {{ printf "%ssundown-tracker" $prefix | quote }}, patternType: literal}
  operations: [Read]
{{- end }}
{{- /* The controller measures the lag of ingest. */}}
{{- if or (eq .role "ingest") (and (eq .role "controller") .root.Values.ingest.enabled) }}
{{- range include "sundown.sourceTopics" .root | fromJsonArray }}
- resource: {type: topic, name: {{ . | quote }}, patternType: literal}
  operations: [Read]
{{- end }}
{{- range default list .root.Values.ingest.sourceTopicPrefixes }}
- resource: {type: topic, name: {{ . | quote }}, patternType: prefix}
  operations: [Read]
{{- end }}
{{- end }}
{{- if eq .role "ingest" }}
# One group for each topic: sundown-ingest.TOPIC.
- resource: {type: group, name: {{ printf "%ssundown-ingest." $prefix | quote }}, patternType: prefix}
  operations: [Read]
# One id for each topic and process, chosen at start.
- resource: {type: transactionalId, name: {{ printf "%ssundown-ingest." $prefix | quote }}, patternType: prefix}
  operations: [Write]
{{- end }}
{{- if eq .role "handler" }}
# Its own group and one of each action: sundown-handler.ACTION, sundown-handler-warnings.ACTION.
- resource: {type: group, name: {{ printf "%ssundown-handler" $prefix | quote }}, patternType: prefix}
  operations: [Read]
{{- end }}
{{- if eq .role "tracker" }}
# One id per process, chosen at start.
- resource: {type: transactionalId, name: {{ printf "%ssundown-tracker-" $prefix | quote }}, patternType: prefix}
  operations: [Write]
{{- end }}
{{- if and (eq .role "console") (include "sundown.consoleLogin" .root) }}
# A dead letter and its marker are committed together.
- resource: {type: transactionalId, name: {{ printf "%ssundown-dlq" $prefix | quote }}, patternType: literal}
  operations: [Write]
{{- end }}
{{- if has .role (list "controller" "console") }}
# Lag measurement of the trackers' group and the handlers' groups.
- resource: {type: group, name: {{ printf "%ssundown-tracker" $prefix | quote }}, patternType: literal}
  operations: [Describe]
- resource: {type: group, name: {{ printf "%ssundown-handler" $prefix | quote }}, patternType: prefix}
  operations: [Describe]
{{- end }}
{{- if and (eq .role "controller") .root.Values.ingest.enabled }}
- resource: {type: group, name: {{ printf "%ssundown-ingest." $prefix | quote }}, patternType: prefix}
  operations: [Describe]
{{- end }}
{{- end -}}
