package config

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// domainName is what NATS takes for a JetStream domain, and Weir for the beginning of
// inboxes: one subject token.
var domainName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func (d *decoder) checkBroker(b *brokerBlock) {
	if d.flagged["broker"] { // nothing was read
		return
	}
	d.servers(b)
	var ways []string
	for _, key := range []string{"creds", "nkey", "user", "token"} {
		if d.has("broker." + key) {
			ways = append(ways, key)
		}
	}
	if len(ways) > 1 {
		d.add("broker", "%s exclude each other: keep one", strings.Join(ways, ", "))
	}
	d.together("broker.user", "broker.password")
	d.together("broker.tls.cert", "broker.tls.key")
	d.existing("broker.creds", &b.Creds)
	d.existing("broker.nkey", &b.NKey)
	d.existing("broker.tls.ca", &b.TLS.CA)
	d.existing("broker.tls.cert", &b.TLS.Cert)
	d.existing("broker.tls.key", &b.TLS.Key)
	if b.Domain != "" && !domainName.MatchString(b.Domain) {
		d.add("broker.domain", "must be letters, digits, hyphens and underscores, at most 64")
	}
	if d.has("broker.inbox") && !domainName.MatchString(b.Inbox) {
		d.add("broker.inbox", "must be letters, digits, hyphens and underscores, at most 64")
	}
	d.watch(b)
	within(d, "broker.replicas", b.Replicas, 1, 5)
	within(d, "broker.ack_wait", b.AckWait, time.Second, 30*time.Minute)
}

// servers checks url and urls, and leaves all in URLs.
func (d *decoder) servers(b *brokerBlock) {
	if d.has("broker.url") && d.has("broker.urls") {
		d.add("broker.urls", "cannot stand beside url: leave one of them out")
		return
	}
	if d.has("broker.url") {
		d.server("broker.url", b.URL)
		b.URLs = []string{b.URL}
		return
	}
	if len(b.URLs) == 0 {
		d.add("broker.url", "is missing")
	}
	for i, u := range b.URLs {
		d.server("broker.urls["+strconv.Itoa(i)+"]", u)
	}
}

// server checks a broker's URL. No text repeats it: there may be a password in
// it.
func (d *decoder) server(path, raw string) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "":
		d.add(path, "must be a URL such as nats://127.0.0.1:4222")
	case badPort(u):
		d.add(path, "must have a port from 0 to 65535, or none")
	case u.Scheme != "nats" && u.Scheme != "tls" && u.Scheme != "ws" && u.Scheme != "wss":
		d.add(path, "must begin with nats://, tls://, ws:// or wss://")
	case u.User != nil:
		d.add(path, "must not hold credentials: give them as user and password, or token")
	}
}

// watch checks how the servers can be asked what a client is not told, and leaves
// all monitoring addresses in Monitors.
func (d *decoder) watch(b *brokerBlock) {
	switch {
	case d.has("broker.monitor") && d.has("broker.monitors"):
		d.add("broker.monitors", "cannot stand beside monitor: leave one of them out")
	case d.has("broker.monitor"):
		d.monitor("broker.monitor", b.Monitor)
		b.Monitors = []string{b.Monitor}
	default:
		for i, u := range b.Monitors {
			d.monitor("broker.monitors["+strconv.Itoa(i)+"]", u)
		}
	}
	d.existing("broker.system.creds", &b.System.Creds)
	d.together("broker.system.user", "broker.system.password")
	switch {
	case d.has("broker.system.creds") && d.has("broker.system.user"):
		d.add("broker.system", "creds, user exclude each other: keep one")
	case d.has("broker.system") && !d.has("broker.system.creds") && !d.has("broker.system.user") && !d.has("broker.system.password"):
		d.add("broker.system", "needs creds, or user and password")
	}
	if d.has("broker.system") && len(b.Monitors) > 0 {
		d.add("broker.system", "cannot stand beside monitor: leave one of them out")
	}
}

// monitor checks a monitoring address. No text repeats it.
func (d *decoder) monitor(path, raw string) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" || badPort(u):
		d.add(path, "must be a URL such as http://127.0.0.1:8222")
	case u.User != nil:
		d.add(path, "must not hold credentials: a monitor takes none")
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		d.add(path, "must be https, or http on loopback")
	}
}

func (d *decoder) checkEmbedded(e *Embedded) {
	e.Dir = d.resolve(e.Dir)
	if host, ok := d.listener("embedded.listen", e.Listen, "127.0.0.1:4222"); ok && !loopback(host) {
		d.add("embedded.listen", "must be a loopback address, such as 127.0.0.1:4222")
	}
}

func (d *decoder) checkAdmin(a Admin) {
	if a.Listen == "" {
		return
	}
	host, ok := d.listener("admin.listen", a.Listen, "127.0.0.1:8092")
	if ok && !loopback(host) && !a.Open {
		d.add("admin.listen", "can be reached by others: listen on 127.0.0.1, or give open: true too if they may ask for health and metrics without a token")
	}
}

// listener checks the form of an address to listen on, and returns its host.
func (d *decoder) listener(path, address, example string) (host string, ok bool) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		d.add(path, "must be an address with a port, such as %s", example)
		return "", false
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		d.add(path, "must end in a port from 0 to 65535")
		return "", false
	}
	return host, true
}

// badPort reports whether the URL has a port that cannot be.
func badPort(u *url.URL) bool {
	if u.Port() == "" {
		return false
	}
	_, err := strconv.ParseUint(u.Port(), 10, 16)
	return err != nil
}

// loopback reports whether host can be nothing but this machine.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// together reports the missing one of two keys that need each other.
func (d *decoder) together(a, b string) {
	switch {
	case d.has(a) && !d.has(b):
		d.add(b, "is missing: it goes together with %s", a)
	case d.has(b) && !d.has(a):
		d.add(a, "is missing: it goes together with %s", b)
	}
}

// within reports a value outside of its bounds.
func within[T cmp.Ordered](d *decoder, path string, v, low, high T) {
	if v < low || v > high {
		d.add(path, "must be between %s and %s", spell(low), spell(high))
	}
}

// spell writes a bound as the file would.
func spell(v any) string {
	text := fmt.Sprint(v)
	if _, ok := v.(time.Duration); !ok {
		return text
	}
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
