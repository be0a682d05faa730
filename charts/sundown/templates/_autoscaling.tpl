{{/* Maximum replicas, capped at one per partition; the partitions of sources are unknown. Takes root, role. */}}
{{- define "sundown.maxReplicas" -}}
{{- $asked := (index .root.Values.autoscaling .role).maxReplicas -}}
{{- $strimzi := .root.Values.kafka.strimzi -}}
{{- $own := and $strimzi.cluster $strimzi.topics.create -}}
{{- if eq .role "ingest" -}}
{{- int $asked -}}
{{- else -}}
{{- min (int $asked) (int (ternary $strimzi.topics.partitions .root.Values.autoscaling.partitions (not (empty $own)))) -}}
{{- end -}}
{{- end -}}

{{/* Minimum replicas: `replicas`, at least one. Takes root, role. */}}
{{- define "sundown.minReplicas" -}}
{{- min (max 1 (int (index .root.Values .role).replicas)) (int (include "sundown.maxReplicas" .)) -}}
{{- end -}}

{{/* Each step rebalances the group: scale up fast, scale down slowly, one replica at a time. Takes root. */}}
{{- define "sundown.scalingBehavior" -}}
scaleUp:
  stabilizationWindowSeconds: 0
  policies: [{type: Pods, value: 2, periodSeconds: 30}]
scaleDown:
  stabilizationWindowSeconds: {{ .Values.autoscaling.stabilizationSeconds }}
  policies: [{type: Pods, value: 1, periodSeconds: 60}]
{{- end -}}
