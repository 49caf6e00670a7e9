package browsertest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/weirhq/weir/internal/console"
)

// hostile is what a stranger may write where others have a name.
const hostile = `"><script>window.pwned=1</script><img src=x onerror="window.pwned=2"><svg onload=window.pwned=3>'; DROP`

var (
	rtl   = "\u202eשלום עולם\u202c مرحبا"
	emoji = strings.Repeat("👩‍👩‍👧‍👦🏳️‍🌈", 20)
	long  = strings.Repeat("x", 10_000)
)

// lanes is a desk in memory.
type lanes struct {
	mu       sync.Mutex
	overview console.Overview
	detail   console.LaneDetail
	err      error
	acts     []string
}

func (l *lanes) Overview(context.Context) (console.Overview, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.overview
	o.At, o.Lanes = time.Now(), append([]console.Lane(nil), o.Lanes...)
	return o, l.err
}

func (l *lanes) Lane(context.Context, string) (console.LaneDetail, error) { return l.detail, l.err }

func (l *lanes) turn(names []string, state, said string) []console.Switched {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acts = append(l.acts, said)
	var all []console.Switched
	for i := range l.overview.Lanes {
		for _, name := range names {
			if ln := &l.overview.Lanes[i]; ln.Name == name {
				ln.State = state
				all = append(all, console.Switched{Lane: name, Running: true, Seen: true})
			}
		}
	}
	return all
}

func (l *lanes) Pause(_ context.Context, names []string, by, reason string) ([]console.Switched, error) {
	return l.turn(names, console.Paused, fmt.Sprintf("pause %v by %s: %s", names, by, reason)), l.err
}

func (l *lanes) Resume(_ context.Context, names []string, by string) ([]console.Switched, error) {
	return l.turn(names, console.Running, fmt.Sprintf("resume %v by %s", names, by)), l.err
}

func (l *lanes) PlanRelease(_ context.Context, lane string, _ time.Time) (console.Release, error) {
	return console.Release{Lane: lane, Held: true, Since: time.Now().Add(-time.Hour), Why: "WEIR_LEDGER: 5000 entries were expected, 12 were found", Before: time.Now()}, l.err
}

func (l *lanes) Release(_ context.Context, lane string, before time.Time, by, reason string) (console.Release, error) {
	l.turn([]string{lane}, console.Running, fmt.Sprintf("release %s by %s: %s", lane, by, reason))
	return console.Release{Lane: lane, Before: before, Running: true, Seen: true}, l.err
}

// The four kinds of data that each page is shown with.
func emptyLanes() *lanes { return &lanes{} }

func brokenLanes() *lanes {
	return &lanes{err: console.Away{Err: errors.New("nats: no response from stream " + hostile)}}
}

func fullLanes() *lanes {
	return &lanes{
		overview: console.Overview{Lanes: []console.Lane{
			{Name: "acme-sales", Label: "Acme, new leads", Provider: "oration", Account: "acme-sales", Owner: "process 4711 on weir-0", Epoch: 3,
				State: console.Waiting, Why: "all slots are in use", Breaker: "closed", Used: 20, Limit: 20, Waiting: 1234, InFlight: 20, Dead: 3, Created: 5120, Full: 12},
			{Name: "globex-support", Provider: "anyreach", Account: "globex", Owner: "process 99 on weir-1", State: console.Running, Breaker: "closed",
				Used: 3, Limit: 10, Waiting: 0, InFlight: 3, Doubts: 2, Settling: 1, Notes: []string{"12 events wait for the calling hours of their people"}},
			{Name: "initech", Label: "Initech", Provider: "oration", Account: "initech", Owner: "process 4711 on weir-0", State: console.Stopped, Blocked: true,
				Why: "the provider refuses the credentials", Breaker: "open", Limit: 50, Waiting: 77},
			{Name: "umbrella", Provider: "oration", Account: "umbrella", Owner: "process 4711 on weir-0", State: console.Paused, Why: "by Ada: a bad list", Breaker: "closed", Limit: 5, Waiting: 4},
			{Name: "hooli", Provider: "oration", Account: "hooli", Owner: "process 4711 on weir-0", State: console.Held, Why: "WEIR_LEDGER: 5000 entries were expected, 12 were found", Limit: 200},
			{Name: "mail", Provider: "anyreach", Account: "globex", State: console.NotRunning, Why: "its owner does not answer; another weir serve takes over when the lease has run out"},
		}},
		detail: console.LaneDetail{
			Routes:   []console.Route{{Type: "lead.created", When: "has(data.phone)", Request: []string{"agentId", "conversationType", "dynamicVariables", "toPhoneNumber"}}, {Type: "lead.updated", Request: []string{"agentId"}}},
			Facts:    []console.Fact{{Name: "provider", Value: "oration"}, {Name: "limit", Value: "20"}, {Name: "batch", Value: "20"}, {Name: "an event is fresh", Value: "72h0m0s"}},
			Webhooks: []console.Fact{{Name: "webhooks of the provider", Value: "512 reports, since its owner began"}, {Name: "ends confirmed", Value: "500"}},
			Delivery: &console.Delivery{Waiting: 7, Retrying: 2, Undelivered: 1, Since: time.Now().Add(-time.Hour), Reason: "503 from crm.example"},
			Recent: []console.Outcome{
				{At: time.Now().Add(-5 * time.Second), Kind: "created", Lane: "acme-sales", Intent: "0190", Event: "lead-17", Words: "queued"},
				{At: time.Now().Add(-time.Minute), Kind: "rejected", Lane: "acme-sales", Intent: "0191", Event: "lead-18", Words: "the number is not valid"},
			},
		},
	}
}

func hostileLanes() *lanes {
	l := fullLanes()
	for i, text := range []string{hostile, rtl, emoji, long, hostile + long, rtl + hostile} {
		ln := &l.overview.Lanes[i]
		ln.Label, ln.Why, ln.Owner, ln.Notes = text, text, text, []string{text, text}
		ln.Waiting, ln.InFlight, ln.Used, ln.Limit = 1<<63, 1<<62, 1<<40, 1<<40+1
	}
	l.overview.Trouble = []string{hostile, long}
	l.detail.Routes[0] = console.Route{Type: long, When: hostile + long, Request: []string{hostile, rtl, long}}
	l.detail.Facts[0] = console.Fact{Name: hostile, Value: long}
	l.detail.Recent[0] = console.Outcome{At: time.Now().Add(-24e4 * time.Hour), Kind: hostile, Intent: "../../x?y=" + hostile, Lane: "a b", Event: long, Words: rtl + emoji + hostile}
	l.detail.Delivery.Reason = long
	return l
}
