{{/* The names of a release's objects begin with this. It leaves room for what is appended. */}}
{{- define "keyorch.fullname" -}}
{{- $name := .Release.Name -}}
{{- if not (contains .Chart.Name $name) -}}
{{- $name = printf "%s-%s" $name .Chart.Name -}}
{{- end -}}
{{- .Values.fullnameOverride | default $name | trunc 50 | trimSuffix "-" -}}
{{- end }}

{{/* The parts below take a dict: root is the chart's own scope; part is worker, agent or operator;
     values are its values, for an agent with the defaults in them; entry is the name of an agent's
     entry. */}}

{{/* An agent's name has its site's or its entry's in it, cut where an object's name would get too long. */}}
{{- define "keyorch.name" -}}
{{- if eq .part "agent" -}}
{{- printf "%s-agent-%s" (include "keyorch.fullname" .root) .entry | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" (include "keyorch.fullname" .root) .part -}}
{{- end -}}
{{- end }}

{{- define "keyorch.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
{{- with .part }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- with get . "entry" }}
keyorch/entry: {{ . | quote }}
{{- end }}
{{- end }}

{{- define "keyorch.labels" -}}
{{ include "keyorch.selector" . }}
{{- if eq .part "agent" }}
keyorch/site: {{ .values.site | quote }}
{{- end }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" | quote }}
{{- end }}

{{- define "keyorch.serviceAccountName" -}}
{{- $account := .values.serviceAccount -}}
{{- if $account.create -}}
{{- $account.name | default (include "keyorch.name" .) -}}
{{- else -}}
{{- $account.name | default "default" -}}
{{- end -}}
{{- end }}

{{- define "keyorch.image" -}}
{{- if .Values.image.digest -}}
{{ printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else -}}
{{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end -}}
{{- end }}

{{/* The identity of a part, as it was enrolled: its role in etcd, in Vault and in its PKI. */}}
{{- define "keyorch.identity" -}}
{{- if eq .part "agent" -}}
{{- .values.identity | default (printf "keyorch-agent.%s" .values.site) -}}
{{- else -}}
{{- .values.identity -}}
{{- end -}}
{{- end }}

{{/* The Secret of a part's certificate; none where Vault signs it. */}}
{{- define "keyorch.certificateSecret" -}}
{{- if eq .root.Values.certificates.source "secret" -}}
{{- .values.certificateSecret -}}
{{- else if eq .root.Values.certificates.source "cert-manager" -}}
{{- printf "%s-etcd" (include "keyorch.name" .) -}}
{{- end -}}
{{- end }}

{{/* Whether the operator's Job has something to do. */}}
{{- define "keyorch.declares" -}}
{{- if or .Values.topology.files .Values.topology.configMap .Values.schedules -}}true{{- end -}}
{{- end }}
