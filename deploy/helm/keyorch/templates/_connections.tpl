{{/* The servers that everybody speaks to. */}}
{{- define "keyorch.servers" -}}
ETCDCTL_ENDPOINTS: {{ join "," .Values.etcd.endpoints | quote }}
VAULT_ADDR: {{ .Values.vault.address | quote }}
{{- with .Values.vault.namespace }}
VAULT_NAMESPACE: {{ . | quote }}
{{- end }}
{{- end }}

{{/* Temporal is the worker's and the operator's alone: agents do not speak to it. */}}
{{- define "keyorch.temporal" -}}
{{- if .Values.temporal.address -}}
TEMPORAL_ADDRESS: {{ .Values.temporal.address | quote }}
TEMPORAL_NAMESPACE: {{ .Values.temporal.namespace | quote }}
{{- with .Values.temporal.tls }}
{{- if or .enabled .secret .caSecret .serverName }}
TEMPORAL_TLS: "true"
{{- end }}
{{- with .serverName }}
TEMPORAL_TLS_SERVER_NAME: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Files that a part has from Secrets: a list of name, secret and items (key and path below
     /etc/keyorch/NAME), each with the variable that says where; without items every key of the
     Secret. Whole directories are mounted, not
     single files: only those follow a renewed Secret. */}}
{{- define "keyorch.files" -}}
{{- $files := list -}}
{{- with include "keyorch.certificateSecret" . -}}
{{- $items := list (dict "key" "tls.crt" "env" "ETCDCTL_CERT") (dict "key" "tls.key" "env" "ETCDCTL_KEY") -}}
{{- if not $.root.Values.etcd.caSecret.name -}}
{{- $items = append $items (dict "key" "ca.crt" "env" "ETCDCTL_CACERT") -}}
{{- end -}}
{{- $files = append $files (dict "name" "etcd" "secret" . "items" $items) -}}
{{- end -}}
{{- with .root.Values.etcd.caSecret -}}
{{- if .name -}}
{{- $files = append $files (dict "name" "etcd-ca" "secret" .name "items" (list (dict "key" .key "path" "ca.crt" "env" "ETCDCTL_CACERT"))) -}}
{{- end -}}
{{- end -}}
{{- with .root.Values.vault.caSecret -}}
{{- if .name -}}
{{- $files = append $files (dict "name" "vault-ca" "secret" .name "items" (list (dict "key" .key "path" "ca.crt" "env" "VAULT_CACERT"))) -}}
{{- end -}}
{{- end -}}
{{- if eq .root.Values.vault.auth.method "approle" -}}
{{- $items := list (dict "key" "role-id" "env" "KEYORCH_VAULT_ROLE_ID_FILE") (dict "key" "secret-id" "env" "KEYORCH_VAULT_SECRET_ID_FILE") -}}
{{- $files = append $files (dict "name" "login" "secret" .values.vaultSecret "items" $items) -}}
{{- end -}}
{{- with get . "webhooks" -}}
{{- $files = append $files (dict "name" "webhooks" "secret" . "items" list) -}}
{{- end -}}
{{- if and (ne .part "agent") .root.Values.temporal.address -}}
{{- with .root.Values.temporal.tls -}}
{{- if .secret -}}
{{- $items := list (dict "key" "tls.crt" "env" "TEMPORAL_TLS_CLIENT_CERT_PATH") (dict "key" "tls.key" "env" "TEMPORAL_TLS_CLIENT_KEY_PATH") -}}
{{- $files = append $files (dict "name" "temporal" "secret" .secret "items" $items) -}}
{{- end -}}
{{- if .caSecret -}}
{{- $files = append $files (dict "name" "temporal-ca" "secret" .caSecret "items" (list (dict "key" "ca.crt" "env" "TEMPORAL_TLS_SERVER_CA_CERT_PATH"))) -}}
{{- end -}}
{{- end -}}
{{- with .root.Values.temporal.codecSecret -}}
{{- if .name -}}
{{- $files = append $files (dict "name" "codec" "secret" .name "items" (list (dict "key" .key "path" "codec-keys" "env" "KEYORCH_TEMPORAL_CODEC"))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $files -}}
{{- end }}

{{/* The environment of a part: addresses by reference, and paths of files. */}}
{{- define "keyorch.env" -}}
{{- $servers := include "keyorch.servers" .root | fromYaml -}}
{{- if ne .part "agent" -}}
{{- $servers = merge $servers (include "keyorch.temporal" .root | fromYaml) -}}
{{- end -}}
{{- range $name := keys $servers | sortAlpha }}
- name: {{ $name }}
  valueFrom:
    configMapKeyRef:
      name: {{ include "keyorch.fullname" $.root }}-connections
      key: {{ $name }}
{{- end }}
{{- $auth := .root.Values.vault.auth }}
- name: KEYORCH_VAULT_AUTH
  value: {{ $auth.method }}
{{- with $auth.mount }}
- name: KEYORCH_VAULT_MOUNT
  value: {{ . | quote }}
{{- end }}
{{- if has $auth.method (list "kubernetes" "cert") }}
- name: KEYORCH_VAULT_ROLE
  value: {{ include "keyorch.identity" . | quote }}
{{- end }}
{{- if eq $auth.method "kubernetes" }}
- name: KEYORCH_VAULT_JWT_FILE
  value: /run/keyorch/token/vault
{{- else if eq $auth.method "token" }}
- name: VAULT_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ .values.vaultSecret | quote }}
      key: token
{{- else if eq $auth.method "cert" }}
- name: VAULT_CLIENT_CERT
  value: /etc/keyorch/etcd/tls.crt
- name: VAULT_CLIENT_KEY
  value: /etc/keyorch/etcd/tls.key
{{- end }}
{{- if eq .root.Values.certificates.source "vault" }}
- name: KEYORCH_IDENTITY
  value: /run/keyorch/identity
- name: KEYORCH_PKI
  value: {{ printf "%s/sign/%s" .root.Values.vault.pkiMount (include "keyorch.identity" .) | quote }}
{{- end }}
{{- range $file := include "keyorch.files" . | fromYamlArray }}
{{- range $file.items }}
- name: {{ .env }}
  value: /etc/keyorch/{{ $file.name }}/{{ get . "path" | default .key }}
{{- end }}
{{- end }}
{{- with .root.Values.temporal.apiKeySecret }}
{{- if and .name $.root.Values.temporal.address (ne $.part "agent") }}
- name: TEMPORAL_API_KEY
  valueFrom:
    secretKeyRef:
      name: {{ .name | quote }}
      key: {{ .key | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "keyorch.mounts" -}}
{{- if eq .root.Values.vault.auth.method "kubernetes" }}
- name: token
  mountPath: /run/keyorch/token
  readOnly: true
{{- end }}
{{- if eq .root.Values.certificates.source "vault" }}
- name: identity
  mountPath: /run/keyorch/identity
{{- end }}
{{- range include "keyorch.files" . | fromYamlArray }}
- name: {{ .name }}
  mountPath: /etc/keyorch/{{ .name }}
  readOnly: true
{{- end }}
{{- end }}

{{- define "keyorch.volumes" -}}
{{- with .root.Values.vault.auth }}
{{- if eq .method "kubernetes" }}
# For Vault, which asks the API server whose it is. It opens nothing in Kubernetes: it is for another
# audience than the API server's.
- name: token
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken:
          audience: {{ .audience | quote }}
          expirationSeconds: {{ .expirationSeconds | int64 }}
          path: vault
{{- end }}
{{- end }}
{{- if eq .root.Values.certificates.source "vault" }}
# In memory: the private key is made here, and ends with the pod.
- name: identity
  emptyDir:
    medium: Memory
    sizeLimit: 1Mi
{{- end }}
{{- range include "keyorch.files" . | fromYamlArray }}
- name: {{ .name }}
  secret:
    secretName: {{ .secret | quote }}
    defaultMode: 0440
    {{- with .items }}
    items:
    {{- range . }}
      - {key: {{ .key | quote }}, path: {{ get . "path" | default .key | quote }}}
    {{- end }}
    {{- end }}
{{- end }}
{{- end }}
