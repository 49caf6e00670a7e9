package pacingtest

import (
	"fmt"
	"strings"
	"time"

	"github.com/weirhq/weir/ratelimiter"
)

// entrant is a row of a table: a client by name.
type entrant struct {
	name  string
	blind bool                            // it sends one item a request and reads no headers: it cannot tell variants apart
	make  func(sc Scenario) func() Client // nil: not in this scenario
}

// model is an entrant that needs to know nothing.
func model(name string, client func() Client) entrant {
	_, reads := client().(*bursts)
	return entrant{name, !reads, func(Scenario) func() Client { return client }}
}

// ours is an entrant of the product, with a limiter for the scenario's limit.
func ours(name string, cfg ratelimiter.Config, o Options) entrant {
	return entrant{name, false, func(sc Scenario) func() Client {
		o := o
		o.Limiter = cfg
		if o.Limiter.Limit == 0 {
			o.Limiter.Limit = sc.Limit
		}
		blind := !sc.Headers && cfg.Probe != ratelimiter.ProbePost && !o.Hooks
		if blind && o.Polls != PollAll {
			return nil // nothing would tell that a slot is free
		}
		o.Breaker = sc.OutageTo > sc.OutageFrom
		return func() Client { return Weir(o) }
	}}
}

// The configurations of the product. In some, one call in 30 is asked for, to learn
// how long calls last; in all, each call is, as the engine does where no webhook
// tells of ends.
var (
	frugalGet  = ratelimiter.Config{}
	tightGet   = ratelimiter.Config{Epsilon: 0.01}
	frugalPost = ratelimiter.Config{Probe: ratelimiter.ProbePost}
	tightPost  = ratelimiter.Config{Probe: ratelimiter.ProbePost, Epsilon: 0.01}
	some       = Options{Polls: PollSample}
	all        = Options{Polls: PollAll}
	hooks      = Options{Hooks: true, Delay: 200 * time.Millisecond, Polls: PollNone}
)

// raised is a configuration whose limit headers may raise.
func raised(c ratelimiter.Config, to int) ratelimiter.Config {
	c.LimitMax = to
	return c
}

// limited is a configuration with a limit of its own.
func limited(c ratelimiter.Config, to int) ratelimiter.Config {
	c.Limit = to
	return c
}

func pacers() []entrant {
	return []entrant{
		ours("**weir** auto", frugalGet, some),
		ours("**weir** auto, tight", tightGet, some),
		ours("**weir** post", frugalPost, some),
		ours("**weir** post, tight", tightPost, some),
	}
}

func askers() []entrant {
	return []entrant{
		ours("**weir** auto, every end asked for", frugalGet, all),
		ours("**weir** auto, tight, every end asked for", tightGet, all),
		ours("**weir** post, every end asked for", frugalPost, all),
		ours("**weir** webhooks after 200 ms, were they believed", frugalGet, hooks),
		ours("**weir** webhooks after 200 ms, each confirmed by a GET", frugalGet, confirmed),
		ours("**weir** webhooks after 200 ms, confirmed by a list", frugalGet, listed),
	}
}

// In confirmed an end is asked for when a webhook has told of it, and in listed many
// at a time; what no webhook told of is asked for too, as the engine does.
var (
	confirmed = Options{Hooks: true, Delay: 200 * time.Millisecond, Polls: PollAll, Confirm: true}
	listed    = Options{Hooks: true, Delay: 200 * time.Millisecond, Polls: PollAll, Confirm: true, List: true}
)

func others() []entrant {
	return []entrant{
		model("oracle (P6)", Oracle),
		model("1,000 pending, again after 5 s (P0a)", func() Client { return Naive(1000, false) }),
		model("1,000 pending, doubling with jitter (P0b)", func() Client { return Naive(1000, true) }),
		model("64 pending, doubling with jitter (P0c)", func() Client { return Naive(64, true) }),
		model("one worker, 5 s after a 429 (P0s)", func() Client { return Worker(5 * time.Second) }),
		model("bursts by the last header, 5 s (P1)", func() Client { return Bursts(5*time.Second, false) }),
		model("bursts by the last header, 2 s (P1)", func() Client { return Bursts(2*time.Second, false) }),
		model("the same, 5 s, followed up (P1f)", func() Client { return Bursts(5*time.Second, true) }),
		model("fixed rate, perfectly known (P2)", func() Client { return FixedRate(1) }),
		model("fixed rate, 0.9 of it (P2)", func() Client { return FixedRate(0.9) }),
		model("AIMD of calls, each polled (P3b)", Additive),
	}
}

// variant is a column: what the provider is like.
type variant struct {
	name             string
	partial, headers bool
}

var variants = []variant{{"A+H", false, true}, {"B+H", true, true}, {"A+N", false, false}, {"B+N", true, false}}

func (v variant) of(sc Scenario) Scenario {
	sc.Partial, sc.Headers = v.partial, v.headers
	return sc
}

// table writes a table whose cells are written by show, for scenarios by column.
func (l *Lab) table(head []string, scenarios []Scenario, rows []entrant, show func(Stats) string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| client | %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat("---|", len(head)+1))
	for _, e := range rows {
		fmt.Fprintf(&b, "| %s |", e.name)
		for i, sc := range scenarios {
			if e.blind && i > 0 {
				b.WriteString(" the same |")
				continue
			}
			if client := e.make(sc); client != nil {
				fmt.Fprintf(&b, " %s |", show(l.run(sc, client)))
			} else {
				b.WriteString(" – |")
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// columns are the scenario in all variants.
func columns(sc Scenario, of ...variant) (head []string, scenarios []Scenario) {
	if of == nil {
		of = variants
	}
	for _, v := range of {
		head = append(head, v.name)
		scenarios = append(scenarios, v.of(sc))
	}
	return head, scenarios
}

// efficiency is ratio, requests a call and refusals of 100 calls.
func efficiency(s Stats) string {
	return s.figure(ratioOf).format(2) + " / " + s.figure(perCall).format(2) + " / " + s.figure(refused).format(1)
}

// backlog is 2,000 leads at the start.
func backlog(limit int) Scenario { return Scenario{Limit: limit, Backlog: 2000} }
