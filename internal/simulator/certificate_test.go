package simulator_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/simulator"
)

// certificate makes or loads the one of a folder.
func certificate(t *testing.T, dir string, names ...string) tls.Certificate {
	t.Helper()
	cert, err := simulator.Certificate(dir, names)
	if err != nil {
		t.Fatalf("certificate for %v: %v", names, err)
	}
	return cert
}

// A client that trusts the file is answered at each of the names, by one
// certificate as long as the names are the same.
func TestServeTLS(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "tls")
	cert := certificate(t, dir, "localhost", "127.0.0.1")
	if again := certificate(t, dir, "127.0.0.1"); !cmp.Equal(cert.Certificate, again.Certificate) {
		t.Error("the certificate is another one after a new start, want the same")
	}
	if info, err := os.Stat(filepath.Join(dir, "simulator.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key: got %v (%v), want mode 0600", info, err)
	}
	pem, err := os.ReadFile(filepath.Join(dir, simulator.CertificateFile))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)

	sim := newSimulator(t, simulator.Config{})
	group, err := simulator.Join(sim)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	go func() { ended <- group.ServeTLS(ctx, ln, cert) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("ServeTLS: got %v, want no error", err)
		}
	}()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true, DisableKeepAlives: true,
	}}
	get := func(host string) (*http.Response, error) {
		resp, err := client.Get("https://" + net.JoinHostPort(host, port) + "/simulator/report")
		if err == nil {
			_ = resp.Body.Close()
		}
		return resp, err
	}
	for _, host := range []string{"localhost", "127.0.0.1"} {
		resp, err := get(host)
		if err != nil || resp.StatusCode != http.StatusOK || resp.ProtoMajor != 1 {
			t.Errorf("%s: got %v (%v), want 200 over HTTP/1.1, whose connections faults can break", host, resp, err)
		}
	}
	if err := sim.SetOutage(simulator.OutageRefuse, time.Time{}); err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequest(http.MethodGet, "https://127.0.0.1:"+port+"/api/v2/conversations/x", nil)
	if resp, err := client.Do(req); err == nil {
		_ = resp.Body.Close()
		t.Errorf("an outage that refuses: got %v, want a broken connection", resp.Status)
	}
}

func TestCertificateIsReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := certificate(t, dir, "localhost")
	other := certificate(t, dir, "localhost", "simulator")
	if cmp.Equal(first.Certificate, other.Certificate) {
		t.Error("a name more: got the old certificate, want a new one")
	}
	if err := os.WriteFile(filepath.Join(dir, "simulator.key"), []byte("cut"), 0o600); err != nil {
		t.Fatal(err)
	}
	if cmp.Equal(other.Certificate, certificate(t, dir, "simulator").Certificate) {
		t.Error("a broken key: got the old certificate, want a new one")
	}
	if other.Leaf.IsCA {
		t.Error("the certificate may sign others, want one that stands for itself")
	}
	if _, err := simulator.Certificate("/dev/null/tls", []string{"localhost"}); err == nil {
		t.Error("a folder that cannot be: got no error")
	}
}
