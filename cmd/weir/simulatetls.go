package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/weirhq/weir/internal/simulator"
)

// certificate returns what --tls asks for, nil without it.
func (c *simulateCmd) certificate() (*tls.Certificate, error) {
	if c.TLS == "" {
		return nil, nil //nolint:nilnil // none is wanted, and that is no error
	}
	if len(c.TLSName) == 0 || c.TLSName[0] == "" {
		return nil, usageError{errors.New("--tls-name: name at least one host for which the certificate is, such as localhost")}
	}
	cert, err := simulator.Certificate(c.TLS, c.TLSName)
	if err != nil {
		return nil, fmt.Errorf("--tls: %w; name a folder that can be written", err)
	}
	return &cert, nil
}

// base is the simulator's URL, by the first name that the certificate is for.
func (c *simulateCmd) base(addr net.Addr) string {
	if c.TLS == "" {
		return "http://" + addr.String()
	}
	_, port, _ := net.SplitHostPort(addr.String()) // of a listener
	return "https://" + net.JoinHostPort(c.TLSName[0], port)
}

// askTimeout is how long a simulator may take to say that it is there.
const askTimeout = 3 * time.Second

// ask reports, as an error or none, whether the simulator at --listen answers; with
// --tls also whether with the certificate that clients trust.
func (c *simulateCmd) ask(a *app) error {
	_, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return usageError{fmt.Errorf("--listen: %w", err)}
	}
	transport, url := &http.Transport{DisableKeepAlives: true}, "http://"+net.JoinHostPort("127.0.0.1", port)
	if c.TLS != "" {
		trusted, err := os.ReadFile(filepath.Join(c.TLS, simulator.CertificateFile))
		if err != nil {
			return fmt.Errorf("--tls: %w; see that weir simulate runs with this folder", err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(trusted)
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, ServerName: c.TLSName[0], MinVersion: tls.VersionTLS12}
		url = "https://" + net.JoinHostPort("127.0.0.1", port)
	}
	ctx, cancel := context.WithTimeout(a.ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/simulator/report", http.NoBody)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return fmt.Errorf("no answer: %w; see that weir simulate runs there", err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		return errors.Join(fmt.Errorf("it answers %s, and not as weir simulate does", resp.Status), err)
	}
	return nil
}
