package config

import (
	"net/url"
	"strings"

	"github.com/weirhq/weir/schema"
)

// Traces is where OpenTelemetry spans are sent.
type Traces struct {
	// Endpoint is the collector's URL: https, or http on loopback. Without a path
	// /v1/traces is asked for.
	Endpoint string `yaml:"endpoint"`
	// Headers of each request.
	Headers []Header `yaml:"headers"`
	// Percent of the events whose publisher says nothing of tracing, 1 to 100; default 100.
	Percent int `yaml:"percent"`
}

// Header is a header with a secret in it.
type Header struct {
	Name  string        `yaml:"name"`
	Value schema.Secret `yaml:"value"`
}

func (t *Traces) defaults() { t.Percent = 100 }

// checkTraces checks where spans go.
func (d *decoder) checkTraces(t *Traces) {
	if t == nil || !d.read("traces") {
		return
	}
	d.needed("traces.endpoint")
	if d.read("traces.endpoint") {
		d.collector("traces.endpoint", t.Endpoint)
	}
	within(d, "traces.percent", t.Percent, 1, 100)
	seen := make(map[string]bool)
	for i, at := range d.whole("traces.headers", len(t.Headers)) {
		h := t.Headers[i]
		d.needed(at + ".name")
		d.needed(at + ".value")
		low := strings.ToLower(h.Name)
		switch {
		case !d.read(at + ".name"):
		case !headerName.MatchString(h.Name):
			d.add(at+".name", "must be the name of a header, such as Authorization")
		case low == "content-type" || low == "content-length" || low == "host" || low == "content-encoding":
			d.add(at+".name", "is set by weir itself")
		case seen[low]:
			d.add(at+".name", "is there already")
		}
		seen[low] = true
		if strings.ContainsFunc(h.Value.Reveal(), func(r rune) bool { return r < ' ' || r > '~' }) {
			d.add(at+".value", "holds a character that no header can carry")
		}
	}
}

// collector checks the collector's address.
func (d *decoder) collector(path, raw string) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || len(raw) > mostAddress || strings.ContainsAny(raw, " \t\r\n"):
		d.add(path, "must be a URL of at most %d bytes, such as https://collector.example.com:4318", mostAddress)
	case d.unsafe(path, u):
	case u.User != nil:
		d.add(path, "must not hold credentials: give a header in traces.headers")
	case u.RawQuery != "" || u.Fragment != "":
		d.add(path, "must end with its path")
	}
}
