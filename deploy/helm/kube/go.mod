// Module kube starts a Kubernetes API server for tests of the chart, and asks it
// things. It is a module of its own, with no dependencies, so that the chart's tests
// and module e2e can both have it.
module github.com/keyorch/keyorch/deploy/helm/kube

go 1.26.8
