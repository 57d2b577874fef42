{{/* What values.schema.json cannot say: values that contradict each other. Each is refused in words. */}}
{{- define "keyorch.check" -}}
{{- $agents := include "keyorch.agents" . | fromYamlArray -}}
{{- if not (or .Values.worker.enabled $agents (include "keyorch.declares" .)) -}}
{{- fail "there is nothing to install: set worker.enabled, or list agents" -}}
{{- end -}}
{{- if and .Values.worker.enabled .Values.worker.podDisruptionBudget.enabled (eq (.Values.worker.replicas | int64) 0) -}}
{{- fail "worker.replicas is 0, and worker.podDisruptionBudget guards pods that there are not: turn it off, or the worker with worker.enabled: false" -}}
{{- end -}}
{{- if and .Values.worker.enabled .Values.worker.webhookSecret .Values.networkPolicy.enabled (not .Values.worker.egress) -}}
{{- fail "worker.webhookSecret is set, and the network policy lets the worker out to its servers alone: say in worker.egress where receivers are ({to: [{ipBlock: {cidr: 0.0.0.0/0}}], ports: [{port: 443}]})" -}}
{{- end -}}
{{- if not .Values.metrics.enabled -}}
{{- range $name := list "serviceMonitor" "rules" "dashboard" -}}
{{- if (index $.Values.metrics $name).enabled -}}
{{- fail (printf "metrics.%s is on, and metrics.enabled is off: nobody would answer. Set metrics.enabled: true" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.topology.files .Values.topology.configMap -}}
{{- fail "topology.files and topology.configMap are both set: say one of them" -}}
{{- end -}}
{{- if and .Values.schedules (not .Values.temporal.address) -}}
{{- fail "schedules are kept by Temporal: set temporal.address" -}}
{{- end -}}
{{- if and (eq .Values.certificates.source "cert-manager") (not .Values.certificates.certManager.issuerRef.name) -}}
{{- fail "certificates.source is cert-manager: set certificates.certManager.issuerRef.name" -}}
{{- end -}}
{{- if and (not .Values.worker.deployment.name) .Values.worker.deployment.allowDowngrade -}}
{{- fail "worker.deployment.allowDowngrade is about versions, and worker.deployment.name is empty: there are none" -}}
{{- end -}}
{{- if and (eq .Values.certificates.source "vault") (eq .Values.vault.auth.method "cert") -}}
{{- fail "vault.auth.method is cert, and certificates.source is vault: a pod would need its certificate to ask for it. Take the certificate from a Secret or cert-manager, or log in in another way" -}}
{{- end -}}
{{- if and (eq .Values.certificates.source "vault") (not .Values.etcd.caSecret.name) -}}
{{- fail "certificates.source is vault, and nothing says who signed etcd's own certificate: name the Secret with its ca.crt in etcd.caSecret.name" -}}
{{- end -}}
{{- if eq (.Values.metrics.port | int64) (.Values.health.port | int64) -}}
{{- fail "metrics.port and health.port are the same: a port is taken once" -}}
{{- end -}}
{{- range $at := include "keyorch.parts" . | fromYamlArray -}}
{{- include "keyorch.checkPart" (dict "root" $ "part" $at) -}}
{{- end -}}
{{- $names := list -}}
{{- $taken := dict -}}
{{- range $i, $agent := $agents -}}
{{- if has $agent.name $names -}}
{{- fail (printf "agents[%d]: %s is the name of an entry before: give each a name of its own" $i $agent.name) -}}
{{- end -}}
{{- $names = append $names $agent.name -}}
{{- include "keyorch.checkAgent" (dict "at" (printf "agents[%d] (%s)" $i $agent.name) "agent" $agent "root" $) -}}
{{- if $agent.hostNetwork -}}
{{- range $port := list $agent.metricsPort $agent.healthPort -}}
{{- $key := printf "%v %s" ($port | int64) (toJson $agent.nodeSelector) -}}
{{- if hasKey $taken $key -}}
{{- fail (printf "agents[%d] (%s) and agents (%s) use the network of the same hosts, and port %d there: give one of them another metricsPort and healthPort, or other hosts with nodeSelector" $i $agent.name (get $taken $key) ($port | int64)) -}}
{{- end -}}
{{- $_ := set $taken $key $agent.name -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Everybody who logs in: where his values are, and what is in them. */}}
{{- define "keyorch.parts" -}}
{{- $all := list -}}
{{- if .Values.worker.enabled -}}{{- $all = append $all (dict "at" "worker" "values" .Values.worker) -}}{{- end -}}
{{- if include "keyorch.declares" . -}}{{- $all = append $all (dict "at" "operator" "values" .Values.operator) -}}{{- end -}}
{{- range $i, $agent := include "keyorch.agents" . | fromYamlArray -}}
{{- $all = append $all (dict "at" (printf "agents[%d] (%s)" $i $agent.name) "values" $agent) -}}
{{- end -}}
{{- toYaml $all -}}
{{- end }}

{{- define "keyorch.checkPart" -}}
{{- $method := .root.Values.vault.auth.method -}}
{{- if and (has $method (list "approle" "token")) (not .part.values.vaultSecret) -}}
{{- fail (printf "%s: vault.auth.method is %s: name the Secret with the credentials in vaultSecret" .part.at $method) -}}
{{- end -}}
{{- if and (has $method (list "kubernetes" "cert")) .part.values.vaultSecret -}}
{{- fail (printf "%s: vaultSecret is set, and vault.auth.method %s uses none: remove it, or choose approle or token" .part.at $method) -}}
{{- end -}}
{{- if and (eq $method "kubernetes") (not .part.values.serviceAccount.create) (not .part.values.serviceAccount.name) -}}
{{- fail (printf "%s: vault.auth.method is kubernetes, and every pod of the namespace may be the account \"default\": set serviceAccount.create, or serviceAccount.name" .part.at) -}}
{{- end -}}
{{- $source := .root.Values.certificates.source -}}
{{- if and (eq $source "secret") (not .part.values.certificateSecret) -}}
{{- fail (printf "%s: certificates.source is secret: name the Secret with tls.crt and tls.key in certificateSecret" .part.at) -}}
{{- end -}}
{{- if and (ne $source "secret") .part.values.certificateSecret -}}
{{- fail (printf "%s: certificateSecret is set, and certificates.source is %s: remove it, or set certificates.source: secret" .part.at $source) -}}
{{- end -}}
{{- end }}

{{- define "keyorch.checkAgent" -}}
{{- $agent := .agent -}}
{{- $local := concat $agent.kernel (keys $agent.daemons | sortAlpha) -}}
{{- if and (eq $agent.kind "deployment") $local -}}
{{- fail (printf "%s: kind is deployment, and %s are devices of one host, which a pod that runs anywhere does not reach: set kind: daemonset" .at (join ", " $local)) -}}
{{- end -}}
{{- if and $agent.nodeFromHost (or (ne $agent.kind "daemonset") $agent.nodes) -}}
{{- fail (printf "%s: nodeFromHost is for a daemonset that lists no nodes" .at) -}}
{{- end -}}
{{- if and $local (not $agent.nodeFromHost) (or (ne (len $agent.nodes) 1) (not $agent.nodeSelector)) -}}
{{- fail (printf "%s: %s are devices of one host, and each agent of a daemonset on several hosts would take the others' nodes for its own: set nodeFromHost: true, or list one node in nodes and its host in nodeSelector" .at (join ", " $local)) -}}
{{- end -}}
{{- if and $agent.daemons (not $agent.hostPaths) -}}
{{- $kind := keys $agent.daemons | sortAlpha | first -}}
{{- fail (printf "%s: %s speaks to a daemon of the host through its files: name their directories in hostPaths (%s)" .at $kind (get $agent.daemons $kind)) -}}
{{- end -}}
{{- if and (eq $agent.kind "deployment") $agent.hostPaths -}}
{{- fail (printf "%s: hostPaths are of one host, and a deployment runs anywhere: set kind: daemonset" .at) -}}
{{- end -}}
{{- if and $agent.extraCapabilities (not $agent.kernel) -}}
{{- fail (printf "%s: extraCapabilities %s without a device of the kernel: list it in devices (macsec, wireguard or xfrm), or remove them: nothing else needs any" .at (join ", " $agent.extraCapabilities)) -}}
{{- end -}}
{{- if and $agent.capabilities (ne ($agent.runAsUser | int64) 0) -}}
{{- fail (printf "%s: runAsUser is %d, and added capabilities (%s) reach root only: leave runAsUser out" .at ($agent.runAsUser | int64) (join ", " $agent.capabilities)) -}}
{{- end -}}
{{- if and (eq $agent.kind "daemonset") (ne ($agent.replicas | int64) 1) -}}
{{- fail (printf "%s: replicas are for a deployment: a daemonset has one agent on each host" .at) -}}
{{- end -}}
{{- if and $agent.stateSize (or (ne $agent.kind "deployment") (gt ($agent.replicas | int64) 1)) -}}
{{- fail (printf "%s: stateSize keeps the journal of one agent: it is for a deployment with replicas 1" .at) -}}
{{- end -}}
{{- if and $agent.gear (not $agent.egress) .root.Values.networkPolicy.enabled (not $agent.hostNetwork) -}}
{{- fail (printf "%s: %s is gear on the network, and the network policy lets pods out to their servers alone: say in egress where it is ({to: [{ipBlock: {cidr: 192.0.2.0/24}}], ports: [{port: 830}]})" .at (first $agent.gear)) -}}
{{- end -}}
{{- if eq ($agent.metricsPort | int64) ($agent.healthPort | int64) -}}
{{- fail (printf "%s: metricsPort and healthPort are the same: a port is taken once" .at) -}}
{{- end -}}
{{- end }}
