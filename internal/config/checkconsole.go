package config

import (
	"fmt"

	"github.com/weirhq/weir/schema"
)

// checkConsole checks the listener of the operators' pages.
func (d *decoder) checkConsole(c *Console, g Gateway) {
	if d.flagged["console"] { // nothing was read
		return
	}
	d.together("console.tls.cert", "console.tls.key")
	d.existing("console.tls.cert", &c.TLS.Cert)
	d.existing("console.tls.key", &c.TLS.Key)
	if !d.has("console.token") {
		d.add("console.token", "is missing: who opens the pages can stop lanes and send calls again")
	}
	owners := map[schema.Secret]string{}
	for _, value := range g.Token.Values {
		owners[value] = "gateway.token"
	}
	for i, p := range g.Publishers {
		for _, value := range p.Token.Values {
			owners[value] = fmt.Sprintf("gateway.publishers[%d].token", i)
		}
	}
	d.ownToken("console.token", c.Token, owners)
	if !d.has("console.listen") {
		d.add("console.listen", "is missing")
		return
	}
	if d.private("console.listen", c.Listen, "127.0.0.1:8091") {
		return
	}
	if !d.has("console.tls.cert") && !c.BehindProxy {
		d.add("console.listen", "can be reached by others: give tls too, or behind_proxy: true if TLS ends at a proxy")
	}
}
