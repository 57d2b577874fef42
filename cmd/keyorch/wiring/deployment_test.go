package wiring

import (
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"github.com/keyorch/keyorch/fault"
)

func TestOlder(t *testing.T) {
	order := []string{"v0.9.0", "v1.0.0-rc.1", "v1.0.0", "v1.0.0-2-gabcdef0", "v1.0.0-10-gabcdef0", "v1.0.1", "v1.2.0", "v1.10.0"}
	for i, a := range order {
		for j, b := range order {
			if is := older(seen(a, 0), seen(b, 0)); is != (i < j) {
				t.Errorf("%s is older than %s: %v", a, b, is)
			}
		}
	}
	// Names that are no numbers go by when Temporal saw them first.
	for _, c := range []struct {
		a, b string
		want bool
	}{{"d05bb14", "1257c4b", true}, {"d05bb14", "v1.0.0", true}, {"v1.0.0", "d05bb14", true}} {
		if is := older(seen(c.a, 1), seen(c.b, 2)); is != c.want {
			t.Errorf("%s is older than %s: %v", c.a, c.b, is)
		}
		if older(seen(c.a, 2), seen(c.b, 1)) {
			t.Errorf("%s is older than %s, though it came later", c.a, c.b)
		}
	}
}

func seen(build string, at int64) client.WorkerDeploymentVersionSummary {
	return client.WorkerDeploymentVersionSummary{
		Version: worker.WorkerDeploymentVersion{DeploymentName: "keyorch", BuildID: build}, CreateTime: time.Unix(at, 0),
	}
}

func TestDeploymentsAreChecked(t *testing.T) {
	for _, d := range []Deployment{{Name: "a.b", Build: "v1"}, {Name: "a:b", Build: "v1"}, {Name: "a", Build: "dev"}, {Name: "a"}, {Downgrade: true}, {Name: "__a", Build: "v1"}} {
		if err := d.Check(); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", d, err)
		}
	}
	for _, d := range []Deployment{{}, {Build: "dev"}, {Name: "keyorch", Build: "v1.0.0"}} {
		if err := d.Check(); err != nil {
			t.Errorf("%+v: %v", d, err)
		}
	}
}
