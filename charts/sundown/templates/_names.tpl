{{- define "sundown.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Name of the release's objects; at most 50 characters, which leaves room for the role. */}}
{{- define "sundown.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "sundown.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Name of a role's objects. Takes root, role. */}}
{{- define "sundown.role" -}}
{{- printf "%s-%s" (include "sundown.fullname" .root) .role -}}
{{- end -}}

{{/* Selector labels of a role's pods. Takes root, role. */}}
{{- define "sundown.selector" -}}
app.kubernetes.io/name: {{ include "sundown.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end -}}

{{/* Labels of an object without a role. */}}
{{- define "sundown.commonLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ include "sundown.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: sundown
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels of a role's object. Takes root, role. */}}
{{- define "sundown.labels" -}}
{{ include "sundown.commonLabels" .root }}
app.kubernetes.io/component: {{ .role }}
{{- end -}}

{{- define "sundown.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{/* The roles that run, as a JSON list under `roles`. */}}
{{- define "sundown.roles" -}}
{{- $roles := list "tracker" "handler" -}}
{{- if .Values.controller.enabled -}}
{{- $roles = append $roles "controller" -}}
{{- end -}}
{{- if .Values.console.enabled -}}
{{- $roles = append $roles "console" -}}
{{- end -}}
{{- dict "roles" $roles | toJson -}}
{{- end -}}
