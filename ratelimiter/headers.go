package ratelimiter

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Reading is what one answer's headers say about limits.
type Reading struct {
	// Concurrency reports that Limit and Remaining count conversations that
	// exist at once: a family without a reset or window, or one that names this
	// unit. Only such a reading moves tokens; any other only delays.
	Concurrency bool
	// UnitKnown reports that the family can count nothing else: it names the
	// unit, or the operator named its headers. Only then may it raise the limit.
	UnitKnown bool
	// Limit and Remaining are -1 if absent. Remaining is never above Limit.
	Limit, Remaining int
	// Reset is how long it is until a rate's window opens; 0 if none is given. If
	// Concurrency is set it belongs to a rate that stands beside it in the same
	// answer and is exhausted.
	Reset time.Duration
	// RetryAfter is how long the provider wants to hear nothing; 0 if absent.
	RetryAfter time.Duration
	// Family is the name of the family that Limit and Remaining are from; empty
	// if none was understood.
	Family string
	// Unknown names the headers that look like limits but were not understood,
	// sorted, at most 16: for one line in the log each.
	Unknown []string
}

// exhausted reports whether a rate has nothing left until Reset.
func (r Reading) exhausted() bool {
	return r.Reset > 0 && (r.Concurrency || r.Remaining == 0)
}

// Names are the header names that an operator gave. They count conversations,
// unless Reset is named too and present: then they are a rate. A built-in family
// that uses one of these headers is not looked at. Empty names are none.
type Names struct{ Limit, Remaining, Reset string }

// Families, as Reading.Family names them.
const (
	familyNamed       = "named by the operator"
	familyXRateLimit  = "X-RateLimit-*"
	familyRateLimit   = "RateLimit-*"
	familyStructured  = "RateLimit"
	familyConcurrency = "X-Concurrency-*"
	familyRequests    = "concurrent-requests"
	familyTwilio      = "Twilio-Concurrent-Requests"
)

const (
	maxCount   = 1_000_000 // a limit above this is a mistake or means "none"
	maxValue   = 64        // bytes of a plain value, or of a name worth logging
	maxUnknown = 16
)

// quota is one family's word.
type quota struct {
	family           string
	concurrency      bool
	unitKnown        bool
	limit, remaining int
	reset            time.Duration
}

// Parse reads the limits out of an answer's headers. Names are compared without
// regard to case. Epoch resets and dates are counted from the answer's own Date,
// or from now if it has none. Of several families one that surely counts
// conversations wins over one that may, and that over a rate.
func Parse(header map[string][]string, names Names, now time.Time) Reading {
	f := gather(header, now)
	r := choose(f.quotas(names))
	if v, ok := f.one("retry-after"); ok {
		if d, ok := parseRetryAfter(v, f.from); ok {
			r.RetryAfter = d
			f.understood("retry-after")
		}
	}
	r.Unknown = f.unknown()
	return r
}

// choose makes one reading of all families, given in order of preference.
func choose(quotas []quota) Reading {
	best := quota{limit: -1, remaining: -1}
	var wait time.Duration // until the last of the exhausted rates opens
	for i, q := range quotas {
		if !q.concurrency && q.remaining == 0 {
			wait = max(wait, q.reset)
		}
		if i == 0 || q.outranks(best) {
			best = q
		}
	}
	if best.concurrency || wait > 0 && best.remaining == 0 {
		best.reset = wait
	}
	return Reading{
		Concurrency: best.concurrency,
		UnitKnown:   best.unitKnown,
		Limit:       best.limit,
		Remaining:   best.remaining,
		Reset:       best.reset,
		Family:      best.family,
	}
}

// outranks reports whether q is to be believed rather than p, which comes first
// in the order of families.
func (q quota) outranks(p quota) bool {
	switch {
	case q.concurrency != p.concurrency:
		return q.concurrency
	case q.unitKnown != p.unitKnown:
		return q.unitKnown
	case q.concurrency && q.family != p.family:
		return false
	default: // rates add up, and so do parts of one family: the tighter one binds
		return q.remaining >= 0 && (p.remaining < 0 || q.remaining < p.remaining)
	}
}

// fields are an answer's headers under lower-case names, with what was made of
// them.
type fields struct {
	values map[string][]string
	given  map[string]string // the name as it was spelled
	used   map[string]bool
	from   time.Time
}

// gather folds the names' case.
func gather(header map[string][]string, now time.Time) *fields {
	f := &fields{values: map[string][]string{}, given: map[string]string{}, used: map[string]bool{}}
	for _, name := range slices.Sorted(maps.Keys(header)) {
		low := strings.ToLower(name)
		f.values[low] = append(f.values[low], header[name]...)
		f.given[low] = name
	}
	date, _ := f.one("date")
	f.from = reference(date, now)
	return f
}

// has reports whether the header is there, with whatever value.
func (f *fields) has(name string) bool { return len(f.values[name]) > 0 }

// understood marks headers as understood.
func (f *fields) understood(names ...string) {
	for _, name := range names {
		f.used[name] = true
	}
}

// one returns the value of a header that may occur once. Equal repetitions are
// one; different ones are none.
func (f *fields) one(name string) (string, bool) {
	values := f.values[name]
	if len(values) == 0 {
		return "", false
	}
	v := strings.Trim(values[0], " \t")
	for _, other := range values[1:] {
		if strings.Trim(other, " \t") != v {
			return "", false
		}
	}
	return v, len(v) <= maxValue
}

// count returns the number in a header, -1 if there is none that makes sense.
// Early drafts of RateLimit-Limit append the policies to the number
// ("100, 100;w=60"): those make it a rate.
func (f *fields) count(name string) (n int, window bool) {
	v, ok := f.one(name)
	if !ok {
		return -1, false
	}
	head := v
	if i := strings.IndexAny(v, ",;"); i >= 0 {
		if !strings.Contains(v, ";") {
			return -1, false
		}
		head, window = strings.TrimRight(v[:i], " \t"), true
	}
	if !isDigits(head) || len(head) > 7 || digits(head) > maxCount {
		return -1, window
	}
	f.understood(name)
	return int(digits(head)), window
}

// unknown returns the names of headers that look like limits and were not
// understood. What is no proper name is not repeated.
func (f *fields) unknown() []string {
	var names []string
	for _, low := range slices.Sorted(maps.Keys(f.values)) {
		if f.used[low] || len(low) > maxValue || !looksLikeLimit(low) {
			continue
		}
		if len(names) == maxUnknown {
			break
		}
		names = append(names, f.given[low])
	}
	return names
}

// looksLikeLimit reports whether a header of this lower-case name may say
// something about limits.
func looksLikeLimit(low string) bool {
	for i := range len(low) {
		if !isTokenByte(low[i]) {
			return false
		}
	}
	return slices.ContainsFunc(
		[]string{"limit", "remaining", "retry", "concurren", "quota", "throttl"},
		func(part string) bool { return strings.Contains(low, part) },
	)
}
