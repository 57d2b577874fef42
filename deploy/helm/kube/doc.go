// Package kube runs a real Kubernetes API server with its etcd, for tests. There is
// no kubelet and no controller: objects, admission, RBAC and tokens are real, pods
// never run, and a namespace that is deleted stays.
package kube
