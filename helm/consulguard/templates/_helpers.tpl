{{- define "consulguard.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "consulguard.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 53 | trimSuffix "-" }}
{{- else if contains (include "consulguard.name" .) .Release.Name }}
{{- .Release.Name | trunc 53 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "consulguard.name" .) | trunc 53 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "consulguard.selectorLabels" -}}
app.kubernetes.io/name: {{ include "consulguard.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "consulguard.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "consulguard.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "consulguard.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "consulguard.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "consulguard.image" -}}
{{- $tag := .Values.image.tag | default .Chart.AppVersion }}
{{- .Values.image.repository }}:{{ $tag }}{{ with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/* "true" when something talks to the API server. */}}
{{- define "consulguard.usesKubernetes" -}}
{{- $on := eq .Values.coordinate.backend "kubernetes" }}
{{- range $_, $wanted := .Values.rbac.actions }}{{- if $wanted }}{{- $on = true }}{{- end }}{{- end }}
{{- if $on }}true{{ end }}
{{- end }}

{{/* Namespaces actions may touch, as a JSON list. */}}
{{- define "consulguard.namespaces" -}}
{{- .Values.rbac.namespaces | default (list .Release.Namespace) | toJson }}
{{- end }}

{{/* consulguard.yaml: what the chart's values mean, and config over it. */}}
{{- define "consulguard.config" -}}
{{- $v := .Values }}
{{- $consul := dict }}
{{- with $v.consul.datacenter }}{{- $_ := set $consul "datacenter" . }}{{- end }}
{{- with $v.consul.existingSecret }}
{{- $_ := set $consul "token_file" (printf "/etc/consulguard-consul/%s" $v.consul.existingSecretKey) }}
{{- end }}
{{- with $v.consul.tls }}
{{- if .existingSecret }}
{{- $_ := set $consul "ca_file" (printf "/etc/consulguard-consul-tls/%s" .caKey) }}
{{- if .certKey }}
{{- $_ := set $consul "client_cert" (printf "/etc/consulguard-consul-tls/%s" .certKey) }}
{{- $_ := set $consul "client_key" (printf "/etc/consulguard-consul-tls/%s" .keyKey) }}
{{- end }}
{{- with .serverName }}{{- $_ := set $consul "tls_server_name" . }}{{- end }}
{{- end }}
{{- end }}
{{- $journal := dict "path" "/var/lib/consulguard/journal.sqlite" }}
{{- if eq $v.journal.store "postgresql" }}
{{- $key := $v.journal.postgresql.existingSecretKey }}
{{- $journal = dict "path" "/var/lib/consulguard/journal.sqlite" "store" "postgresql" "dsn_file" (printf "/etc/consulguard-postgresql/%s" $key) }}
{{- end }}
{{- $base := dict
  "mode" $v.mode
  "journal" $journal
  "playbooks" (dict "dir" "/etc/consulguard-playbooks" "allow_empty" true)
  "server" (dict "listen" (printf "0.0.0.0:%v" 9415))
}}
{{- if $consul }}{{- $_ := set $base "consul" $consul }}{{- end }}
{{- if $v.slack.enabled }}
{{- $token := printf "/etc/consulguard-slack/%s" $v.slack.botTokenKey }}
{{- $slack := dict "enabled" true "channel" $v.slack.channel "bot_token_file" $token }}
{{- with $v.slack.appId }}
{{- $_ := set $slack "app_id" . }}
{{- $_ := set $slack "app_token_file" (printf "/etc/consulguard-slack/%s" $v.slack.appTokenKey) }}
{{- end }}
{{- $_ := set $base "slack" $slack }}
{{- end }}
{{- $actions := $v.rbac.actions }}
{{- $kubernetes := dict }}
{{- if or $actions.rolloutRestart $actions.deletePod $actions.evictPod $actions.scale $actions.rollback }}
{{- $_ := set $kubernetes "namespaces" (include "consulguard.namespaces" . | fromJsonArray) }}
{{- end }}
{{- if $actions.cordon }}{{- $_ := set $kubernetes "cordon" true }}{{- end }}
{{- if $kubernetes }}{{- $_ := set $base "actions" (dict "kubernetes" $kubernetes) }}{{- end }}
{{- if ne $v.coordinate.backend "single" }}
{{- $coordinate := dict "backend" $v.coordinate.backend "key" (include "consulguard.fullname" .) }}
{{- if eq $v.coordinate.backend "zookeeper" }}{{- $_ := set $coordinate "zookeeper" (dict "hosts" $v.coordinate.zookeeper.hosts) }}{{- end }}
{{- with $v.coordinate.units }}{{- $_ := set $coordinate "units" . }}{{- end }}
{{- $_ := set $base "coordinate" $coordinate }}
{{- end }}
{{- toYaml (mergeOverwrite $base (deepCopy $v.config)) }}
{{- end }}

{{/* The units of the configuration, wherever they are given, as a JSON list. */}}
{{- define "consulguard.units" -}}
{{- dig "coordinate" "units" list (include "consulguard.config" . | fromYaml) | toJson }}
{{- end }}

{{/* Volume name to secret, as JSON; each is mounted at /etc/consulguard-NAME. */}}
{{- define "consulguard.secrets" -}}
{{- $found := dict }}
{{- with .Values.consul.existingSecret }}{{- $_ := set $found "consul" . }}{{- end }}
{{- with .Values.consul.tls.existingSecret }}{{- $_ := set $found "consul-tls" . }}{{- end }}
{{- if .Values.slack.enabled }}{{- $_ := set $found "slack" .Values.slack.existingSecret }}{{- end }}
{{- if eq .Values.journal.store "postgresql" }}
{{- $_ := set $found "postgresql" .Values.journal.postgresql.existingSecret }}
{{- end }}
{{- toJson $found }}
{{- end }}
