package config

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/weirhq/weir/schema"
)

// crmKeys are the keys of a CRM's block that only some kinds have.
var crmKeys = map[string][]string{
	"app_secret": {HubSpot},
	"user":       {Pipedrive},
	"password":   {Pipedrive},
	"api_key":    {Salesforce, Generic},
	"header":     {Salesforce, Generic},
	"hmac":       {Salesforce, Generic},
	"map":        {Generic},
}

// checkCRM checks the address of a lane's CRM, and what it must show there.
func (d *decoder) checkCRM(path string, c *CRM, routes []routeBlock) {
	if c == nil || !d.read(path) {
		return
	}
	d.inAddress(path+".secret", c.Secret)
	if !d.has("gateway") {
		d.add(path, "needs gateway: {listen: 127.0.0.1:8090}, or nobody hears it")
	}
	kind := path + ".kind"
	if !d.has(kind) {
		d.add(kind, "is missing")
	}
	d.oneOf(kind, c.Kind, HubSpot, Pipedrive, Salesforce, Generic)
	if d.flagged[kind] {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(crmKeys)) {
		if at := path + "." + key; d.has(at) && !slices.Contains(crmKeys[key], c.Kind) {
			d.add(at, "has no meaning with kind: %s", c.Kind)
		}
	}
	switch c.Kind {
	case HubSpot:
		d.needed(path + ".app_secret")
		if !d.has("gateway.public_url") {
			d.add(path, "needs gateway: {public_url: https://…}: HubSpot signs the address that it sends to")
		}
	case Pipedrive:
		d.needed(path + ".user")
		d.needed(path + ".password")
		if strings.Contains(c.User, ":") {
			d.add(path+".user", "must have no colon")
		}
		d.longEnough(path+".password", c.Password)
	default:
		d.checkShown(path, c)
	}
	if c.Kind == Generic {
		d.checkMap(path+".map", c)
	} else if len(routes) > 0 && !slices.ContainsFunc(routes, func(r routeBlock) bool { return leads(r.Type) }) {
		d.add(path, "makes events of type lead.created and lead.updated, and no route is for one of them")
	}
}

// leads reports whether a route's type may be that of a CRM's event.
func leads(pattern string) bool {
	return strings.Contains(pattern, "*") || pattern == "lead.created" || pattern == "lead.updated"
}

// needed reports a key that is missing.
func (d *decoder) needed(path string) {
	if !d.has(path) {
		d.add(path, "is missing")
	}
}

// checkShown checks a key, or a signature in its stead.
func (d *decoder) checkShown(path string, c *CRM) {
	key, sign := path+".api_key", path+".hmac"
	switch {
	case d.has(key) == d.has(sign):
		d.add(path, "must have either api_key or hmac")
		return
	case d.has(key):
		d.longEnough(key, c.APIKey)
		d.header(path+".header", c.Header)
		return
	case d.has(path + ".header"):
		d.add(path+".header", "has no meaning without api_key")
	}
	h := c.HMAC
	if h == nil || !d.read(sign) {
		return
	}
	d.needed(sign + ".secret")
	d.longEnough(sign+".secret", h.Secret)
	d.needed(sign + ".header")
	d.header(sign+".header", h.Header)
	d.oneOf(sign+".algorithm", h.Algorithm, "sha256", "sha512")
	d.oneOf(sign+".encoding", h.Encoding, "hex", "base64")
	within(d, sign+".tolerance", h.Tolerance, 10*time.Second, 15*time.Minute)
	timed := d.has(sign + ".timestamp")
	if timed {
		d.header(sign+".timestamp", h.Timestamp)
	} else if d.has(sign + ".tolerance") {
		d.add(sign+".tolerance", "has no meaning without timestamp")
	}
	switch signed := sign + ".signed"; {
	case !d.has(signed) && timed:
		h.Signed = "{timestamp}.{body}"
	case !d.has(signed):
		h.Signed = "{body}"
	case strings.Count(h.Signed, "{body}") != 1:
		d.add(signed, "must have {body} once")
	case timed != (strings.Count(h.Signed, "{timestamp}") == 1):
		d.add(signed, "must have {timestamp} once if there is a timestamp, and else not: a time that is not signed proves nothing")
	}
}

// header checks the name of a header.
func (d *decoder) header(path, name string) {
	if d.read(path) && !headerName.MatchString(name) {
		d.add(path, "must be the name of a header: letters, digits and -")
	}
}

// mapped are the parts of an event that a map makes.
var mapped = []string{"data", "id", "source", "type"}

// checkMap compiles the map of a generic CRM: it is the request of a route for
// every event.
func (d *decoder) checkMap(path string, c *CRM) {
	if !d.has(path) {
		d.add(path, "is missing: it makes the id, source, type and data of an event")
		return
	}
	if !d.read(path) {
		return
	}
	for _, key := range mapped {
		if c.Map[key] == nil {
			d.add(path+"."+key, "is missing")
		}
	}
	if id, _ := c.Map["id"].(string); !strings.Contains(id, "${") {
		d.add(path+".id", "must have an ${ expression }: with one id for all, all would be one event")
	}
	for _, key := range slices.Sorted(maps.Keys(c.Map)) {
		if !slices.Contains(mapped, key) {
			d.add(path+"."+clip(key), "is none of %s", strings.Join(mapped, ", "))
		}
	}
	const route = "[0].request" // where CompileRoutes finds it
	compiled, err := schema.CompileRoutes([]schema.RouteSource{{Type: "*", Request: c.Map}})
	if err != nil {
		d.routeErrors(path, route, err)
	}
	c.Mapping = compiled
}

// checkPublic checks the gateway's address as others have it.
func (d *decoder) checkPublic(g *Gateway) {
	const path = "gateway.public_url"
	if !d.read(path) {
		return
	}
	u, err := url.Parse(g.PublicURL)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		d.add(path, "must be an address such as https://hooks.example.com")
	case u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())):
		d.add(path, "must begin with https://, or be on this machine")
	}
	g.PublicURL = strings.TrimRight(g.PublicURL, "/")
}
