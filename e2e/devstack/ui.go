package devstack

import (
	"context"
	"net/http"
	"time"

	"github.com/cenkalti/backoff/v5"
	uiserver "github.com/temporalio/ui-server/v2/server"
	uiconfig "github.com/temporalio/ui-server/v2/server/config"
	uioptions "github.com/temporalio/ui-server/v2/server/server_options"

	"github.com/keyorch/keyorch/fault"
)

// startUI serves Temporal's own pages and returns when they have found Temporal,
// which must be there already.
func startUI(ctx context.Context, ports Ports) (*uiserver.Server, error) {
	ui := uiserver.NewServer(uioptions.WithConfigProvider(&uiconfig.Config{
		Host:                loopback,
		Port:                ports.TemporalUI,
		TemporalGRPCAddress: address(ports.Temporal),
		EnableUI:            true,
		DefaultNamespace:    namespace,
		CORS:                uiconfig.CORS{CookieInsecure: true}, // there is no TLS on the loopback
		DisableNewsFetch:    true,                                // nothing here talks to the internet
		HideLogs:            true,
	}))
	go func() { _ = ui.Start() }() // it returns when stopped
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		return struct{}{}, get(ctx, uiURL(ports)+"/api/v1/namespaces/"+namespace)
	}, backoff.WithBackOff(backoff.NewConstantBackOff(10*time.Millisecond)))
	if err != nil {
		ui.Stop()
		return nil, fault.Wrap(fault.Unavailable, err, "start temporal's web ui on %s", address(ports.TemporalUI))
	}
	return ui, nil
}

func uiURL(ports Ports) string { return "http://" + address(ports.TemporalUI) }

func get(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fault.New(fault.Unavailable, "get %s: %s", url, resp.Status)
	}
	return nil
}
