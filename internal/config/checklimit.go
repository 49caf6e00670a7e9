package config

import (
	"maps"
	"slices"
	"strings"
)

// maxLimit is the most conversations at once that any limit may allow.
const maxLimit = 10000

// checkLimits checks how many conversations may run at once in the block at
// path, and leaves in Limit and Limits what is in force.
func (d *decoder) checkLimits(path string, p *provider, s *Settings) {
	d.byChannel(path+".limits", p, s.Limits)
	key := d.limit(path, p, s)
	if p == unknownProvider && !d.read(path+".limit") {
		return // nobody knows what limit_max and reserve are to be compared with
	}
	within(d, path+"."+key, s.Limit, 1, maxLimit)
	if s.LimitMax != 0 && (s.LimitMax < s.Limit || s.LimitMax > maxLimit) {
		d.add(path+".limit_max", "must be between %s (%d) and %d, or 0", key, s.Limit, maxLimit)
	}
	if s.Reserve < 0 || s.Reserve > 0 && s.Reserve >= s.Limit {
		d.add(path+".reserve", "must be at least 0 and less than %s (%d)", key, s.Limit)
	}
}

func (d *decoder) byChannel(path string, p *provider, limits map[string]int) {
	for _, channel := range slices.Sorted(maps.Keys(limits)) {
		at := path + "." + channel
		if len(p.channels) > 0 && !slices.Contains(p.channels, channel) {
			d.add(at, "is no channel of %s, which has %s", p.name, strings.Join(p.channels, ", "))
		}
		within(d, at, limits[channel], 1, maxLimit)
	}
}

// limit settles Limit, with its part of Limits, and returns the key that it
// stands under.
func (d *decoder) limit(path string, p *provider, s *Settings) string {
	if !d.read(path + ".limit") {
		s.Limit = p.limit
	}
	if s.Limits == nil {
		s.Limits = map[string]int{}
	}
	key := "limit"
	if n, given := s.Limits[p.limited]; given && p.limited != "" {
		key = "limits." + p.limited
		if d.has(path + ".limit") {
			d.add(path+"."+key, "limit is short for this: leave one of them out")
		}
		s.Limit = n
	}
	s.Limits[p.limited] = s.Limit
	return key
}
