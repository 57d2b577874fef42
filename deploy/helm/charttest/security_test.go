package charttest

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// weaknesses lists what a pod has that the chart must not give it. May says which
// capabilities were asked for, and ports how many are opened.
func weaknesses(pod corev1.PodSpec, root bool, ports int, may []corev1.Capability) []string {
	var found []string
	add := func(bad bool, what string) {
		if bad {
			found = append(found, what)
		}
	}
	p := pod.SecurityContext
	if p == nil {
		return []string{"no security context"}
	}
	add(p.RunAsUser == nil || p.RunAsNonRoot == nil || *p.RunAsNonRoot == root || (*p.RunAsUser == 0) != root, "user")
	add(p.SeccompProfile == nil || p.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault, "seccomp")
	add(pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken, "a token of the cluster")
	add(pod.EnableServiceLinks == nil || *pod.EnableServiceLinks, "service links")
	add(pod.HostPID || pod.HostIPC, "host namespaces")
	for _, v := range pod.Volumes {
		if v.Projected == nil {
			continue
		}
		for _, s := range v.Projected.Sources {
			t := s.ServiceAccountToken
			add(t == nil || t.Audience == "" || t.ExpirationSeconds == nil || *t.ExpirationSeconds > 24*3600, "a token that is for anybody or for ever")
		}
	}
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		s := c.SecurityContext
		if s == nil {
			found = append(found, "no security context of "+c.Name)
			continue
		}
		add(s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation, "privilege escalation")
		add(s.Privileged != nil && *s.Privileged, "privileged")
		add(s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem, "a writable root")
		add(s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}), "capabilities that are not dropped")
		add(s.Capabilities != nil && !slices.Equal(s.Capabilities.Add, may), "capabilities that nobody asked for")
		add(len(c.Ports) != ports, "ports")
		add(c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero(), "no bounds of memory")
		for _, e := range c.Env {
			path := strings.HasPrefix(e.Value, "/etc/keyorch/") || strings.HasPrefix(e.Value, "/run/keyorch/")
			secret := regexp.MustCompile(`TOKEN|_KEY|PASSWORD|SECRET|CODEC`).MatchString(e.Name)
			add(secret && !path && (e.ValueFrom == nil || e.ValueFrom.SecretKeyRef == nil), e.Name+" in the clear")
		}
	}
	return found
}

func TestPodsAreConfined(t *testing.T) {
	for _, set := range sets() {
		for part, pod := range mustParse(t, set).pods() {
			ports := 1
			switch {
			case part == "test" || part == "operator":
				ports = 0
			case set == "full":
				ports = 2
			}
			var may []corev1.Capability
			switch set + " " + part {
			case "agents agent dc2":
				may = []corev1.Capability{"NET_ADMIN"}
			case "full agent 1e3":
				may = []corev1.Capability{"NET_ADMIN", "SYS_ADMIN"}
			}
			root := strings.HasPrefix(part, "agent") && set != "gear" // the host keeps their journal
			for _, w := range weaknesses(pod.Spec, root, ports, may) {
				t.Errorf("%s: %s has %s", set, part, w)
			}
		}
	}
}

// TestTheLeastCapabilities: what a kind of device gives its agent, the whole table.
func TestTheLeastCapabilities(t *testing.T) {
	for kind, want := range map[string]struct {
		kernel, socket bool
	}{
		"macsec": {kernel: true}, "wireguard": {kernel: true}, "xfrm": {kernel: true},
		"bird": {socket: true}, "frr": {socket: true}, "haproxy": {socket: true}, "strongswan": {socket: true},
		"exec": {}, "netconf": {},
	} {
		vals := values(t, "agents")
		entry := map[string]any{
			"site": "dc2", "devices": []any{kind}, "nodeFromHost": true,
			"egress": []any{map[string]any{"ports": []any{map[string]any{"port": 830}}}},
		}
		if want.socket {
			entry["hostPaths"] = []any{map[string]any{"path": "/run/x"}}
		}
		vals["agents"] = []any{entry}
		texts, err := render(vals, false)
		if err != nil {
			t.Fatal(kind, err)
		}
		o, err := parse(manifest(texts))
		if err != nil {
			t.Fatal(err)
		}
		pod := o.daemonSets[0].Spec.Template.Spec
		var may []corev1.Capability
		if want.kernel {
			may = []corev1.Capability{"NET_ADMIN"}
		}
		if got := pod.Containers[0].SecurityContext.Capabilities.Add; !slices.Equal(got, may) || pod.HostNetwork != want.kernel {
			t.Errorf("%s: capabilities %v, the host's network %v", kind, got, pod.HostNetwork)
		}
		hostPaths := 0
		for _, v := range pod.Volumes {
			if v.HostPath != nil {
				hostPaths++
			}
		}
		if extra := hostPaths - 1; extra != 0 != want.socket { // one is the journal's
			t.Errorf("%s: %d directories of the host", kind, hostPaths)
		}
	}
}

// TestPortsAreThoseOfProbesAndMetrics, and Prometheus is told where.
func TestPortsAreThoseOfProbesAndMetrics(t *testing.T) {
	for set, want := range map[string]map[string][2]string{
		"worker": {"worker": {"8081", ""}}, "agents": {"agent dc2": {"8081", ""}},
		"full": {"worker": {"8181", "9464"}, "agent 1e3": {"8181", "9464"}, "agent no": {"8182", "9465"}},
	} {
		pods := mustParse(t, set).pods()
		for part, ports := range want {
			c := pods[part].Spec.Containers[0]
			var opened [2]string
			for _, p := range c.Ports {
				opened[map[string]int{"health": 0, "metrics": 1}[p.Name]] = strconv.Itoa(int(p.ContainerPort))
			}
			if opened != ports || !slices.Contains(c.Args, "--health-listen=:"+ports[0]) ||
				slices.Contains(c.Args, "--metrics-listen=:"+ports[1]) != (ports[1] != "") {
				t.Errorf("%s: %s has ports %v and is told %v, want %v", set, part, opened, c.Args, ports)
			}
			for annotation, value := range map[string]string{"scrape": "true", "port": ports[1], "path": "/metrics"} {
				if ports[1] == "" {
					value = ""
				}
				if got := pods[part].Annotations["prometheus.io/"+annotation]; got != value {
					t.Errorf("%s: prometheus.io/%s of %s is %q, want %q", set, annotation, part, got, value)
				}
			}
		}
	}
}

// TestOnlyTheLoopIsAskedWhetherItIsAlive: readiness looks outside, liveness must
// not, or an outage would restart what still works.
func TestOnlyTheLoopIsAskedWhetherItIsAlive(t *testing.T) {
	for _, set := range sets() {
		for part, pod := range mustParse(t, set).pods() {
			c := pod.Spec.Containers[0]
			if part == "test" || part == "operator" {
				continue
			}
			if c.LivenessProbe.HTTPGet.Path != "/livez" || c.ReadinessProbe.HTTPGet.Path != "/readyz" || c.StartupProbe.HTTPGet.Path != "/readyz" {
				t.Errorf("%s: %s is asked for %s, %s and %s", set, part, c.LivenessProbe.HTTPGet.Path, c.ReadinessProbe.HTTPGet.Path, c.StartupProbe.HTTPGet.Path)
			}
			for _, p := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
				if p.HTTPGet.Port.StrVal != "health" || p.TimeoutSeconds < 5 { // the program answers within 4 s
					t.Errorf("%s: a probe of %s is %+v", set, part, p)
				}
			}
		}
	}
}

func TestOwnAnnotationsGoBeforeThoseForPrometheus(t *testing.T) {
	vals := values(t, "full")
	vals["agentDefaults"].(map[string]any)["podAnnotations"] = map[string]any{"prometheus.io/scrape": "false"}
	texts, err := render(vals, false)
	if err != nil {
		t.Fatal(err)
	}
	o, err := parse(manifest(texts)) // which refuses a key that is there twice
	if err != nil {
		t.Fatal(err)
	}
	if got := o.pods()["agent no"].Annotations; got["prometheus.io/scrape"] != "false" || got["prometheus.io/port"] != "9465" {
		t.Errorf("the annotations are %v", got)
	}
}

func TestWeaknessesAreFound(t *testing.T) {
	yes, no := true, false
	for want, weaken := range map[string]func(*corev1.PodSpec, *corev1.Container){
		"user":                   func(p *corev1.PodSpec, _ *corev1.Container) { p.SecurityContext.RunAsNonRoot = &no },
		"seccomp":                func(p *corev1.PodSpec, _ *corev1.Container) { p.SecurityContext.SeccompProfile = nil },
		"a token of the cluster": func(p *corev1.PodSpec, _ *corev1.Container) { p.AutomountServiceAccountToken = nil },
		"service links":          func(p *corev1.PodSpec, _ *corev1.Container) { p.EnableServiceLinks = nil },
		"host namespaces":        func(p *corev1.PodSpec, _ *corev1.Container) { p.HostPID = true },
		"privilege escalation":   func(_ *corev1.PodSpec, c *corev1.Container) { c.SecurityContext.AllowPrivilegeEscalation = nil },
		"privileged":             func(_ *corev1.PodSpec, c *corev1.Container) { c.SecurityContext.Privileged = &yes },
		"a writable root":        func(_ *corev1.PodSpec, c *corev1.Container) { c.SecurityContext.ReadOnlyRootFilesystem = &no },
		"capabilities that are not dropped": func(_ *corev1.PodSpec, c *corev1.Container) {
			c.SecurityContext.Capabilities.Drop = nil
		},
		"capabilities that nobody asked for": func(_ *corev1.PodSpec, c *corev1.Container) {
			c.SecurityContext.Capabilities.Add = []corev1.Capability{"SYS_PTRACE"}
		},
		"ports": func(_ *corev1.PodSpec, c *corev1.Container) {
			c.Ports = append(c.Ports, corev1.ContainerPort{ContainerPort: 80})
		},
		"a token that is for anybody or for ever": func(p *corev1.PodSpec, _ *corev1.Container) {
			p.Volumes[0].Projected.Sources[0].ServiceAccountToken.Audience = ""
		},
		"no bounds of memory": func(_ *corev1.PodSpec, c *corev1.Container) { c.Resources.Limits = nil },
		"VAULT_TOKEN in the clear": func(_ *corev1.PodSpec, c *corev1.Container) {
			c.Env = []corev1.EnvVar{{Name: "VAULT_TOKEN", Value: "x"}}
		},
	} {
		pod := mustParse(t, "worker").pods()["worker"].Spec
		weaken(&pod, &pod.Containers[0])
		if got := weaknesses(pod, false, 1, nil); !slices.Equal(got, []string{want}) {
			t.Errorf("%q is found as %q", want, got)
		}
	}
}

// TestNoCredentialIsRendered puts a credential in every place where somebody may
// think that it belongs, past the schema that refuses it.
func TestNoCredentialIsRendered(t *testing.T) {
	const canary = "hvs.canary"
	vals := values(t, "full")
	agents := vals["agents"].([]any)
	for _, section := range []map[string]any{
		vals, vals["vault"].(map[string]any), vals["vault"].(map[string]any)["auth"].(map[string]any), vals["etcd"].(map[string]any),
		vals["temporal"].(map[string]any), vals["worker"].(map[string]any), vals["agentDefaults"].(map[string]any), agents[0].(map[string]any),
	} {
		for _, key := range []string{"token", "vaultToken", "VAULT_TOKEN", "password", "apiKey"} {
			section[key] = canary
		}
		for _, key := range []string{"env", "secrets", "extraEnv", "tokens"} {
			section[key] = map[string]any{"VAULT_TOKEN": canary}
		}
	}
	vals["temporal"].(map[string]any)["codecSecret"].(map[string]any)["value"] = canary
	texts, err := render(vals, true)
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range texts {
		if strings.Contains(text, canary) {
			t.Errorf("%s shows a credential", file)
		}
	}
	vals["worker"].(map[string]any)["logLevel"] = canary
	if texts, err = render(vals, true); err != nil || !strings.Contains(manifest(texts), canary) {
		t.Error("a canary in a place that is rendered is not seen:", err)
	}
}

// TestSecretFilesFollowRenewal: a file that is mounted by subPath is never
// renewed.
func TestSecretFilesFollowRenewal(t *testing.T) {
	for _, set := range sets() {
		for part, pod := range mustParse(t, set).pods() {
			mounted := map[string]string{}
			for _, m := range pod.Spec.Containers[0].VolumeMounts {
				if m.SubPath != "" {
					t.Errorf("%s: %s mounts %s by subPath", set, part, m.Name)
				}
				mounted[m.Name] = m.MountPath
			}
			there, used := map[string]bool{}, map[string]bool{}
			for _, v := range pod.Spec.Volumes {
				switch {
				case v.Secret != nil && strings.HasPrefix(mounted[v.Name], "/etc/keyorch/"):
					if *v.Secret.DefaultMode != 0o440 {
						t.Errorf("%s: the files of %s's %s have mode %o", set, part, v.Name, *v.Secret.DefaultMode)
					}
					for _, i := range v.Secret.Items {
						there[mounted[v.Name]+"/"+i.Path] = true
					}
				case v.Projected != nil:
					there[mounted[v.Name]+"/"+v.Projected.Sources[0].ServiceAccountToken.Path] = true
				case v.EmptyDir != nil:
					there[mounted[v.Name]] = true
				}
			}
			for _, e := range pod.Spec.Containers[0].Env {
				if strings.HasPrefix(e.Value, "/") && !there[e.Value] {
					t.Errorf("%s: %s: %s is %s, which no volume has", set, part, e.Name, e.Value)
				}
				used[e.Value] = true
			}
			for file := range there {
				if !used[file] && !strings.HasPrefix(file, "/var/lib/keyorch/") && file != "/tmp" {
					t.Errorf("%s: %s: mounted for nothing: %s", set, part, file)
				}
			}
		}
	}
}

// TestUpdatesReplaceOneAtATime: an agent of a host goes before the next one comes;
// workers and agents that run anywhere come before one goes.
func TestUpdatesReplaceOneAtATime(t *testing.T) {
	for _, set := range []string{"agents", "full"} {
		for _, d := range mustParse(t, set).daemonSets {
			u := d.Spec.UpdateStrategy
			if u.Type != appsv1.RollingUpdateDaemonSetStrategyType || u.RollingUpdate.MaxUnavailable.IntValue() != 1 || u.RollingUpdate.MaxSurge.IntValue() != 0 {
				t.Errorf("%s: the update strategy of %s is %v", set, d.Name, u)
			}
		}
	}
	for _, d := range mustParse(t, "gear").deployments {
		u := d.Spec.Strategy
		claimed := slices.ContainsFunc(d.Spec.Template.Spec.Volumes, func(v corev1.Volume) bool { return v.PersistentVolumeClaim != nil })
		if claimed != (u.Type == appsv1.RecreateDeploymentStrategyType) {
			t.Errorf("the update strategy of %s is %s, and it has a volume: %v", d.Name, u.Type, claimed)
		}
		if !claimed && (u.RollingUpdate.MaxUnavailable.IntValue() != 0 || u.RollingUpdate.MaxSurge.IntValue() != 1) {
			t.Errorf("the update strategy of %s is %v", d.Name, u.RollingUpdate)
		}
	}
}

// TestEachEntryHasADirectoryOfItsOwn, and the program is told the one that is
// mounted.
func TestEachEntryHasADirectoryOfItsOwn(t *testing.T) {
	for set, want := range map[string]map[string]string{
		"agents": {"agent dc2": "/var/lib/keyorch/dc2"},
		"full":   {"agent 1e3": "/srv/keyorch/1e3", "agent no": "/var/lib/keyorch/no"},
	} {
		for part, dir := range want {
			pod := mustParse(t, set).pods()[part].Spec
			i := slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == "state" })
			j := slices.IndexFunc(pod.Containers[0].VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == "state" })
			if got := pod.Volumes[i].HostPath.Path; got != dir {
				t.Errorf("%s: the host's directory is %s, want %s", set, got, dir)
			}
			if got := pod.Containers[0].VolumeMounts[j].MountPath; got != dir || !slices.Contains(pod.Containers[0].Args, "--state-dir="+got) {
				t.Errorf("%s: mounted at %s for %s", set, got, pod.Containers[0].Args)
			}
		}
	}
}

// TestPodsChangeWithTheirServersOnly: a new address of Temporal is no reason to
// restart every agent.
func TestPodsChangeWithTheirServersOnly(t *testing.T) {
	sum := func(change func(map[string]any)) map[string]string {
		vals := values(t, "full")
		change(vals)
		texts, err := render(vals, false)
		if err != nil {
			t.Fatal(err)
		}
		o, err := parse(manifest(texts))
		if err != nil {
			t.Fatal(err)
		}
		sums := map[string]string{}
		for part, pod := range o.pods() {
			sums[part] = pod.Annotations["checksum/connections"]
		}
		return sums
	}
	before := sum(func(map[string]any) {})
	temporal := sum(func(v map[string]any) { v["temporal"].(map[string]any)["address"] = "other:7233" })
	if temporal["worker"] == before["worker"] || temporal["agent no"] != before["agent no"] {
		t.Error("a new address of Temporal restarts the wrong ones")
	}
	etcd := sum(func(v map[string]any) { v["etcd"].(map[string]any)["endpoints"] = []any{"https://other:2379"} })
	if etcd["worker"] == before["worker"] || etcd["agent no"] == before["agent no"] {
		t.Error("a new address of etcd does not restart all")
	}
}

// TestSelectorsNeverChange: Kubernetes refuses an upgrade that changes one, so
// what can change has no place there. And none picks another part's pods.
func TestSelectorsNeverChange(t *testing.T) {
	for _, set := range sets() {
		o := mustParse(t, set)
		selectors := map[string]map[string]string{}
		for _, d := range o.deployments {
			selectors[d.Name] = d.Spec.Selector.MatchLabels
		}
		for _, d := range o.daemonSets {
			selectors[d.Name] = d.Spec.Selector.MatchLabels
		}
		for name, selector := range selectors {
			picked := 0
			for _, pod := range o.pods() {
				if contains(pod.Labels, selector) {
					picked++
				}
			}
			if picked != 1 {
				t.Errorf("%s: the selector of %s picks %d kinds of pods", set, name, picked)
			}
			for label := range selector {
				if !slices.Contains([]string{"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component", "keyorch/entry"}, label) {
					t.Errorf("%s: the selector of %s has %s", set, name, label)
				}
			}
		}
		for _, p := range o.policies {
			picked := 0
			for _, pod := range o.pods() {
				if contains(pod.Labels, p.Spec.PodSelector.MatchLabels) {
					picked++
				}
			}
			if picked != 1 || len(p.Spec.PolicyTypes) != 2 {
				t.Errorf("%s: the policy %s is of %d kinds of pods, in %v", set, p.Name, picked, p.Spec.PolicyTypes)
			}
		}
	}
}

func contains(labels, selector map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return true
}

// TestPoliciesLetOutToServersOnly reads the ports from the rendered policies.
func TestPoliciesLetOutToServersOnly(t *testing.T) {
	want := map[string]string{
		"full rotation-worker": "53 53; 2379 2380; 8200; 7233; 443", "full rotation-operator": "53 53; 2379 2380; 8200; 7233",
		"worker east-keyorch-worker": "53 53; 2379; 8200; 7233",
		"gear east-keyorch-worker":   "53 53; 2379; 443; 7233", "gear east-keyorch-agent-dc3-routers": "53 53; 2379; 443; 830",
		"gear east-keyorch-agent-dc3-scripts": "53 53; 2379; 443",
	}
	for _, set := range sets() {
		for _, p := range mustParse(t, set).policies {
			var rules []string
			for _, e := range p.Spec.Egress {
				var ports []string
				for _, port := range e.Ports {
					ports = append(ports, port.Port.String())
				}
				rules = append(rules, strings.Join(ports, " "))
			}
			name := set + " " + p.Name
			if got := strings.Join(rules, "; "); got != want[name] {
				t.Errorf("%s lets out to %q, want %q", name, got, want[name])
			}
			delete(want, name)
			scraped := set == "full" && p.Name == "rotation-worker"
			if (len(p.Spec.Ingress) == 1) != scraped || scraped && len(p.Spec.Ingress[0].From) != 1 {
				t.Errorf("%s lets in %v", name, p.Spec.Ingress)
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("there are no policies for %v", want)
	}
}
