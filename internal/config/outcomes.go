package config

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/schema"
)

// Outcomes is the address of a publisher who is told of outcomes by HTTP.
type Outcomes struct {
	// URL is https, or http on loopback.
	URL string `yaml:"url"`
	// Secret signs: whsec_ and the base64 of 24 to 64 bytes; two while it is changed.
	Secret Token `yaml:"secret"`
	// Kinds are those that are sent; default all.
	Kinds []string `yaml:"kinds"`
	// Timeout ends one try, 1s to 1m; default 15s.
	Timeout time.Duration `yaml:"timeout"`
	// GiveUp is how long one is tried, 1m to 20 days; default 72h.
	GiveUp time.Duration `yaml:"give_up"`
}

func (o *Outcomes) defaults() {
	o.Timeout, o.GiveUp = 15*time.Second, 72*time.Hour
}

// mostAddress bounds an address, in bytes.
const mostAddress = 2048

// checkOutcomes checks where a lane's outcomes go. No text repeats the address: its
// path may hold a secret.
func (d *decoder) checkOutcomes(path string, o *Outcomes) {
	if o == nil || !d.read(path) {
		return
	}
	d.needed(path + ".url")
	if d.read(path + ".url") {
		d.target(path+".url", o.URL)
	}
	d.needed(path + ".secret")
	for _, s := range o.Secret.Values {
		if _, err := schema.Signing(s); err != nil {
			d.add(path+".secret", "the value found there %v", err)
			break
		}
	}
	if d.has(path+".kinds") && len(o.Kinds) == 0 {
		d.add(path+".kinds", "must have at least one kind; leave it out for all")
	}
	for i, at := range d.whole(path+".kinds", len(o.Kinds)) {
		d.oneOf(at, o.Kinds[i], consumer.OutcomeKinds()...)
		if slices.Contains(o.Kinds[:i], o.Kinds[i]) {
			d.add(at, "is there already")
		}
	}
	within(d, path+".timeout", o.Timeout, time.Second, time.Minute)
	// The stream forgets after outcomes.keep: see checkDeliveries.
	within(d, path+".give_up", o.GiveUp, time.Minute, 20*24*time.Hour)
}

// target checks an address that Weir posts to.
func (d *decoder) target(path, raw string) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || len(raw) > mostAddress || strings.ContainsAny(raw, " \t\r\n"):
		d.add(path, "must be a URL of at most %d bytes", mostAddress)
	case d.unsafe(path, u):
	case u.User != nil:
		d.add(path, "must not hold credentials: each request is signed")
	case u.Fragment != "":
		d.add(path, "must have no fragment")
	}
}
