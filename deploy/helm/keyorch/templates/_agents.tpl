{{/* What each kind of device needs of its pod. Those of the kernel change interfaces and state of the
     host's network: that is NET_ADMIN there. Daemons are spoken to through sockets and files, which
     takes no capability. Gear is out on the network. The rest runs the operator's own program. */}}
{{- define "keyorch.devices" -}}
macsec: {kernel: true}
wireguard: {kernel: true}
xfrm: {kernel: true}
bird: {daemon: "/run/bird and /etc/bird/keyorch"}
frr: {daemon: "/var/run/frr and /etc/frr"}
haproxy: {daemon: "the directory of the ticket keys and that of the master's socket"}
strongswan: {daemon: "the directory of charon's socket"}
netconf: {network: "TCP port 830"}
exec: {}
{{- end }}

{{/* The entries of agents, each with everything that agentDefaults has and that it does not say. What
     an entry says goes before, also where it is false, 0 or empty, which mergeOverwrite would leave out.
     kernel, daemons and gear say what its devices need. */}}
{{- define "keyorch.agents" -}}
{{- $devices := include "keyorch.devices" . | fromYaml -}}
{{- $all := list -}}
{{- range $own := .Values.agents -}}
{{- $agent := deepCopy $.Values.agentDefaults -}}
{{- range $key, $value := $own -}}
{{- if and (kindIs "map" $value) (has $key (list "serviceAccount" "podDisruptionBudget")) -}}
{{- $merged := index $agent $key -}}
{{- range $k, $v := $value -}}
{{- $_ := set $merged $k $v -}}
{{- end -}}
{{- else -}}
{{- $_ := set $agent $key $value -}}
{{- end -}}
{{- end -}}
{{- $_ := set $agent "name" (get $agent "name" | default $agent.site) -}}
{{- $kernel := list -}}
{{- $daemons := dict -}}
{{- $gear := list -}}
{{- range $kind := $agent.devices -}}
{{- $needs := index $devices $kind -}}
{{- if get $needs "kernel" -}}{{- $kernel = append $kernel $kind -}}{{- end -}}
{{- if get $needs "daemon" -}}{{- $_ := set $daemons $kind $needs.daemon -}}{{- end -}}
{{- if get $needs "network" -}}{{- $gear = append $gear $kind -}}{{- end -}}
{{- end -}}
{{- $capabilities := $agent.extraCapabilities -}}
{{- if $kernel -}}
{{- $capabilities = prepend $capabilities "NET_ADMIN" | uniq -}}
{{- $_ := set $agent "hostNetwork" true -}}
{{- end -}}
{{- $_ := set $agent "kernel" $kernel -}}
{{- $_ := set $agent "daemons" $daemons -}}
{{- $_ := set $agent "gear" $gear -}}
{{- $_ := set $agent "capabilities" $capabilities -}}
{{- if kindIs "string" $agent.runAsUser -}}
{{- $_ := set $agent "runAsUser" (ternary 0 65532 (eq $agent.kind "daemonset")) -}}
{{- end -}}
{{- $_ := set $agent "metricsPort" ($agent.metricsPort | default $.Values.metrics.port) -}}
{{- $_ := set $agent "healthPort" ($agent.healthPort | default $.Values.health.port) -}}
{{- $all = append $all $agent -}}
{{- end -}}
{{- toYaml $all -}}
{{- end }}
