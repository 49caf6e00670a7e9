package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/broker"
)

// secured is a cluster of three nats-servers, started from the files in deploy/nats
// as they are. The servers are of this process; nothing else of it differs.
type secured struct {
	dir     string // of the files
	urls    []string
	ca      string
	log     syncBuffer // of all servers
	servers []*server.Server
}

// natsPassword is that of every user here; its hash is cheap, for it is made with the
// least cost.
const (
	natsPassword = "open-sesame"
	natsHash     = "user:$2a$04$z/2.vbBVffxZwrLgqFFrAuXI7wwHnFi9T0wguugGgti5L4.Lo1STK"
)

// newSecured makes certificates and users, and starts the servers. change edits a
// file of deploy/nats before that.
func newSecured(t *testing.T, change func(name, text string) string) *secured {
	t.Helper()
	c := &secured{dir: t.TempDir()}
	for _, name := range []string{"nats.conf", "accounts.conf", "users.sh"} {
		text, err := os.ReadFile(filepath.Join("../../deploy/nats", name))
		if err != nil {
			t.Fatal(err)
		}
		if change != nil {
			text = []byte(change(name, string(text)))
		}
		if err := os.WriteFile(filepath.Join(c.dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.users(t)
	c.certificates(t)
	c.start(t)
	return c
}

// users runs users.sh, as the guide says, with a htpasswd that is quick.
func (c *secured) users(t *testing.T) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(c.dir, "secrets"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"weir", "operator", "backup", "monitor", "acme_crm", "globex_crm"} {
		if err := os.WriteFile(filepath.Join(c.dir, "secrets", user+".password"), []byte(natsPassword), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "htpasswd"), []byte("#!/bin/sh\ncat >/dev/null\necho '"+natsHash+"'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", filepath.Join(c.dir, "users.sh"))
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("users.sh: %v\n%s", err, out)
	}
}

// certificates makes an authority and a certificate for 127.0.0.1.
func (c *secured) certificates(t *testing.T) {
	t.Helper()
	made := func(serial int64, name string, ca bool, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		cert := &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
			IsCA: ca, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
		}
		if ca {
			cert.KeyUsage |= x509.KeyUsageCertSign
			parent, signer = cert, key
		} else {
			cert.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
			cert.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
		}
		der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		private, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		for ext, block := range map[string]*pem.Block{"pem": {Type: "CERTIFICATE", Bytes: der}, "key": {Type: "EC PRIVATE KEY", Bytes: private}} {
			if err := os.WriteFile(filepath.Join(c.dir, name+"."+ext), pem.EncodeToMemory(block), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		parsed, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return parsed, key
	}
	authority, key := made(1, "ca", true, nil, nil)
	made(2, "node", false, authority, key)
	c.ca = filepath.Join(c.dir, "ca.pem")
}

// start starts the three servers, each with its own environment.
func (c *secured) start(t *testing.T) {
	t.Helper()
	ports := openPorts(t, 6)
	var routes []string
	for i := range 3 {
		routes = append(routes, fmt.Sprint("nats://127.0.0.1:", ports[i]))
		c.urls = append(c.urls, fmt.Sprint("tls://127.0.0.1:", ports[3+i]))
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the servers refused:\n%s", strings.Join(c.refusals(), ""))
		}
		for _, s := range c.servers {
			s.Shutdown()
			s.WaitForShutdown()
		}
	})
	for i := range 3 {
		text := c.resolved(t, map[string]string{
			"NATS_NAME": fmt.Sprint("n", i+1), "NATS_LISTEN": fmt.Sprint("127.0.0.1:", ports[3+i]),
			"NATS_CERT": filepath.Join(c.dir, "node.pem"), "NATS_KEY": filepath.Join(c.dir, "node.key"), "NATS_CA": c.ca,
			"NATS_STORE": filepath.Join(c.dir, fmt.Sprint("store", i+1)), "NATS_CLUSTER_LISTEN": fmt.Sprint("127.0.0.1:", ports[i]),
			"NATS_ROUTES": "[" + strings.Join(slices.Concat(routes[:i], routes[i+1:]), ", ") + "]",
		})
		opts, err := server.ProcessConfigFile(text)
		if err != nil {
			t.Fatal(err)
		}
		opts.NoSigs = true
		s, err := server.NewServer(opts)
		if err != nil {
			t.Fatal(err)
		}
		s.SetLoggerV2(&natsLog{name: opts.ServerName, to: &c.log}, false, false, false)
		c.servers = append(c.servers, s)
		go s.Start()
	}
	for i, s := range c.servers {
		if !s.ReadyForConnections(patience) {
			t.Fatalf("server %d does not listen", i)
		}
	}
	await(t, patience, "the cluster", func() bool {
		return slices.ContainsFunc(c.servers, func(s *server.Server) bool { return s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == 3 })
	})
}

// resolved is nats.conf with its variables put before it: the servers share one
// environment here. It returns the path.
func (c *secured) resolved(t *testing.T, env map[string]string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(c.dir, "nats.conf"))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(env)) {
		fmt.Fprintf(&b, "%s: %s\n", name, env[name])
	}
	path := filepath.Join(c.dir, env["NATS_NAME"]+".conf")
	if err := os.WriteFile(path, append(b.Bytes(), text...), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// as connects as a user.
func (c *secured) as(t *testing.T, user string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(strings.Join(c.urls, ","), append(opts, nats.UserInfo(user, natsPassword), nats.RootCAs(c.ca))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// yaml is the broker block of a user's weir.yaml.
func (c *secured) yaml(user, inbox string) string {
	return fmt.Sprintf("broker:\n  urls: [%s]\n  user: %s\n  inbox: %s\n  password: {env: BROKER_TOKEN}\n  tls: {ca: %q}\n  replicas: 3\n  system: {user: monitor, password: {env: BROKER_TOKEN}}\n",
		strings.Join(c.urls, ", "), user, inbox, c.ca)
}

// refusals are the lines of the servers' logs that tell of a lack of rights.
func (c *secured) refusals() (all []string) {
	for line := range strings.Lines(c.log.String()) {
		if strings.Contains(line, "Violation") || strings.Contains(line, "not authorized") {
			all = append(all, line)
		}
	}
	return all
}

// natsLog keeps what a server says.
type natsLog struct {
	name string
	to   *syncBuffer
}

func (l *natsLog) say(level, format string, v ...any) {
	_, _ = fmt.Fprintf(l.to, "%s %s %s\n", l.name, level, fmt.Sprintf(format, v...))
}
func (l *natsLog) Noticef(format string, v ...any) { l.say("INF", format, v...) }
func (l *natsLog) Warnf(format string, v ...any)   { l.say("WRN", format, v...) }
func (l *natsLog) Fatalf(format string, v ...any)  { l.say("FTL", format, v...) }
func (l *natsLog) Errorf(format string, v ...any)  { l.say("ERR", format, v...) }
func (l *natsLog) Debugf(string, ...any)           {}
func (l *natsLog) Tracef(string, ...any)           {}

// weir connects as weir serve does, once the cluster can be used.
func (c *secured) weir(t *testing.T) *broker.Broker {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b, err := broker.Connect(ctx, zerolog.Nop(), broker.Config{URL: strings.Join(c.urls, ","), User: "weir", Password: natsPassword, CA: c.ca, Replicas: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	return b
}
