package config

import (
	"net"
	"regexp"
	"strconv"

	"github.com/weirhq/weir/schema"
)

// The bounds of a secret that a stranger may guess at, in characters.
const (
	leastSecret = 16
	mostSecret  = 128
)

// inPath is a secret that stands in an address as it is.
var inPath = regexp.MustCompile(`^[A-Za-z0-9_.~-]+$`)

// checkGateway checks the listener that others may reach.
func (d *decoder) checkGateway(g *Gateway) {
	if d.flagged["gateway"] { // nothing was read
		return
	}
	d.together("gateway.tls.cert", "gateway.tls.key")
	d.existing("gateway.tls.cert", &g.TLS.Cert)
	d.existing("gateway.tls.key", &g.TLS.Key)
	d.longEnough("gateway.token", g.Token)
	if !d.has("gateway.listen") {
		d.add("gateway.listen", "is missing")
		return
	}
	host, port, err := net.SplitHostPort(g.Listen)
	if _, number := strconv.ParseUint(port, 10, 16); err != nil || number != nil {
		d.add("gateway.listen", "must be an address with a port, such as 127.0.0.1:8090")
		return
	}
	if loopback(host) {
		return
	}
	if !d.has("gateway.token") {
		d.add("gateway.listen", "can be reached by others: give a token too, or listen on 127.0.0.1")
	}
	if !d.has("gateway.tls.cert") && !g.BehindProxy {
		d.add("gateway.listen", "can be reached by others: give tls too, or behind_proxy: true if TLS ends at a proxy")
	}
}

// longEnough checks a secret that was looked up.
func (d *decoder) longEnough(path string, s schema.Secret) {
	if n := len(s.Reveal()); n > 0 && (n < leastSecret || n > mostSecret) {
		d.add(path, "must have %d to %d characters", leastSecret, mostSecret)
	}
}

// checkWebhook checks the address of a lane's webhooks, and that there is who
// listens at it.
func (d *decoder) checkWebhook(path string, w Webhook) {
	if !d.read(path) {
		return
	}
	secret := path + ".secret"
	if !d.has(secret) {
		d.add(secret, "is missing")
	}
	d.longEnough(secret, w.Secret)
	if s := w.Secret.Reveal(); s != "" && !inPath.MatchString(s) {
		d.add(secret, "stands in an address: it may have letters, digits and - _ . ~ alone")
	}
	if !d.has("gateway") {
		d.add(path, "needs gateway: {listen: 127.0.0.1:8090}, or nobody hears it")
	}
}
