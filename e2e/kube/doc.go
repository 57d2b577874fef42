// Package kube tests logins to Vault from a Kubernetes cluster: a real API server
// reviews the tokens of the chart's ServiceAccounts. It is run by make test-chart.
package kube
