{{- define "sundown.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Name of the release's objects; at most 50 characters, which leaves room for the role. */}}
{{- define "sundown.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "sundown.name" . -}}
{{- if regexMatch "^[0-9]" .Release.Name -}}
{{- /* The name of a Service begins with a letter. */ -}}
{{- printf "%s-%s" $name .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
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
app.kubernetes.io/name: {{ include "sundown.name" .root | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .role }}
{{- end -}}

{{/* Labels of an object without a role. */}}
{{- define "sundown.commonLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
app.kubernetes.io/name: {{ include "sundown.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: sundown
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
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
{{- $repository := default "sundown" .Values.image.repository -}}
{{- with default (dig "imageRegistry" "" (default dict .Values.global)) .Values.image.registry -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) $repository -}}
{{- end -}}
{{- if .Values.image.digest -}}
{{ $repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ $repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{/* Pull secrets of the chart and of `global`, as a list of references. Takes root. */}}
{{- define "sundown.imagePullSecrets" -}}
{{- $found := list -}}
{{- range concat (default list .Values.imagePullSecrets) (default list (dig "imagePullSecrets" list (default dict .Values.global))) -}}
{{- $found = append $found (dict "name" (ternary . (get (ternary dict . (kindIs "string" .)) "name") (kindIs "string" .))) -}}
{{- end -}}
{{- with uniq $found -}}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{/* Service account of a role. Takes root, role. */}}
{{- define "sundown.serviceAccount" -}}
{{- $account := include "sundown.pod" . | fromJson | dig "serviceAccount" dict -}}
{{- default (include "sundown.role" .) $account.name -}}
{{- end -}}

{{/* A number without an exponent: Helm parses numbers of values files as floating point. */}}
{{- define "sundown.digits" -}}
{{- if kindIs "float64" . -}}
{{- if eq (floor .) . -}}{{ printf "%.0f" . }}{{- else -}}{{ . | toJson }}{{- end -}}
{{- else -}}{{ . }}{{- end -}}
{{- end -}}

{{/* The roles that run, as a JSON list under `roles`. */}}
{{- define "sundown.roles" -}}
{{- $roles := list "tracker" "handler" -}}
{{- if .Values.ingest.enabled -}}
{{- $roles = append $roles "ingest" -}}
{{- end -}}
{{- if .Values.controller.enabled -}}
{{- $roles = append $roles "controller" -}}
{{- end -}}
{{- if .Values.console.enabled -}}
{{- $roles = append $roles "console" -}}
{{- end -}}
{{- dict "roles" $roles | toJson -}}
{{- end -}}

{{/* Non-empty if users can log in to the console. Takes root. */}}
{{- define "sundown.consoleLogin" -}}
{{- with .Values.console -}}
{{- if or .authTokenSecret (dig "issuer" "" (default dict .oidc)) -}}
true
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Port of a URL. */}}
{{- define "sundown.urlPort" -}}
{{- $url := urlParse . -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- default (ternary "443" "80" (eq $url.scheme "https")) $port -}}
{{- end -}}
