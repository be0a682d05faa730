{{/*
A role's Deployment. Takes root, role, and what only this role has:
  env, mounts, volumes, ports   lists
  grace                  seconds between SIGTERM and SIGKILL
  checksum               of what it reads at its start only
*/}}
{{- define "sundown.deployment" -}}
{{- $values := index .root.Values .role -}}
{{- $pod := include "sundown.pod" . | fromJson -}}
{{- $autoscaling := dig .role "mode" "none" .root.Values.autoscaling -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "sundown.role" . | quote }}
  namespace: {{ .root.Release.Namespace | quote }}
  labels:
    {{- include "sundown.labels" . | nindent 4 }}
  {{- with $pod.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- /* An autoscaler's count must survive an upgrade. */}}
  {{- if eq $autoscaling "none" }}
  replicas: {{ int (kindIs "invalid" $values.replicas | ternary 1 $values.replicas) }}
  {{- end }}
  revisionHistoryLimit: 3
  selector:
    matchLabels:
      {{- include "sundown.selector" . | nindent 6 }}
  {{- with $pod.strategy }}
  strategy:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  minReadySeconds: 5
  template:
    metadata:
      labels:
        {{- include "sundown.labels" . | nindent 8 }}
        {{- with omit $pod.podLabels "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        kubectl.kubernetes.io/default-container: {{ .role }}
        {{- with .checksum }}
        checksum/config: {{ . | quote }}
        {{- end }}
        {{- with $pod.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "sundown.serviceAccount" . | quote }}
      # Only the controller talks to the API server.
      automountServiceAccountToken: {{ eq .role "controller" }}
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ .grace }}
      {{- with include "sundown.podFields" . }}
      {{- . | nindent 6 }}
      {{- end }}
      {{- with $pod.initContainers }}
      initContainers:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: {{ .role }}
          image: {{ include "sundown.image" .root | quote }}
          imagePullPolicy: {{ default "IfNotPresent" .root.Values.image.pullPolicy }}
          args:
            - {{ .role }}
            {{- with $values.extraArgs }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          env:
            {{- include "sundown.kafkaEnv" . | nindent 12 }}
            # Both families: IPv4 alone where a node has no IPv6.
            - name: SUNDOWN_ADMIN_LISTEN
              value: "[::]:{{ .root.Values.admin.port }}"
            # The address that other processes, such as the console, use.
            - name: SUNDOWN_ADMIN_HOST
              valueFrom: {fieldRef: {fieldPath: status.podIP}}
            {{- with .root.Values.log.filter }}
            - name: SUNDOWN_LOG
              value: {{ . | quote }}
            {{- end }}
            {{- with .env }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
            {{- with $pod.extraEnv }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          {{- with $pod.extraEnvFrom }}
          envFrom:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          ports:
            - {name: admin, containerPort: {{ .root.Values.admin.port }}}
            {{- with .ports }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          # Readiness depends on the brokers. Liveness does not: restarting a process that waits for
          # its brokers would not help.
          {{- range $name, $path := dict "startupProbe" "/livez" "livenessProbe" "/livez" "readinessProbe" "/readyz" }}
          {{ $name }}:
            {{- merge (dict "httpGet" (dict "path" $path "port" "admin")) (get $pod $name) | toYaml | nindent 12 }}
          {{- end }}
          {{- with $values.resources }}
          resources:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- with $pod.securityContext }}
          securityContext:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- $mounts := include "sundown.kafkaMounts" . | fromYamlArray }}
          {{- with concat $mounts (default list .mounts) $pod.extraVolumeMounts }}
          volumeMounts:
            {{- toYaml . | nindent 12 }}
          {{- end }}
        {{- with $pod.sidecars }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- $volumes := include "sundown.kafkaVolumes" . | fromYamlArray }}
      {{- with concat $volumes (default list .volumes) $pod.extraVolumes }}
      volumes:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with include "sundown.topologySpread" . | fromYamlArray }}
      topologySpreadConstraints:
        {{- toYaml . | nindent 8 }}
      {{- end }}
{{- end -}}

{{/* The token of the trackers' admin ports, for trackers, consoles and controllers. */}}
{{- define "sundown.adminToken" -}}
{{- with .Values.tracker.adminTokenSecret -}}
env:
  - {name: SUNDOWN_ADMIN_TOKEN_FILE, value: /etc/sundown/admin/token}
mounts:
  - {name: admin-token, mountPath: /etc/sundown/admin, readOnly: true}
volumes:
  - {name: admin-token, secret: {secretName: {{ . | quote }}}}
{{- else -}}
{env: [], mounts: [], volumes: []}
{{- end -}}
{{- end -}}
