package config

import (
	"cmp"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The bounds of what a list in the file may hold; each entry costs time at
// every error that the provider answers.
const (
	maxPatterns = 32
	maxPattern  = 256
)

// headerName is a header's name as RFC 9110 has it.
var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$")

// checkSettings checks the account's settings in the block at path, and fills
// in the defaults that are the provider's.
func (d *decoder) checkSettings(path string, s *Settings) {
	at := func(key string) string { return path + "." + key }
	p := d.provider(at("provider"), s.Provider)
	d.refuse(path, p.notSettings)
	d.base(at("url"), &s.URL)
	d.checkAuth(at("auth"), p, s.Auth)
	d.checkLimits(path, p, s)
	d.checkCall(path, p, s)
	d.oneOf(at("pacing.preset"), s.Pacing.Preset, "frugal", "tight")
	within(d, at("pacing.mean_call"), s.Pacing.MeanCall, 100*time.Millisecond, 4*time.Hour)
	d.probe(at("pacing.probe"), p, s)
	within(d, at("timeout"), s.Timeout, time.Second, 2*time.Minute)
	within(d, at("max_call"), s.MaxCall, time.Second, 24*time.Hour)
	d.statuses(at("refused_statuses"), s.RefusedStatuses)
	d.headers(at("headers"), s.Headers)
	within(d, at("breaker.failures"), s.Breaker.Failures, 1, 1000)
	within(d, at("breaker.open"), s.Breaker.Open, 100*time.Millisecond, time.Hour)
}

// probe checks how a full account is probed. A request for one more conversation
// needs somebody who refuses it.
func (d *decoder) probe(path string, p *provider, s *Settings) {
	d.oneOf(path, s.Pacing.Probe, ProbeAuto, ProbeGet, ProbePost)
	switch {
	case s.Pacing.Probe != ProbePost:
	case p.queues:
		d.add(path, "must be auto or get: this provider queues what passes its limit, and refuses nothing")
	case s.Reserve > 0:
		d.add(path, "must be auto or get where there is a reserve: the provider would not refuse what is left to others")
	}
}

// provider checks the name, and returns what is known of who bears it.
func (d *decoder) provider(path, name string) *provider {
	if !d.has(path) {
		d.add(path, "is missing")
		return unknownProvider
	}
	var names []string
	for _, p := range providers {
		names = append(names, p.name)
	}
	d.oneOf(path, name, names...)
	return cmp.Or(providerOf(name), unknownProvider)
}

// refuse reports the keys of the block at path that the provider has no use
// for, each with the reason.
func (d *decoder) refuse(path string, reasons map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(reasons)) {
		if at := path + "." + key; d.has(at) {
			d.add(at, "%s", reasons[key])
		}
	}
}

// checkCall checks what not every provider knows of a call. What the file has
// not is the provider's default, which is nothing where it has no use for it.
func (d *decoder) checkCall(path string, p *provider, s *Settings) {
	if at := path + ".agent_number"; d.read(at) {
		d.oneOf(at, s.AgentNumber, numberRequired, numberAny)
	} else {
		s.AgentNumber = p.agentNumber
	}
	if at := path + ".visible_after"; d.read(at) {
		within(d, at, s.VisibleAfter, 100*time.Millisecond, 10*time.Minute)
	} else {
		s.VisibleAfter = p.visibleAfter
	}
	if at := path + ".full_when"; d.read(at) {
		d.patterns(at, s.FullWhen)
	} else {
		s.FullWhen = slices.Clone(p.fullWhen)
	}
}

// base checks the API's URL and takes the slash from its end. No text repeats
// it: there may be a password in it.
func (d *decoder) base(path string, raw *string) {
	if !d.has(path) {
		d.add(path, "is missing")
		return
	}
	u, err := url.Parse(*raw)
	switch {
	case err != nil:
		d.add(path, "must be a URL")
	case d.unsafe(path, u):
	case u.User != nil:
		d.add(path, "must not hold credentials: give them under auth")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		d.add(path, "must end with its path: no query and no fragment")
	}
	*raw = strings.TrimRight(*raw, "/")
}

// unsafe reports what is wrong with where a URL leads, and whether anything is.
func (d *decoder) unsafe(path string, u *url.URL) bool {
	switch {
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		d.add(path, "must be https, or http on loopback")
	case u.Hostname() == "":
		d.add(path, "must have a host")
	case badPort(u):
		d.add(path, "must have a port from 0 to 65535, or none")
	default:
		return false
	}
	return true
}

func (d *decoder) oneOf(path, value string, words ...string) {
	if slices.Contains(words, value) {
		return
	}
	text := "must be " + strings.Join(words, " or ")
	if near := nearest(value, words); near != "" && len(words) > 1 {
		text += "; did you mean " + near + "?"
	}
	d.add(path, "%s", text)
}

func (d *decoder) patterns(path string, patterns []string) {
	if n := len(patterns); n == 0 || n > maxPatterns {
		d.add(path, "must have 1 to %d patterns; leave it out for the default", maxPatterns)
		return
	}
	for i, p := range patterns {
		at := path + "[" + strconv.Itoa(i) + "]"
		if len(p) > maxPattern {
			d.add(at, "is longer than %d bytes", maxPattern)
			continue
		}
		re, err := regexp.Compile("(?i)" + p)
		switch {
		case err != nil:
			d.add(at, "is not a regular expression")
		case re.MatchString(""):
			d.add(at, "matches every text: no item would ever be rejected")
		}
	}
}

// statuses refuses those that have a meaning of their own.
func (d *decoder) statuses(path string, statuses []int) {
	seen := map[int]bool{}
	for i, status := range statuses {
		at := path + "[" + strconv.Itoa(i) + "]"
		switch {
		case status < 400 || status > 599:
			d.add(at, "must be between 400 and 599")
		case status == 401 || status == 403 || status == 429:
			d.add(at, "must not be 401, 403 or 429, which have a meaning of their own")
		case seen[status]:
			d.add(at, "is given twice")
		}
		seen[status] = true
	}
}

func (d *decoder) headers(path string, h Headers) {
	seen := map[string]string{}
	for _, header := range [][2]string{{"limit", h.Limit}, {"remaining", h.Remaining}, {"reset", h.Reset}} {
		key, name := header[0], header[1]
		if name == "" {
			continue
		}
		at, folded := path+"."+key, strings.ToLower(name)
		if !headerName.MatchString(name) {
			d.add(at, "must be the name of a header")
		} else if seen[folded] != "" {
			d.add(at, "names the same header as %s", seen[folded])
		}
		seen[folded] = key
	}
}
