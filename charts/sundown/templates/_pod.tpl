{{/*
What the pods of a role have in common with all others: the values under `pods`, replaced by those
that the role sets itself; labels and annotations are merged. As JSON. Takes root, role.
*/}}
{{- define "sundown.pod" -}}
{{- $all := default dict .root.Values.pods -}}
{{- $own := default dict (get .root.Values .role) -}}
{{- $found := dict -}}
{{- range list "annotations" "podAnnotations" "podLabels" "startupProbe" "livenessProbe" "readinessProbe" "serviceAccount" -}}
{{- $_ := set $found . (merge (dict) (default dict (get $own .)) (default dict (get $all .))) -}}
{{- end -}}
{{- range list "extraEnv" "extraEnvFrom" "extraVolumes" "extraVolumeMounts" "initContainers" "sidecars" "tolerations" "topologySpreadConstraints" "hostAliases" -}}
{{- $_ := set $found . (default list (ternary (get $own .) (get $all .) (and (hasKey $own .) (not (kindIs "invalid" (get $own .)))))) -}}
{{- end -}}
{{- range list "strategy" "dnsConfig" "nodeSelector" "affinity" "podSecurityContext" "securityContext" -}}
{{- $_ := set $found . (default dict (ternary (get $own .) (get $all .) (and (hasKey $own .) (not (kindIs "invalid" (get $own .)))))) -}}
{{- end -}}
{{- range list "dnsPolicy" "priorityClassName" "runtimeClassName" "schedulerName" -}}
{{- $_ := set $found . (default "" (ternary (get $own .) (get $all .) (and (hasKey $own .) (not (kindIs "invalid" (get $own .)))))) -}}
{{- end -}}
{{- if .root.Capabilities.APIVersions.Has "security.openshift.io/v1" -}}
{{- /* OpenShift chooses the ids of each namespace, and refuses others. */ -}}
{{- $_ := set $found "podSecurityContext" (omit $found.podSecurityContext "runAsUser" "runAsGroup" "fsGroup") -}}
{{- $_ := set $found "securityContext" (omit $found.securityContext "runAsUser" "runAsGroup") -}}
{{- end -}}
{{- $found | toJson -}}
{{- end -}}

{{/* Fields of a pod specification that every pod has, the test's included. Takes root, role. */}}
{{- define "sundown.podFields" -}}
{{- $pod := include "sundown.pod" . | fromJson -}}
{{- $found := include "sundown.imagePullSecrets" .root | fromYaml -}}
{{- range $key := list "dnsPolicy" "dnsConfig" "hostAliases" "nodeSelector" "tolerations" "affinity" "priorityClassName" "runtimeClassName" "schedulerName" -}}
{{- with get $pod $key -}}
{{- $_ := set $found $key . -}}
{{- end -}}
{{- end -}}
{{- with $pod.podSecurityContext -}}
{{- $_ := set $found "securityContext" . -}}
{{- end -}}
{{- with $found -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{/* Topology spread constraints of a role's pods. Takes root, role. */}}
{{- define "sundown.topologySpread" -}}
{{- $found := list -}}
{{- range (include "sundown.pod" . | fromJson).topologySpreadConstraints -}}
{{- $own := dict "labelSelector" (dict "matchLabels" (include "sundown.selector" $ | fromYaml)) "matchLabelKeys" (list "pod-template-hash") -}}
{{- $found = append $found (ternary . (merge (deepCopy .) $own) (hasKey . "labelSelector")) -}}
{{- end -}}
{{- $found | toYaml -}}
{{- end -}}
