{{/*
A role's Deployment. Takes root, role, and what only this role has:
  env, mounts, volumes, ports   lists
  grace                  seconds between SIGTERM and SIGKILL
  checksum               of what it reads at its start only
*/}}
{{- define "sundown.deployment" -}}
{{- $values := index .root.Values .role -}}
{{- $autoscaling := dig .role "mode" "none" .root.Values.autoscaling -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "sundown.role" . }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "sundown.labels" . | nindent 4 }}
spec:
  {{- /* An autoscaler's count must survive an upgrade. */}}
  {{- if eq $autoscaling "none" }}
  replicas: {{ $values.replicas }}
  {{- end }}
  revisionHistoryLimit: 3
  selector:
    matchLabels:
      {{- include "sundown.selector" . | nindent 6 }}
  strategy:
    type: RollingUpdate
    rollingUpdate:
      # One new process, restored and ready, before an old one hands over its partitions.
      maxSurge: 1
      maxUnavailable: 0
  minReadySeconds: 5
  template:
    metadata:
      labels:
        {{- include "sundown.labels" . | nindent 8 }}
      annotations:
        kubectl.kubernetes.io/default-container: {{ .role }}
        {{- with .checksum }}
        checksum/config: {{ . }}
        {{- end }}
        {{- with $values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "sundown.role" . }}
      # Only the controller talks to the API server.
      automountServiceAccountToken: {{ eq .role "controller" }}
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ .grace }}
      {{- with .root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- include "sundown.podSecurity" . | nindent 8 }}
      containers:
        - name: {{ .role }}
          image: {{ include "sundown.image" .root | quote }}
          imagePullPolicy: {{ .root.Values.image.pullPolicy }}
          args:
            - {{ .role }}
            {{- with $values.extraArgs }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          env:
            {{- include "sundown.kafkaEnv" . | nindent 12 }}
            - name: SUNDOWN_ADMIN_LISTEN
              value: "0.0.0.0:{{ .root.Values.admin.port }}"
            # The address that other processes, such as the console, use.
            - name: SUNDOWN_ADMIN_HOST
              valueFrom: {fieldRef: {fieldPath: status.podIP}}
            - name: SUNDOWN_LOG
              value: {{ .root.Values.log.filter | quote }}
            {{- with .env }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          ports:
            - {name: admin, containerPort: {{ .root.Values.admin.port }}}
            {{- with .ports }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          # Readiness depends on the brokers. Liveness does not: restarting a process that waits for
          # its brokers would not help.
          startupProbe:
            httpGet: {path: /livez, port: admin}
            periodSeconds: 1
            failureThreshold: 60
          livenessProbe:
            httpGet: {path: /livez, port: admin}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 3
          readinessProbe:
            httpGet: {path: /readyz, port: admin}
            periodSeconds: 2
            timeoutSeconds: 2
            failureThreshold: 2
          resources:
            {{- toYaml $values.resources | nindent 12 }}
          securityContext:
            {{- include "sundown.containerSecurity" . | nindent 12 }}
          {{- $mounts := include "sundown.kafkaMounts" . | fromYamlArray }}
          {{- with concat $mounts (default list .mounts) }}
          volumeMounts:
            {{- toYaml . | nindent 12 }}
          {{- end }}
      {{- $volumes := include "sundown.kafkaVolumes" . | fromYamlArray }}
      {{- with concat $volumes (default list .volumes) }}
      volumes:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      # Best effort: replicas on one node are better than none.
      topologySpreadConstraints:
        {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
        - topologyKey: {{ . }}
          maxSkew: 1
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- include "sundown.selector" $ | nindent 14 }}
        {{- end }}
      {{- with $values.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      {{- with $values.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.affinity }}
      affinity:
        {{- toYaml . | nindent 8 }}
      {{- end }}
{{- end -}}

{{/* Pod Security Standards, level `restricted`. */}}
{{- define "sundown.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "sundown.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* The token of the trackers' admin ports, for trackers and consoles. */}}
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
