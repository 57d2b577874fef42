package access_test

import (
	"strings"
	"testing"

	"github.com/keyorch/keyorch/store/storetest"
)

// The whole suite of package store, over TLS and on an etcd that asks everybody who
// they are.
func TestStoreOverTLS(t *testing.T) {
	w := prepared(t)
	storetest.Run(t, storetest.Server{
		Endpoint: strings.TrimPrefix(w.endpoint, "https://"),
		Files:    w.authority.Issue(t, "root"),
		Data:     w.serverConfig.Dir,
		Restart: func(meanwhile func()) {
			w.server.Close()
			meanwhile()
			w.run()
		},
	})
}
