{{/* The names of a release's objects begin with this. It leaves room for what is appended. */}}
{{- define "keyorch.fullname" -}}
{{- $name := .Release.Name -}}
{{- if not (contains .Chart.Name $name) -}}
{{- $name = printf "%s-%s" $name .Chart.Name -}}
{{- end -}}
{{- .Values.fullnameOverride | default $name | trunc 50 | trimSuffix "-" -}}
{{- end }}

{{/* The parts below take a dict: root is the chart's own scope, part is worker or agent. */}}

{{- define "keyorch.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
{{- with .part }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{- define "keyorch.labels" -}}
{{ include "keyorch.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" | quote }}
{{- end }}

{{- define "keyorch.serviceAccountName" -}}
{{- $account := (index .root.Values .part).serviceAccount -}}
{{- if $account.create -}}
{{- $account.name | default (printf "%s-%s" (include "keyorch.fullname" .root) .part) -}}
{{- else -}}
{{- $account.name | default "default" -}}
{{- end -}}
{{- end }}

{{- define "keyorch.image" -}}
{{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}

{{/* The servers that worker and agents both speak to. */}}
{{- define "keyorch.servers" -}}
ETCDCTL_ENDPOINTS: {{ join "," .Values.etcd.endpoints | quote }}
VAULT_ADDR: {{ .Values.vault.address | quote }}
{{- with .Values.vault.namespace }}
VAULT_NAMESPACE: {{ . | quote }}
{{- end }}
{{- end }}

{{/* Temporal is the worker's alone: agents do not speak to it. */}}
{{- define "keyorch.temporal" -}}
TEMPORAL_ADDRESS: {{ .Values.temporal.address | quote }}
TEMPORAL_NAMESPACE: {{ .Values.temporal.namespace | quote }}
{{- end }}

{{/* The environment of a part: addresses by reference, and paths of files. */}}
{{- define "keyorch.env" -}}
{{- $part := index .root.Values .part -}}
{{- $servers := include "keyorch.servers" .root | fromYaml -}}
{{- if eq .part "worker" -}}
{{- $servers = merge $servers (include "keyorch.temporal" .root | fromYaml) -}}
{{- end -}}
{{- $connections := printf "%s-connections" (include "keyorch.fullname" .root) -}}
{{- range $name := keys $servers | sortAlpha }}
- name: {{ $name }}
  valueFrom:
    configMapKeyRef:
      name: {{ $connections }}
      key: {{ $name }}
{{- end }}
- name: VAULT_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ $part.vaultTokenSecret.name | quote }}
      key: {{ $part.vaultTokenSecret.key | quote }}
{{- if .root.Values.vault.caSecret.name }}
- name: VAULT_CACERT
  value: /etc/keyorch/vault/ca.crt
{{- end }}
{{- if $part.etcdTLSSecret }}
- name: ETCDCTL_CACERT
  value: /etc/keyorch/etcd/ca.crt
- name: ETCDCTL_CERT
  value: /etc/keyorch/etcd/tls.crt
- name: ETCDCTL_KEY
  value: /etc/keyorch/etcd/tls.key
{{- end }}
{{- end }}

{{/* What Prometheus looks for when it finds its targets among pods. A pod's own annotations go before. */}}
{{- define "keyorch.scrapeAnnotations" -}}
{{- if .Values.metrics.enabled }}
prometheus.io/scrape: "true"
prometheus.io/port: {{ .Values.metrics.port | quote }}
prometheus.io/path: /metrics
{{- end }}
{{- end }}

{{/* Whole directories are mounted, not single files: only those follow a renewed Secret. */}}
{{- define "keyorch.tlsMounts" -}}
{{- if (index .root.Values .part).etcdTLSSecret }}
- name: etcd-tls
  mountPath: /etc/keyorch/etcd
  readOnly: true
{{- end }}
{{- if .root.Values.vault.caSecret.name }}
- name: vault-ca
  mountPath: /etc/keyorch/vault
  readOnly: true
{{- end }}
{{- end }}

{{- define "keyorch.tlsVolumes" -}}
{{- with (index .root.Values .part).etcdTLSSecret }}
- name: etcd-tls
  secret:
    secretName: {{ . | quote }}
    defaultMode: 0440
    items:
      - {key: ca.crt, path: ca.crt}
      - {key: tls.crt, path: tls.crt}
      - {key: tls.key, path: tls.key}
{{- end }}
{{- with .root.Values.vault.caSecret }}
{{- if .name }}
- name: vault-ca
  secret:
    secretName: {{ .name | quote }}
    defaultMode: 0440
    items:
      - {key: {{ .key | quote }}, path: ca.crt}
{{- end }}
{{- end }}
{{- end }}

{{/* What is the same in every pod. No token of the cluster is mounted: keyorch does not speak to
     Kubernetes. Service links are off: they would add variables with names like VAULT_PORT. */}}
{{- define "keyorch.podCommon" -}}
serviceAccountName: {{ include "keyorch.serviceAccountName" . | quote }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . | quote }}
{{- end }}
{{- end }}
{{- with index .root.Values .part }}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsUser: {{ .runAsUser | int64 }}
  runAsGroup: {{ .runAsUser | int64 }}
  fsGroup: {{ .runAsUser | int64 }}
  runAsNonRoot: {{ ne (.runAsUser | int64) 0 }}
  seccompProfile:
    type: RuntimeDefault
{{- end }}
{{- end }}
