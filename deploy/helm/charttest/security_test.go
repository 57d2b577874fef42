package charttest

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// weaknesses lists what a pod has that the chart must not give it. May says which
// capabilities were asked for, and metrics whether a port was.
func weaknesses(pod corev1.PodSpec, root, metrics bool, may []corev1.Capability) []string {
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
		add(len(c.Ports) > 0 && !metrics || len(c.Ports) > 1, "ports")
		for _, e := range c.Env {
			path := strings.HasPrefix(e.Value, "/etc/keyorch/")
			secret := regexp.MustCompile(`TOKEN|KEY|PASSWORD|SECRET`).MatchString(e.Name)
			add(secret && !path && (e.ValueFrom == nil || e.ValueFrom.SecretKeyRef == nil), e.Name+" in the clear")
		}
	}
	return found
}

func TestPodsAreConfined(t *testing.T) {
	for _, set := range sets() {
		for part, pod := range mustParse(t, set).pods() {
			var may []corev1.Capability
			if set == "full" && part == "agent" {
				may = []corev1.Capability{"NET_ADMIN"}
			}
			for _, w := range weaknesses(pod.Spec, part == "agent", set == "full", may) {
				t.Errorf("%s: %s has %s", set, part, w)
			}
		}
	}
}

// TestAPortIsOpenedWhenMetricsAreAskedForOnly, and where Prometheus is told.
func TestAPortIsOpenedWhenMetricsAreAskedForOnly(t *testing.T) {
	for set, enabled := range map[string]bool{"worker": false, "agents": false, "full": true} {
		for part, pod := range mustParse(t, set).pods() {
			c := pod.Spec.Containers[0]
			if told := slices.Contains(c.Args, "--metrics-listen=:9464"); told != enabled || len(c.Ports) > 0 != enabled {
				t.Errorf("%s: %s is told to listen: %v, and has ports %v", set, part, told, c.Ports)
			}
			if enabled && c.Ports[0].ContainerPort != 9464 {
				t.Errorf("%s: %s has port %d", set, part, c.Ports[0].ContainerPort)
			}
			for annotation, want := range map[string]string{"scrape": "true", "port": "9464", "path": "/metrics"} {
				if !enabled {
					want = ""
				}
				if got := pod.Annotations["prometheus.io/"+annotation]; got != want {
					t.Errorf("%s: prometheus.io/%s of %s is %q, want %q", set, annotation, part, got, want)
				}
			}
		}
	}
}

func TestOwnAnnotationsGoBeforeThoseForPrometheus(t *testing.T) {
	vals := values(t, "full")
	vals["agent"].(map[string]any)["podAnnotations"] = map[string]any{"prometheus.io/scrape": "false"}
	texts, err := render(vals, false)
	if err != nil {
		t.Fatal(err)
	}
	o, err := parse(manifest(texts)) // which refuses a key that is there twice
	if err != nil {
		t.Fatal(err)
	}
	if got := o.pods()["agent"].Annotations; got["prometheus.io/scrape"] != "false" || got["prometheus.io/port"] != "9464" {
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
		"ports": func(_ *corev1.PodSpec, c *corev1.Container) { c.Ports = []corev1.ContainerPort{{ContainerPort: 80}} },
		"VAULT_TOKEN in the clear": func(_ *corev1.PodSpec, c *corev1.Container) {
			c.Env = []corev1.EnvVar{{Name: "VAULT_TOKEN", Value: "x"}}
		},
	} {
		pod := mustParse(t, "worker").pods()["worker"].Spec
		weaken(&pod, &pod.Containers[0])
		if got := weaknesses(pod, false, false, nil); !slices.Equal(got, []string{want}) {
			t.Errorf("%q is found as %q", want, got)
		}
	}
}

// TestNoCredentialIsRendered puts a credential in every place where somebody may
// think that it belongs, past the schema that refuses it.
func TestNoCredentialIsRendered(t *testing.T) {
	const canary = "hvs.canary"
	vals := values(t, "full")
	for _, section := range []map[string]any{
		vals, vals["vault"].(map[string]any), vals["etcd"].(map[string]any), vals["temporal"].(map[string]any),
		vals["worker"].(map[string]any), vals["agent"].(map[string]any),
	} {
		for _, key := range []string{"token", "vaultToken", "VAULT_TOKEN", "password", "apiKey"} {
			section[key] = canary
		}
		for _, key := range []string{"env", "secrets", "extraEnv", "tokens"} {
			section[key] = map[string]any{"VAULT_TOKEN": canary}
		}
	}
	for _, part := range []string{"worker", "agent"} {
		vals[part].(map[string]any)["vaultTokenSecret"].(map[string]any)["value"] = canary
	}
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
	for part, pod := range mustParse(t, "full").pods() {
		mounted := map[string]string{}
		for _, m := range pod.Spec.Containers[0].VolumeMounts {
			if m.SubPath != "" {
				t.Errorf("%s mounts %s by subPath", part, m.Name)
			}
			mounted[m.Name] = m.MountPath
		}
		files := map[string]bool{}
		for _, v := range pod.Spec.Volumes {
			if v.Secret == nil {
				continue
			}
			if *v.Secret.DefaultMode != 0o440 {
				t.Errorf("%s: the files of %s have mode %o", part, v.Name, *v.Secret.DefaultMode)
			}
			for _, i := range v.Secret.Items {
				files[mounted[v.Name]+"/"+i.Path] = true
			}
		}
		for _, e := range pod.Spec.Containers[0].Env {
			if strings.HasPrefix(e.Value, "/") && !files[e.Value] {
				t.Errorf("%s: %s is %s, which no volume has", part, e.Name, e.Value)
			}
			delete(files, e.Value)
		}
		if len(files) > 0 {
			t.Errorf("%s: mounted for nothing: %v", part, files)
		}
	}
}

func TestOneAgentAtATimeIsReplaced(t *testing.T) {
	for _, set := range []string{"agents", "full"} {
		d := mustParse(t, set).daemonSets[0]
		u := d.Spec.UpdateStrategy
		if u.Type != appsv1.RollingUpdateDaemonSetStrategyType || u.RollingUpdate.MaxUnavailable.IntValue() != 1 || u.RollingUpdate.MaxSurge.IntValue() != 0 {
			t.Errorf("%s: the update strategy is %v", set, u)
		}
		if d.Spec.MinReadySeconds < 15 {
			t.Errorf("%s: an agent that cannot reach its servers counts as ready after %d s", set, d.Spec.MinReadySeconds)
		}
	}
}

// TestEachSiteHasADirectoryOfItsOwn, and the program is told the one that is
// mounted.
func TestEachSiteHasADirectoryOfItsOwn(t *testing.T) {
	for set, want := range map[string]string{"agents": "/var/lib/keyorch/dc2", "full": "/srv/keyorch/1e3"} {
		pod := mustParse(t, set).pods()["agent"].Spec
		i := slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.HostPath != nil })
		j := slices.IndexFunc(pod.Containers[0].VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == pod.Volumes[i].Name })
		if got := pod.Volumes[i].HostPath.Path; got != want {
			t.Errorf("%s: the host's directory is %s, want %s", set, got, want)
		}
		if got := pod.Containers[0].VolumeMounts[j].MountPath; got != want || !slices.Contains(pod.Containers[0].Args, "--state-dir="+got) {
			t.Errorf("%s: mounted at %s for %s", set, got, pod.Containers[0].Args)
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
	if temporal["worker"] == before["worker"] || temporal["agent"] != before["agent"] {
		t.Error("a new address of Temporal restarts the wrong ones")
	}
	etcd := sum(func(v map[string]any) { v["etcd"].(map[string]any)["endpoints"] = []any{"https://other:2379"} })
	if etcd["worker"] == before["worker"] || etcd["agent"] == before["agent"] {
		t.Error("a new address of etcd does not restart all")
	}
}

// TestSelectorsNeverChange: Kubernetes refuses an upgrade that changes one, so
// what can change has no place there.
func TestSelectorsNeverChange(t *testing.T) {
	o := mustParse(t, "full")
	for part, selector := range map[string]map[string]string{
		"worker": o.deployments[0].Spec.Selector.MatchLabels, "agent": o.daemonSets[0].Spec.Selector.MatchLabels,
	} {
		for label, value := range selector {
			if o.pods()[part].Labels[label] != value {
				t.Errorf("the %s's selector does not fit its pods: %s", part, label)
			}
		}
		if len(selector) != 3 || selector["app.kubernetes.io/component"] != part || selector["app.kubernetes.io/instance"] != "east" {
			t.Errorf("the %s's selector is %v", part, selector)
		}
	}
}

// TestReadmeListsTheValues compares the table with values.yaml, defaults
// included.
func TestReadmeListsTheValues(t *testing.T) {
	doc, err := os.ReadFile(chartDir + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var defaults map[string]any
	if err := yaml.Unmarshal(doc, &defaults); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	flatten("", defaults, want)
	readme, err := os.ReadFile(chartDir + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (`[^`]*`|[^|]*?) \\|").FindAllStringSubmatch(string(readme), -1) {
		name, value := row[1], row[2]
		listed[name] = true
		if def, there := want[name]; !there {
			t.Errorf("the table has %s, which is not in values.yaml", name)
		} else if def != "" && value != "`"+def+"`" {
			t.Errorf("the table says that %s is %s, and it is %s", name, value, def)
		}
	}
	for name := range want {
		if !listed[name] {
			t.Errorf("the table lacks %s", name)
		}
	}
}

// flatten lists values by their dotted names, as JSON and YAML write them.
// Resources are one value, whose default is told in words.
func flatten(prefix string, v map[string]any, into map[string]string) {
	for key, value := range v {
		name := prefix + key
		nested, ok := value.(map[string]any)
		switch {
		case key == "resources":
			into[name] = ""
		case ok && len(nested) > 0:
			flatten(name+".", nested, into)
		case value == "":
			into[name] = `""`
		default:
			text, err := yaml.Marshal(value)
			if err != nil {
				panic(err) // it has just been read
			}
			into[name] = strings.TrimSpace(string(text))
		}
	}
}
