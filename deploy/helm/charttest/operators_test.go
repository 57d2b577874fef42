package charttest

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// The kinds of cert-manager and of the Prometheus operator, as far as the chart
// uses them.

type certificate struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		SecretName, CommonName, Duration, RenewBefore string
		Usages                                        []string
		PrivateKey                                    struct {
			Algorithm, RotationPolicy string
			Size                      int
		}
		IssuerRef struct{ Name, Kind, Group string }
	}
}

type serviceMonitor struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Selector        metav1.LabelSelector
		Endpoints       []struct{ Port, Interval string }
		PodTargetLabels []string
	}
}

type prometheusRule struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Groups []struct {
			Name  string
			Rules []alert
		}
	}
}

type alert struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}
