package charttest

import (
	"slices"
	"strings"
	"testing"
)

// TestOnlyTheWorkerHasTheSecretsOfWebhooks: as a directory of which it is told, and of which
// nothing but its files is in the environment.
func TestOnlyTheWorkerHasTheSecretsOfWebhooks(t *testing.T) {
	for set, want := range map[string]bool{"full": true, "worker": false} {
		for part, pod := range mustParse(t, set).pods() {
			var at string
			for _, v := range pod.Spec.Volumes {
				if v.Secret == nil || v.Secret.SecretName != "webhooks" {
					continue
				}
				if len(v.Secret.Items) > 0 {
					t.Errorf("%s %s has only %v of the Secret", set, part, v.Secret.Items)
				}
				for _, m := range pod.Spec.Containers[0].VolumeMounts {
					if m.Name == v.Name && m.ReadOnly {
						at = m.MountPath
					}
				}
			}
			if has := at != ""; has != (want && part == "worker") {
				t.Errorf("%s %s has the secrets of webhooks: %v", set, part, has)
			}
			told := slices.Contains(pod.Spec.Containers[0].Args, "--webhook-secrets="+at)
			if flag := strings.Contains(strings.Join(pod.Spec.Containers[0].Args, " "), "--webhook-secrets"); told != (at != "") || flag != told {
				t.Errorf("%s %s: they are at %q, and it is told %q", set, part, at, pod.Spec.Containers[0].Args)
			}
		}
	}
}
