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
{{- with .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsUser: {{ .values.runAsUser | int64 }}
  runAsGroup: {{ .values.runAsUser | int64 }}
  fsGroup: {{ .values.runAsUser | int64 }}
  runAsNonRoot: {{ ne (.values.runAsUser | int64) 0 }}
  {{- with get .values "supplementalGroups" }}
  supplementalGroups: [{{ range $i, $g := . }}{{ if $i }}, {{ end }}{{ $g | int64 }}{{ end }}]
  {{- end }}
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{/* What is the same in every container but its arguments. */}}
{{- define "keyorch.containerCommon" -}}
image: {{ include "keyorch.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
command: [keyorch]
env: {{- include "keyorch.env" . | trim | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
    {{- with get .values "capabilities" }}
    add: {{- toYaml . | nindent 6 }}
    {{- end }}
resources: {{- toYaml .values.resources | nindent 2 }}
{{- end }}

{{/* Ports and probes of a server. Alive means that a restart would not help, whatever is away: an agent
     that is restarted while Vault is away cannot open the keys that it has open. At its start a process
     ends by itself when a server does not answer, and is begun again; the startup probe gives it the
     time to read a large fleet. */}}
{{- define "keyorch.serving" -}}
ports:
  - {name: health, containerPort: {{ .health | int64 }}}
  {{- if .root.Values.metrics.enabled }}
  - {name: metrics, containerPort: {{ .metrics | int64 }}}
  {{- end }}
startupProbe:
  httpGet: {path: /readyz, port: health}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 60
readinessProbe:
  httpGet: {path: /readyz, port: health}
  periodSeconds: 10
  timeoutSeconds: 5
livenessProbe:
  httpGet: {path: /livez, port: health}
  periodSeconds: 20
  timeoutSeconds: 5
  failureThreshold: 6
{{- end }}

{{/* What Prometheus looks for when it finds its targets among pods. A pod's own annotations go before. */}}
{{- define "keyorch.scrapeAnnotations" -}}
{{- if and .root.Values.metrics.enabled .root.Values.metrics.annotations }}
prometheus.io/scrape: "true"
prometheus.io/port: {{ .metrics | int64 | quote }}
prometheus.io/path: /metrics
{{- end }}
{{- end }}
