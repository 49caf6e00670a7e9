package simulator_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/simulator"
)

func TestJoinRefuses(t *testing.T) {
	t.Parallel()
	a, b := newAnyreach(t, simulator.AnyreachConfig{}), newAnyreach(t, simulator.AnyreachConfig{})
	if _, err := simulator.Join(); err == nil {
		t.Error("got no error for no simulator, want one")
	}
	if _, err := simulator.Join(a, b); err == nil || !strings.Contains(err.Error(), "two simulators of anyreach") {
		t.Errorf("got error %v for two of one provider, want one", err)
	}
}

// TestGroup serves both providers on one listener.
func TestGroup(t *testing.T) {
	t.Parallel()
	log := &lockedBuffer{}
	o := newSimulator(t, simulator.Config{Scale: 1e6, Log: log})
	a := newAnyreach(t, simulator.AnyreachConfig{Scale: 1e6, Log: log})
	g, err := simulator.Join(o, a)
	if err != nil {
		t.Fatalf("join: %v", err)
	}
	ln, url := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- g.Serve(ctx, ln) }()

	post(t, url, phones(1, 2)...)
	if got := book(t, url, with(dial(3), object{"id": callID})); got.status != 202 {
		t.Errorf("got %d %s, want 202", got.status, got.body)
	}
	eventually(t, "logged ends of both", func() bool { return log.count(`"event":"ended"`) == 3 })
	if got := log.count(`"provider":"anyreach","channel":"telephone","id":"` + callID + `","client_id":"` + callID + `"`); got != 2 {
		t.Errorf("got %d lines of the call with its ids, want 2", got)
	}
	reports := decode[map[string]simulator.Report](t, get(t, url+"/simulator/report").body)
	if diff := cmp.Diff(map[string]simulator.Report{"oration": o.Report(), "anyreach": a.Report()}, reports); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(g.Reports(), reports); diff != "" {
		t.Errorf("reports of the group (-want +got):\n%s", diff)
	}
	var got []string
	for line := range bytes.Lines(get(t, url+"/simulator/conversations").body) {
		c := decode[simulator.Conversation](t, line)
		got = append(got, fmt.Sprint(c.Provider, " ", c.Channel, " ", c.Intent))
	}
	want := []string{"oration telephony intent-1", "oration telephony intent-2", "anyreach telephone intent-3"}
	if !slices.Equal(got, want) || len(g.Conversations()) != 3 {
		t.Errorf("got conversations %q and %d of the group, want %q", got, len(g.Conversations()), want)
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("got error %v, want none", err)
	}
}

func TestGroupOutage(t *testing.T) {
	t.Parallel()
	o, a := newSimulator(t, simulator.Config{}), newAnyreach(t, simulator.AnyreachConfig{})
	g, err := simulator.Join(o, a)
	if err != nil {
		t.Fatalf("join: %v", err)
	}
	h := g.Handler()
	for _, c := range []struct {
		body              string
		status            int
		oration, anyreach int // status of a lookup after it
	}{
		{`{"kind":"503","provider":"anyreach","for":"1h"}`, 204, 404, 503},
		{`{"kind":"none","provider":"oration"}`, 204, 404, 503},
		{`{"kind":"503"}`, 204, 503, 503},
		{`{"kind":"none","provider":"vapi"}`, 400, 503, 503},
		{`{"kind":"none","provider":"anyreach"}`, 204, 503, 404},
		{`{"kind":"none"}`, 204, 404, 404},
		{`{"kind":"flood"}`, 400, 404, 404},
	} {
		if got := serve(t, h, "POST", "/simulator/outage", []byte(c.body)); got.Code != c.status {
			t.Errorf("%s: got %d, want %d", c.body, got.Code, c.status)
		}
		first := serve(t, h, "GET", "/api/v2/conversations/"+agent, nil)
		second := serve(t, h, "GET", "/core/conversations/"+agent, nil)
		if first.Code != c.oration || second.Code != c.anyreach {
			t.Errorf("after %s: got %d and %d, want %d and %d", c.body, first.Code, second.Code, c.oration, c.anyreach)
		}
		if c.anyreach == 503 && second.Body.String() != `{"detail":"Service Unavailable"}` {
			t.Errorf("got %s, want the provider's form of an error", second.Body)
		}
	}
}
