package ratelimiter

import "strings"

// unitConcurrent is the IETF draft's unit of a limit on what exists at once.
const unitConcurrent = "concurrent-requests"

// quotas returns what each family says, in order of preference.
func (f *fields) quotas(names Names) []quota {
	var all []quota
	own := map[string]bool{}
	for _, name := range []string{names.Limit, names.Remaining, names.Reset} {
		if name != "" {
			own[strings.ToLower(name)] = true
		}
	}
	add := func(q quota, ok bool) {
		if ok {
			all = append(all, q)
		}
	}
	if len(own) > 0 {
		add(f.trio(quota{family: familyNamed, unitKnown: true},
			strings.ToLower(names.Limit), strings.ToLower(names.Remaining), strings.ToLower(names.Reset)))
	}
	for _, t := range []struct {
		q                       quota
		limit, remaining, reset string
	}{
		{quota{family: familyXRateLimit}, "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"},
		{quota{family: familyRateLimit}, "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"},
		{quota{family: familyConcurrency, unitKnown: true}, "x-concurrency-limit", "x-concurrency-remaining", "x-concurrency-reset"},
	} {
		if own[t.limit] || own[t.remaining] || own[t.reset] {
			continue
		}
		add(f.trio(t.q, t.limit, t.remaining, t.reset))
	}
	if !own["ratelimit"] && !own["ratelimit-policy"] {
		all = append(all, f.structured()...)
	}
	if !own["current-concurrent-requests"] && !own["maximum-concurrent-requests"] {
		add(f.inUse())
	}
	add(f.twilio())
	return all
}

// trio reads a family of limit, remaining and reset. A remaining above the limit
// makes nonsense of both. The mere presence of a reset makes it a rate, even if
// its value is unreadable. A rate says nothing of the unit.
func (f *fields) trio(q quota, limit, remaining, reset string) (quota, bool) {
	var lw, rw bool
	q.limit, lw = f.count(limit)
	q.remaining, rw = f.count(remaining)
	if q.limit < 0 && q.remaining < 0 {
		return q, false
	}
	if q.limit >= 0 && q.remaining > q.limit {
		delete(f.used, limit)
		delete(f.used, remaining)
		return q, false
	}
	if v, ok := f.one(reset); ok {
		if d, ok := parseReset(v, f.from); ok {
			q.reset = d
			f.understood(reset)
		}
	}
	window := lw || rw || f.has(reset) || q.family == familyRateLimit && f.has("ratelimit-policy")
	q.concurrency = !window
	q.unitKnown = q.unitKnown && !window
	return q, true
}

// inUse reads the pair that counts what is in use. More in use than the maximum
// happens where bursts are sold: nothing remains then.
func (f *fields) inUse() (quota, bool) {
	q := quota{family: familyRequests, concurrency: true, unitKnown: true, remaining: -1}
	current, _ := f.count("current-concurrent-requests")
	q.limit, _ = f.count("maximum-concurrent-requests")
	if q.limit < 0 {
		return q, false
	}
	if current >= 0 {
		q.remaining = max(0, q.limit-current)
	}
	return q, true
}

// twilio reads a count without a maximum, of API requests at that: it is
// understood, and moves nothing.
func (f *fields) twilio() (quota, bool) {
	n, _ := f.count("twilio-concurrent-requests")
	return quota{family: familyTwilio, limit: -1, remaining: -1}, n >= 0
}

// policy is one member of RateLimit-Policy.
type policy struct {
	unit  string
	quota int // -1 if absurd
}

// structured reads the IETF fields RateLimit-Policy and RateLimit. A malformed
// field counts as absent. The default unit is requests, which is a rate, window
// or not.
func (f *fields) structured() []quota {
	policies, named := f.policies()
	limits, ok := f.list("ratelimit")
	if !ok {
		limits = nil
	}
	var all []quota
	for _, it := range limits {
		r, ok := it.integer("r")
		t, timed := it.integer("t")
		if _, has := it.params["t"]; !ok || has && !timed {
			return nil // malformed as a whole, so nothing of it counts
		}
		p, known := policies[it.value.text]
		if !known {
			p = policy{quota: -1}
		}
		if q, ok := join(p, r, t); ok {
			all = append(all, q)
		}
	}
	if len(limits) > 0 {
		f.understood("ratelimit")
		return all
	}
	for _, name := range named { // a policy alone tells at least the limit
		if p := policies[name]; p.quota >= 0 {
			all = append(all, quota{
				family: familyStructured, limit: p.quota, remaining: -1,
				concurrency: p.unit == unitConcurrent, unitKnown: p.unit == unitConcurrent,
			})
		}
	}
	return all
}

// join makes a quota of a limit's remaining r and reset t, and its policy.
func join(p policy, r, t int64) (quota, bool) {
	if r > maxCount || p.quota >= 0 && int(r) > p.quota {
		return quota{}, false
	}
	concurrent := p.unit == unitConcurrent
	q := quota{
		family: familyStructured, limit: p.quota, remaining: int(r),
		concurrency: concurrent, unitKnown: concurrent,
	}
	if !concurrent {
		q.reset = seconds(t)
	}
	return q, true
}

// policies returns the policies by name, and their names in order. Drafts up to
// the sixth wrote the quota as the item itself ("100;w=60"): those have no name
// to join by, and are only understood.
func (f *fields) policies() (map[string]policy, []string) {
	list, ok := f.list("ratelimit-policy")
	if !ok {
		return nil, nil
	}
	byName := map[string]policy{}
	var names []string
	for _, it := range list {
		if it.value.kind == kindInteger {
			continue
		}
		q, ok := it.integer("q")
		if w, has := it.params["w"]; !ok || has && (w.kind != kindInteger || w.number <= 0) {
			return nil, nil
		}
		unit, has := it.params["qu"]
		if has && unit.kind != kindString {
			return nil, nil
		}
		p := policy{unit: unit.text, quota: int(q)}
		if q > maxCount {
			p.quota = -1
		}
		byName[it.value.text] = p
		names = append(names, it.value.text)
	}
	f.understood("ratelimit-policy")
	return byName, names
}

// list reads a structured list whose items are named by a string or token, or
// are integers.
func (f *fields) list(name string) ([]item, bool) {
	list, err := parseList(strings.Join(f.values[name], ", "))
	if err != nil || len(list) == 0 {
		return nil, false
	}
	for _, it := range list {
		switch it.value.kind {
		case kindString, kindToken, kindInteger:
		default:
			return nil, false
		}
	}
	return list, true
}
