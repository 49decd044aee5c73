package replicate

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// NewClient returns a client for a target: over HTTP/1.1, where each request
// has a connection of its own. It goes through the proxy of the environment
// unless dial, which is optional, says how to connect.
func NewClient(c *tls.Config, dial func(context.Context, string, string) (net.Conn, error)) *http.Client {
	t := &http.Transport{
		TLSClientConfig: c, DialContext: dial, DisableCompression: true,
		MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second, WriteBufferSize: 256 << 10,
		TLSHandshakeTimeout: 10 * time.Second,
		// The end of a large layer takes the destination's disk a while.
		ResponseHeaderTimeout: 5 * time.Minute,
	}
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	if dial == nil {
		t.Proxy = http.ProxyFromEnvironment
		t.DialContext = (&net.Dialer{Timeout: 5 * time.Second, Control: giveUp,
			KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}}).DialContext
	}
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// unheard is how long the other side may leave what was sent unacknowledged
// before the connection is given up.
const unheard = 20 * time.Second
