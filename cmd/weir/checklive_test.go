package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/ledger"
	"github.com/weirhq/weir/internal/owner"
)

// Each trouble of a lane is named, graded, and followed by what to do about it.
func TestCheckLiveNamesTheTrouble(t *testing.T) {
	t.Parallel()
	now := time.Now()
	lost := owner.Standing{Holder: "process 1", Since: now}
	for i := range 6 {
		lost.Past = append(lost.Past, now.Add(-time.Duration(6-i)*time.Minute))
	}
	flap := laneRow{Lane: "sales", State: "running", Limit: 8}
	flap.owned(lost, now)
	for _, tt := range []struct {
		name   string
		row    laneRow
		result string // of the line that has the words
		words  string
		next   string
	}{
		{"well", laneRow{State: "running", Used: 3, Limit: 8, Waiting: 2, Owner: "process 7 on vm"}, checkOK, "running; slots 3/8, 2 waiting, run by process 7 on vm", ""},
		{"full", laneRow{State: "waiting", Cause: consumer.CauseSlot, Why: "all slots are in use", Used: 8, Limit: 8}, checkOK, "all slots are in use", ""},
		{"provider down", laneRow{State: "stopped", Cause: consumer.CauseBreaker, Why: "the provider does not answer well: 503"}, checkFail, "the provider does not answer well", "ask the provider"},
		{"credentials revoked", laneRow{State: "stopped", Cause: consumer.CauseUnauthorized, Why: "the provider refuses the credentials"}, checkFail, "refuses the credentials", "(auth)"},
		{"slots taken, unexplained", laneRow{State: "waiting", Cause: consumer.CauseUnexplained, Why: "somebody else may be using the account"}, checkFail, "somebody else", "reserve"},
		{"slots taken, by headers", laneRow{State: "waiting", Cause: consumer.CauseSlot, Why: "the provider says that it is full, and only 2 of 8 slots are taken by Weir's own calls; somebody else may be using the account", Used: 2, Limit: 8}, checkWarn, "2/8", "see who else uses the account"},
		{"full, with a reserve", laneRow{State: "waiting", Cause: consumer.CauseSlot, Why: "all slots are in use", Used: 6, Limit: 8}, checkOK, "all slots are in use", ""},
		{"no room", laneRow{State: "waiting", Cause: consumer.CauseRoom, Why: "KV_WEIR_LEDGER has used 91 %"}, checkFail, "KV_WEIR_LEDGER", "make room"},
		{"clock", laneRow{State: "running", Why: "this machine's clock is 1h0m0s ahead of the broker's"}, checkFail, "1h0m0s ahead", "NTP"},
		{"webhook silent", laneRow{State: "running", Notes: notes(consumer.LaneStatus{Recent: consumer.Recent{Silent: 12}})}, checkWarn, "no webhook told of the last 12 ends", ""},
		{"poisoned route", laneRow{State: "paused", Cause: consumer.CausePaused, Why: byWeir + "10 events were refused for the same reason"}, checkFail, "refused for the same reason", "weir lane resume sales"},
		{"route refuses", laneRow{State: "running", Notes: notes(consumer.LaneStatus{Recent: consumer.Recent{Refusals: 6, Refusal: "toPhoneNumber needs data.phone"}})}, checkWarn, "toPhoneNumber needs data.phone", ""},
		{"owner flapping", flap, checkWarn, "taken over 7 times", ""},
		{"outside hours", laneRow{State: "running", Notes: notes(consumer.LaneStatus{Recent: consumer.Recent{Waits: map[string]int{consumer.CauseWindow: 40}}})}, checkWarn, "40 events wait for the calling hours", ""},
		{"no lease", laneRow{State: "stopped", Cause: consumer.CauseOwner, Why: "the lease has run out"}, checkFail, "the lease has run out", "lease is renewed"},
		{"held", laneRow{State: "held", Cause: consumer.CauseHeld, Why: "part is missing"}, checkFail, "part is missing", "weir release"},
		{"a person paused", laneRow{State: "paused", Cause: consumer.CausePaused, Why: "by ana: a fair"}, checkWarn, "by ana: a fair", "weir lane resume sales"},
		{"nobody runs it", laneRow{State: notRunning, Waiting: 9}, checkFail, "9 events wait", "start weir serve"},
		{"nobody answers", laneRow{State: notRunning, Why: "its owner does not answer"}, checkFail, "its owner does not answer", "another one has taken over"},
		{"unknown", laneRow{State: "unknown", Why: "timeout"}, checkFail, "timeout", "log of its owner"},
		{"broker", laneRow{State: "running", Cause: consumer.CauseBroker, Why: "no response from stream"}, checkFail, "no response", "the log of weir serve"},
		{"provider's rate", laneRow{State: "waiting", Cause: consumer.CausePacing, Why: "the provider asked to wait"}, checkWarn, "asked to wait", "by itself"},
		{"a state of a newer weir", laneRow{State: "puzzled"}, checkFail, "puzzled", "log"},
		{"doubts", laneRow{State: "running", Doubts: 2}, checkWarn, "2 events are in doubt", "weir doubt list --lane sales"},
		{"dead letters", laneRow{State: "running", Dead: 3}, checkWarn, "3 events are dead letters", "weir dead list --lane sales"},
		{"outcomes", laneRow{State: "running", Outcomes: &deliveryRow{Undelivered: 4}}, checkWarn, "4 outcomes were given up", "weir undelivered list"},
	} {
		tt.row.Lane = "sales"
		found := false
		for _, line := range judgeLane(tt.row) {
			if strings.Contains(line.Detail, tt.words) {
				found = true
				if line.Result != tt.result || !strings.Contains(line.Next, tt.next) || line.Check != "lane sales" {
					t.Errorf("%s: got %+v, want %s and %q", tt.name, line, tt.result, tt.next)
				}
			}
		}
		if !found {
			t.Errorf("%s: got %+v, want a line with %q", tt.name, judgeLane(tt.row), tt.words)
		}
	}
}

// No cause that the engine knows is taken for health.
func TestCheckLiveKnowsEveryCause(t *testing.T) {
	t.Parallel()
	for _, cause := range consumer.Causes() {
		switch cause {
		case consumer.CauseSlot, consumer.CauseQueue: // as it should be
		case consumer.CauseWindow, consumer.CauseNotBefore, consumer.CauseDoubt, consumer.CauseRetry, consumer.CausePerson: // an event's own
		default:
			if result, next := verdictOf(laneRow{Cause: cause}); result == checkOK || next == "" {
				t.Errorf("%s: got %s, %q", cause, result, next)
			}
		}
	}
}

func TestCheckLiveJudgesRoom(t *testing.T) {
	t.Parallel()
	for used, want := range map[int64]string{10: checkOK, 80: checkWarn, 95: checkFail} {
		line := judgeRoom(ledger.Stream, "no new event is begun", broker.Fill{Used: used << 20, Room: 100 << 20})
		if line.Result != want || want != checkOK && !strings.Contains(line.Next, "max_bytes") {
			t.Errorf("%d %%: got %+v, want %s", used, line, want)
		}
	}
}

func TestCheckLive(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales", "support")
	printed, code := p.refused(t, "checks failed", "check", "--live")
	if contains(t, printed, "weir serve", "the broker cannot be asked", "start it, or bring its broker back"); code != 1 {
		t.Errorf("nobody runs it: got exit code %d, want 1", code)
	}

	s := p.broker(t)
	if _, code := p.refused(t, "checks failed", "check", "--live"); code != 1 {
		t.Errorf("nobody serves: got exit code %d, want 1", code)
	}
	h := &admin{}
	front := httptest.NewServer(h.routes())
	t.Cleanup(front.Close)
	p.edit(t, "accounts:", fmt.Sprintf("admin: {listen: %q}\naccounts:", strings.TrimPrefix(front.URL, "http://")))
	printed, _ = p.refused(t, "checks failed", "check", "--live")
	contains(t, printed, "health", "not ready: weir serve is starting")
	if err := s.arm(); err != nil {
		t.Fatal(err)
	}
	h.show(s)
	defer background(t, s.run)()
	var out string
	defer func() {
		if t.Failed() {
			t.Log(out)
		}
	}()
	succeeds := func(what, says string, n int, more ...string) {
		t.Helper()
		await(t, patience, what, func() bool {
			var err error
			out, _, err = weir(t.Context(), p.env, append([]string{"check", "--live", "-c", p.yaml}, more...)...)
			return err == nil && strings.Count(out, says) == n
		})
	}
	succeeds("both lanes to be well", "running; slots 0/8, 0 waiting, run by process", 2)
	contains(t, out, "the weir serve of this machine is ready", "stream WEIR_EVENTS", "it answers; ", "no call was placed\n")
	p.weir(t, "lane", "pause", "support", "--reason", "a fair")
	succeeds("a warning, which is no failure", "by ana: a fair", 1, "--output", "json")
	contains(t, out, "weir lane resume support lets it go on")
	if n := p.sim.Report().Conversations; n != 0 {
		t.Errorf("conversations made by checks: got %d, want 0", n)
	}
}

// A broker that does not answer is said to be the reason, and nothing else is asked.
func TestCheckLiveWithoutALeader(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	p.broker(t)
	cfg, err := config.LoadBroker(p.yaml, func(name string) string { return p.env[name] })
	if err != nil {
		t.Fatal(err)
	}
	b, err := reach(t.Context(), zerolog.Nop(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	list := &checklist{app: &app{}}
	if !list.rooms(t.Context(), b) || len(list.lines) != len(roomsOf) {
		t.Errorf("a broker that is well: got %+v", list.lines)
	}
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	list = &checklist{app: &app{}}
	if list.rooms(t.Context(), b) || len(list.lines) != 1 || !strings.Contains(list.lines[0].text(), "no leader") || list.lines[0].Result != checkFail {
		t.Errorf("a broker that does not answer: got %+v", list.lines)
	}
}

func TestCheckLiveAsksTheGatewayByItsPublicAddress(t *testing.T) {
	t.Parallel()
	var kind atomic.Value
	kind.Store("application/problem+json")
	asked := make(chan string, 4)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.URL.Path
		w.Header().Set("Content-Type", kind.Load().(string))
		w.WriteHeader(http.StatusNotFound)
	}))
	t.Cleanup(front.Close)
	hooked := &config.Config{
		Gateway:  config.Gateway{Listen: "127.0.0.1:1", PublicURL: front.URL + "/weir"},
		Accounts: []config.Account{{Lanes: []config.Lane{{Name: "sales", Webhook: config.Webhook{Secret: "s-e-c-r-e-t"}}}}},
	}
	check := func(cfg *config.Config) checked {
		list := &checklist{app: &app{}}
		list.public(t.Context(), cfg)
		if len(list.lines) != 1 {
			t.Fatalf("got %+v, want one line", list.lines)
		}
		return list.lines[0]
	}
	if line := check(hooked); line.Result != checkOK {
		t.Errorf("a gateway: got %+v", line)
	}
	if got := <-asked; got != "GET /weir/hooks/provider/none/none" {
		t.Errorf("asked: got %s, want nothing that counts", got)
	}
	kind.Store("text/html")
	if line := check(hooked); line.Result != checkFail || !strings.Contains(line.Detail, "somebody else answers there, with 404 Not Found") {
		t.Errorf("a proxy's page: got %+v", line)
	}
	front.Close()
	if line := check(hooked); line.Result != checkFail || strings.Contains(line.text(), "s-e-c-r-e-t") {
		t.Errorf("nobody: got %+v", line)
	}
	hooked.Gateway.PublicURL = ""
	if line := check(hooked); line.Result != checkWarn || !strings.Contains(line.Next, "gateway.public_url") {
		t.Errorf("no public address: got %+v", line)
	}
}
