// Command servers runs a Kubernetes API server together with the etcd that it
// keeps its objects in, for tests: there is no kubelet and no controller, so
// objects are real and pods never run. The first argument is the directory of
// etcd's data, and the others are kube-apiserver's.
//
// It ends at an interrupt, and when its standard input is closed, so that it does
// not outlive a test that was killed.
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	apiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

// startTime is how long etcd may take until it answers.
const startTime = time.Minute

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "servers:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("usage: servers DIRECTORY [FLAG OF KUBE-APISERVER ...]")
	}
	etcd, err := startEtcd(args[0])
	if err != nil {
		return err
	}
	// The API server goes first: without its etcd it never ends.
	defer etcd.Close()
	server := app.NewAPIServerCommand() // which takes care of interrupts
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		apiserver.RequestShutdown()
	}()
	server.SetArgs(append([]string{"--etcd-servers=http://" + etcd.Clients[0].Addr().String()}, args[1:]...))
	return server.Execute()
}

// startEtcd gives an etcd that answers on a free port of this host alone.
func startEtcd(dir string) (*embed.Etcd, error) {
	c := embed.NewConfig()
	c.Dir = filepath.Clean(dir)
	c.Logger, c.LogLevel = "zap", "error"
	var err error
	if c.ListenClientUrls, err = freeURL(); err != nil {
		return nil, err
	}
	if c.ListenPeerUrls, err = freeURL(); err != nil {
		return nil, err
	}
	c.AdvertiseClientUrls, c.AdvertisePeerUrls = c.ListenClientUrls, c.ListenPeerUrls
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	etcd, err := embed.StartEtcd(c)
	if err != nil {
		return nil, fmt.Errorf("start etcd in %s: %w", c.Dir, err)
	}
	select {
	case <-etcd.Server.ReadyNotify():
		return etcd, nil
	case err := <-etcd.Err():
		return nil, fmt.Errorf("start etcd in %s: %w", c.Dir, err)
	case <-time.After(startTime):
		etcd.Close()
		return nil, fmt.Errorf("start etcd in %s: it does not answer within %v", c.Dir, startTime)
	}
}

func freeURL() ([]url.URL, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.Close() }()
	return []url.URL{{Scheme: "http", Host: l.Addr().String()}}, nil
}
