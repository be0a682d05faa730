{{/* The most replicas that have anything to do: one a partition. Takes root, role. */}}
{{- define "sundown.maxReplicas" -}}
{{- $asked := (index .root.Values.autoscaling .role).maxReplicas -}}
{{- $strimzi := .root.Values.kafka.strimzi -}}
{{- $own := and $strimzi.cluster $strimzi.topics.create -}}
{{- min (int $asked) (int (ternary $strimzi.topics.partitions .root.Values.autoscaling.partitions (not (empty $own)))) -}}
{{- end -}}

{{/* The fewest: what `replicas` says, at least one. Takes root, role. */}}
{{- define "sundown.minReplicas" -}}
{{- min (max 1 (int (index .root.Values .role).replicas)) (int (include "sundown.maxReplicas" .)) -}}
{{- end -}}

{{/* Each step rebalances the group: quick up, slow down, one at a time. Takes root. */}}
{{- define "sundown.scalingBehavior" -}}
scaleUp:
  stabilizationWindowSeconds: 0
  policies: [{type: Pods, value: 2, periodSeconds: 30}]
scaleDown:
  stabilizationWindowSeconds: {{ .Values.autoscaling.stabilizationSeconds }}
  policies: [{type: Pods, value: 1, periodSeconds: 60}]
{{- end -}}
