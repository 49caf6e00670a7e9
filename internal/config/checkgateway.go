package config

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/weirhq/weir/schema"
)

// The bounds of a secret that a stranger may guess at, in characters.
const (
	leastSecret = 16
	mostSecret  = 128
)

// tooShort says so, or that it is too long.
var tooShort = fmt.Sprintf("must have %d to %d characters", leastSecret, mostSecret)

// inPath is a secret that stands in an address as it is.
var inPath = regexp.MustCompile(`^[A-Za-z0-9_.~-]+$`)

// checkGateway checks the listener that others may reach.
func (d *decoder) checkGateway(g *Gateway, lanes []laneBlock) {
	if d.flagged["gateway"] { // nothing was read
		return
	}
	d.together("gateway.tls.cert", "gateway.tls.key")
	d.existing("gateway.tls.cert", &g.TLS.Cert)
	d.existing("gateway.tls.key", &g.TLS.Key)
	d.checkPublishers(g, lanes)
	d.checkPublic(g)
	if !d.has("gateway.listen") {
		d.add("gateway.listen", "is missing")
		return
	}
	if d.private("gateway.listen", g.Listen, "127.0.0.1:8090") {
		return
	}
	if !d.has("gateway.token") && !d.has("gateway.publishers") {
		d.add("gateway.listen", "can be reached by others: give a token or publishers too, or listen on 127.0.0.1")
	}
	if !d.has("gateway.tls.cert") && !g.BehindProxy {
		d.add("gateway.listen", "can be reached by others: give tls too, or behind_proxy: true if TLS ends at a proxy")
	}
}

// private checks an address to listen on, and reports whether there is no more to
// ask: it is wrong, or this machine alone can reach it.
func (d *decoder) private(path, address, example string) bool {
	host, port, err := net.SplitHostPort(address)
	if _, number := strconv.ParseUint(port, 10, 16); err != nil || number != nil {
		d.add(path, "must be an address with a port, such as %s", example)
		return true
	}
	return loopback(host)
}

// mostOrigins bounds the origins of a publisher.
const mostOrigins = 32

// dnsName is the name of a system, as the webhook handshake has it.
var dnsName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)

// checkPublishers checks who may feed which lanes.
func (d *decoder) checkPublishers(g *Gateway, lanes []laneBlock) {
	if d.has("gateway.publishers") && len(g.Publishers) == 0 {
		d.add("gateway.publishers", "must have at least one publisher")
	}
	owners := map[schema.Secret]string{}
	d.ownToken("gateway.token", g.Token, owners)
	names := map[string]string{}
	for i, path := range d.whole("gateway.publishers", len(g.Publishers)) {
		p := &g.Publishers[i]
		d.distinct(path+".name", p.Name, names)
		if !d.has(path + ".token") {
			d.add(path+".token", "is missing")
		}
		d.ownToken(path+".token", p.Token, owners)
		d.fedLanes(path+".lanes", p.Lanes, lanes)
		within(d, path+".rate", p.Rate, 1, 10000)
		if len(p.Origins) > mostOrigins || slices.ContainsFunc(p.Origins, func(o string) bool { return !dnsName.MatchString(o) }) {
			d.add(path+".origins", "must be at most %d DNS names, such as eventemitter.example.com", mostOrigins)
		}
	}
}

// ownToken refuses a token that another has too: it would not tell them apart.
func (d *decoder) ownToken(path string, t Token, owners map[schema.Secret]string) {
	for _, value := range t.Values {
		if first, twice := owners[value]; twice && first != path {
			d.add(path, "is also the token of %s: each needs its own", strings.TrimSuffix(first, ".token"))
		}
		owners[value] = path
	}
}

// fedLanes checks the names of lanes that a publisher may feed.
func (d *decoder) fedLanes(path string, names []string, lanes []laneBlock) {
	if len(names) == 0 {
		d.add(path, "must name at least one lane")
	}
	for i, name := range names {
		at := path + "[" + strconv.Itoa(i) + "]"
		switch {
		case slices.Contains(names[:i], name):
			d.add(at, "is there twice")
		case !slices.ContainsFunc(lanes, func(l laneBlock) bool { return l.Name == name }):
			d.add(at, "there is no lane of that name")
		}
	}
}

// longEnough checks a secret that was looked up.
func (d *decoder) longEnough(path string, s schema.Secret) {
	if n := len(s.Reveal()); n > 0 && (n < leastSecret || n > mostSecret) {
		d.add(path, "%s", tooShort)
	}
}

// checkWebhook checks the address of a lane's webhooks, and that there is who
// listens at it.
func (d *decoder) checkWebhook(path string, w Webhook) {
	if !d.read(path) {
		return
	}
	d.inAddress(path+".secret", w.Secret)
	if !d.has("gateway") {
		d.add(path, "needs gateway: {listen: 127.0.0.1:8090}, or nobody hears it")
	}
}

// inAddress checks a secret that is the last part of an address.
func (d *decoder) inAddress(path string, s schema.Secret) {
	if !d.has(path) {
		d.add(path, "is missing")
	}
	d.longEnough(path, s)
	if text := s.Reveal(); text != "" && !inPath.MatchString(text) {
		d.add(path, "stands in an address: it may have letters, digits and - _ . ~ alone")
	}
}
