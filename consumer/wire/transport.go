package wire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"time"
)

// createTransport returns the connections for creates. Each is a [gateConn], and
// TLS is shaken hands beneath it, so that no write but a request's reaches it.
func createTransport(roots *x509.CertPool) *http.Transport {
	t := plainTransport(createIdle)
	var plain net.Dialer
	secure := tls.Dialer{Config: tlsConfig(roots)}
	t.DialContext = gated(plain.DialContext)
	t.DialTLSContext = gated(secure.DialContext)
	return t
}

// queryTransport returns the connections for queries.
func queryTransport(roots *x509.CertPool) *http.Transport {
	t := plainTransport(queryIdle)
	t.DialContext = (&net.Dialer{Timeout: dialTimeout}).DialContext
	t.TLSHandshakeTimeout = dialTimeout
	t.TLSClientConfig = tlsConfig(roots)
	return t
}

// plainTransport returns a transport that does nothing by itself: no proxy, no
// compression (a small answer could unpack without end), no HTTP/2.
func plainTransport(idle time.Duration) *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Transport{
		Protocols:              &protocols,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        idle,
		MaxResponseHeaderBytes: maxHeader,
	}
}

func tlsConfig(roots *x509.CertPool) *tls.Config {
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
}

// gated wraps the connections that dial makes. The transport does not hand the
// request's deadline to a dial, so it has its own.
func gated(dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &gateConn{Conn: conn}, nil
	}
}
