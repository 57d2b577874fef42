package metrics

import (
	"testing"
	"time"
)

func TestHooksOfAnAgentAreCounted(t *testing.T) {
	a := NewAgent([]string{"exec", "sim"})
	a.Confirmed("sim", "upstream", 2*time.Second)
	a.Confirmed("sim", "downstream", time.Second)
	a.Confirmed("exec", "both", time.Second)
	a.Confirmed("dc1-spine1", "dc1-spine2", time.Second)
	a.Switched("sim", 3*time.Second)
	a.DeviceFault("exec", "unavailable")
	a.DeviceFault("exec", "the device said s3cr3t")
	a.Repaired("sim")
	a.EtcdRequest("get", time.Second, nil)
	a.VaultRequest("unwrap", time.Second, nil)
	want(t, scraped(t, a.Handler(complaining(t))), map[string]float64{
		`keyorch_confirm_seconds_sum{kind="sim",role="upstream"}`:       2,
		`keyorch_confirm_seconds_count{kind="sim",role="downstream"}`:   1,
		`keyorch_confirm_seconds_count{kind="other",role="other"}`:      1,
		`keyorch_switch_seconds_sum{kind="sim"}`:                        3,
		`keyorch_device_faults_total{fault="unavailable",kind="exec"}`:  1,
		`keyorch_device_faults_total{fault="other",kind="exec"}`:        1,
		`keyorch_repairs_total{kind="sim"}`:                             1,
		`keyorch_repairs_total{kind="exec"}`:                            0,
		`keyorch_etcd_request_seconds_count{op="get",outcome="ok"}`:     1,
		`keyorch_vault_request_seconds_count{op="unwrap",outcome="ok"}`: 1,
	})
}
