{{/* Contradictory values, with a clearer message than the schema could give. */}}
{{- define "sundown.validate" -}}
{{- with .Values.kafka -}}
{{- if and .strimzi.cluster .bootstrapServers -}}
{{- fail "kafka.bootstrapServers and kafka.strimzi.cluster are both set; the chart derives the brokers from the Strimzi cluster, so clear one of them" -}}
{{- end -}}
{{- if and .strimzi.cluster (or .tls.enabled .tls.caSecret .tls.clientSecret .sasl.mechanism) -}}
{{- fail "kafka.tls and kafka.sasl conflict with kafka.strimzi.cluster, whose secrets are mounted automatically; use kafka.strimzi.authentication" -}}
{{- end -}}
{{- if and .strimzi.cluster (eq .strimzi.authentication "tls") (not .strimzi.encrypted) -}}
{{- fail "kafka.strimzi.authentication is tls, but kafka.strimzi.encrypted is false: mutual TLS needs an encrypted listener" -}}
{{- end -}}
{{- if and .sasl.mechanism (ne .sasl.mechanism "OAUTHBEARER") (not (and (or .sasl.username .sasl.usernameKey) .sasl.passwordSecret)) -}}
{{- fail "kafka.sasl.mechanism requires kafka.sasl.username and kafka.sasl.passwordSecret; set both, or kafka.sasl.usernameKey instead of the former" -}}
{{- end -}}
{{- if and (or .sasl.username .sasl.usernameKey .sasl.passwordSecret) (has .sasl.mechanism (list "" "OAUTHBEARER")) -}}
{{- fail "kafka.sasl.username or kafka.sasl.passwordSecret is set, but kafka.sasl.mechanism is not: set it to PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512" -}}
{{- end -}}
{{- $oauth := .sasl.oauth -}}
{{- if include "sundown.usesOAuth" $ -}}
{{- if not $oauth.tokenUrl -}}
{{- fail "OAUTHBEARER requires kafka.sasl.oauth.tokenUrl, the token endpoint of your identity provider" -}}
{{- end -}}
{{- if and (not .strimzi.cluster) (not (and (or $oauth.clientId $oauth.clientIdKey) $oauth.secret)) -}}
{{- fail "kafka.sasl.mechanism OAUTHBEARER requires kafka.sasl.oauth.secret and kafka.sasl.oauth.clientId or clientIdKey; set both" -}}
{{- end -}}
{{- else if $oauth.tokenUrl -}}
{{- fail "kafka.sasl.oauth.tokenUrl is set, but clients do not use it: set kafka.sasl.mechanism to OAUTHBEARER, or kafka.strimzi.authentication to oauth" -}}
{{- end -}}
{{- range list "sasl.password" "sasl.oauthbearer.client.secret" -}}
{{- if or (hasKey (default dict $.Values.kafka.properties) .) (hasKey (default dict $.Values.kafka.secretProperties) .) -}}
{{- fail (printf "kafka.properties and kafka.secretProperties do not take %s; use kafka.sasl" .) -}}
{{- end -}}
{{- end -}}
{{- range $property, $_ := .properties -}}
{{- if regexMatch "[.]password$|[.]passphrase$|[.]key[.]pem$|^sasl[.]oauthbearer[.]config$" $property -}}
{{- fail (printf "kafka.properties are shown in the pods' specification, and %s is secret; use kafka.secretProperties" $property) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.handler.actions .Values.handler.actionsConfigMap -}}
{{- fail "handler.actions and handler.actionsConfigMap are both set: choose one" -}}
{{- end -}}
{{- if and .Values.monitoring.podMonitor.enabled .Values.monitoring.serviceMonitor.enabled -}}
{{- fail "monitoring.podMonitor.enabled and monitoring.serviceMonitor.enabled are both set; every process would be scraped twice, so choose one" -}}
{{- end -}}
{{- if and .Values.handler.jwks.enabled (not (or .Values.handler.actions .Values.handler.actionsConfigMap)) -}}
{{- fail "handler.jwks.enabled requires a signing action; set handler.actions or handler.actionsConfigMap" -}}
{{- end -}}
{{- if and .Values.controller.allNamespaces .Values.controller.namespaces -}}
{{- fail "controller.allNamespaces and controller.namespaces are both set: choose one" -}}
{{- end -}}
{{- if and .Values.console.anonymousRead (not .Values.console.authTokenSecret) -}}
{{- fail "console.anonymousRead requires console.authTokenSecret, because a console without a token listens on its pod's loopback only; name a Secret with a token" -}}
{{- end -}}
{{- with default dict .Values.console.apiTokens -}}
{{- if and (or .viewerSecret .operatorSecret .adminSecret) (not (include "sundown.consoleLogin" $)) -}}
{{- fail "console.apiTokens require console.authTokenSecret or console.oidc, because a console without logins listens on its pod's loopback only; set one of them" -}}
{{- end -}}
{{- end -}}
{{- with default dict .Values.console.oidc -}}
{{- if and .issuer (not (and .clientId .clientSecret .publicUrl)) -}}
{{- fail "console.oidc.issuer requires console.oidc.clientId, clientSecret and publicUrl; set all of them" -}}
{{- end -}}
{{- if and .issuer (not (or .viewers .operators .admins)) -}}
{{- fail "no user could log in to the console: give roles with console.oidc.viewers, operators and admins" -}}
{{- end -}}
{{- end -}}
{{- with .Values.console -}}
{{- if and .enabled (not (include "sundown.consoleLogin" $)) (or (dig "enabled" false (default dict .ingress)) (dig "enabled" false (default dict .httpRoute))) -}}
{{- fail "console.ingress and console.httpRoute require console.authTokenSecret or console.oidc, because a console without logins listens on its pod's loopback only; name a Secret with a token" -}}
{{- end -}}
{{- if and (dig "enabled" false (default dict .httpRoute)) (not .httpRoute.parentRefs) -}}
{{- fail "console.httpRoute.enabled requires console.httpRoute.parentRefs; name your Gateway" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.ingest.http.enabled (not .Values.ingest.http.tokensSecret) (not .Values.ingest.http.ssfTransmitters) -}}
{{- fail "ingest.http.enabled needs ingest.http.tokensSecret, a Secret whose keys are the names of bearer tokens, or ingest.http.ssfTransmitters" -}}
{{- end -}}
{{- if and .Values.ingest.http.publicTokensSecret (not .Values.ingest.http.allowedOrigins) -}}
{{- fail "ingest.http.publicTokensSecret needs ingest.http.allowedOrigins: the origins of the pages that have the tokens" -}}
{{- end -}}
{{- include "sundown.validateAutoscaling" . -}}
{{- include "sundown.validateNetworkPolicy" . -}}
{{- end -}}

{{- define "sundown.validateAutoscaling" -}}
{{- range $role, $scaling := pick .Values.autoscaling "tracker" "handler" "ingest" -}}
{{- if ne $scaling.mode "none" -}}
{{- if eq $role "ingest" -}}
{{- if not $.Values.ingest.enabled -}}
{{- fail "autoscaling.ingest.mode is set, but ingest.enabled is false; enable ingest, or set autoscaling.ingest.mode to none" -}}
{{- end -}}
{{- $byTopic := or (eq $scaling.mode "hpa") (eq $scaling.trigger "kafka") -}}
{{- if and $byTopic (not (include "sundown.sourceTopics" $ | fromJsonArray)) -}}
{{- fail "autoscaling.ingest measures the lag of each topic, and the values name none; list the topics of the sources in ingest.sourceTopics, or use mode keda with trigger prometheus" -}}
{{- end -}}
{{- end -}}
{{- $bySeconds := or (eq $scaling.mode "hpa") (eq $scaling.trigger "prometheus") -}}
{{- if and $bySeconds (not $.Values.controller.enabled) -}}
{{- fail (printf "autoscaling.%s uses the lag in seconds, which the controller measures, but controller.enabled is false; enable the controller, or set autoscaling.%s.mode to keda and its trigger to kafka" $role $role) -}}
{{- end -}}
{{- $minimum := int (index $.Values $role).replicas -}}
{{- if lt (int $scaling.maxReplicas) $minimum -}}
{{- fail (printf "autoscaling.%s.maxReplicas (%d) is below %s.replicas (%d), the minimum; raise the former or lower the latter" $role (int $scaling.maxReplicas) $role $minimum) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "sundown.validateNetworkPolicy" -}}
{{- if .Values.networkPolicy.enabled -}}
{{- $open := list -}}
{{- range .Values.networkPolicy.kafkaPorts -}}
{{- $open = append $open (toString .) -}}
{{- end -}}
{{- range splitList "," (include "sundown.bootstrap" .) -}}
{{- $port := splitList ":" . | last -}}
{{- if not (has $port $open) -}}
{{- fail (printf "networkPolicy.kafkaPorts lacks %s, the port of %s, so that Kafka would be unreachable; add every port that the brokers advertise" $port .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
