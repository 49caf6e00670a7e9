package simulator_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/simulator"
)

// tryBook creates a conversation and tells in a word what the client saw.
func tryBook(t *testing.T, url string, fields map[string]any) (word string, got reply) {
	t.Helper()
	return outcome(bookRequest(t, url, fields))
}

func TestAnyreachFaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		faults simulator.Faults
		want   string // what the client sees
		made   int
	}{
		"refuse_503":    {simulator.Faults{Refuse503: 1}, "503", 0},
		"html_502":      {simulator.Faults{HTML502: 1}, "502", 0},
		"reset_early":   {simulator.Faults{ResetEarly: 1}, "reset", 0},
		"accepted_500":  {simulator.Faults{Accepted500: 1}, "500", 1},
		"accepted_hang": {simulator.Faults{AcceptedHang: 1, HangFor: 20 * time.Millisecond}, "closed", 1},
		"cut":           {simulator.Faults{Cut: 1}, "202 cut", 1},
		"reset":         {simulator.Faults{Reset: 1}, "reset", 1},
		"slow":          {simulator.Faults{Slow: 1, SlowFor: time.Millisecond}, "202", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log lockedBuffer
			sim, url := newAnyreachServer(t, simulator.AnyreachConfig{Faults: c.faults, Log: &log})
			wish := with(dial(1), object{"id": callID})
			word, got := tryBook(t, url, wish)
			if word != c.want {
				t.Errorf("got %q (%q), want %q", word, got.body, c.want)
			}
			if word == "500" || word == "503" {
				if detail := decode[struct{ Detail string }](t, got.body).Detail; detail == "" {
					t.Errorf("got %s, want a detail", got.body)
				}
			}
			all := sim.Conversations()
			if len(all) != c.made || log.count(`"made"`) != c.made || log.count(`"refused"`) != 1-c.made {
				t.Errorf("got %d conversations, %d lines made and %d refused; want %d, and the rest of 1 refused",
					len(all), log.count(`"made"`), log.count(`"refused"`), c.made)
			}
			for _, conversation := range all {
				if hidden := name != "slow"; conversation.Fault != name || conversation.Hidden != hidden {
					t.Errorf("got fault %q and hidden %t, want %q and %t", conversation.Fault, conversation.Hidden, name, hidden)
				}
			}
			if diff := cmp.Diff(map[string]int{name: 1}, sim.Report().Faults); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
			// The answer to a known id is lost as the first one was, and that
			// changes nothing about the call.
			before := sim.Conversations()
			tryBook(t, url, with(wish, object{"user_id": "+14155550009"}))
			if diff := cmp.Diff(before, sim.Conversations()); diff != "" || sim.Report().Faults[name] != 2 {
				t.Errorf("got %d faults, want 2; conversations (-before +after):\n%s", sim.Report().Faults[name], diff)
			}
		})
	}
}

// TestCutOfAnEmptyBody cuts what has no byte: the end of it is missing.
func TestCutOfAnEmptyBody(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		sim, url := newAnyreachServer(t, simulator.AnyreachConfig{Seed: seed, Accepted: simulator.AcceptedEmpty, Faults: simulator.Faults{Cut: 1}})
		if word, _ := tryBook(t, url, dial(1)); word != "202 cut" || !sim.Conversations()[0].Hidden {
			t.Errorf("got %q and hidden %t, want 202 cut and true", word, sim.Conversations()[0].Hidden)
		}
	}
}

func TestAnyreachLookupFaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		faults       simulator.Faults
		lookup, list int
	}{
		"503":            {simulator.Faults{Refuse503: 1}, 503, 503},
		"502":            {simulator.Faults{HTML502: 1}, 502, 502},
		"slow":           {simulator.Faults{Slow: 1, SlowFor: time.Millisecond}, 404, 200},
		"faults of made": {simulator.Faults{Accepted500: 0.5, Cut: 0.5, DropResult: 1, Shuffle: 1, ItemError: 1}, 404, 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim, url := newAnyreachServer(t, simulator.AnyreachConfig{Faults: c.faults})
			if got := get(t, url+"/core/conversations/"+callID); got.status != c.lookup {
				t.Errorf("lookup: got status %d, want %d", got.status, c.lookup)
			}
			if got := get(t, url+"/core/conversations"); got.status != c.list {
				t.Errorf("list: got status %d, want %d", got.status, c.list)
			}
			if diff := cmp.Diff(map[string]int{"lookup": 1, "list": 1}, sim.Report().Requests); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFaultsSpareBadRequests(t *testing.T) {
	t.Parallel()
	faults := simulator.Faults{Accepted500: 1, Shuffle: 1, DropResult: 1, ItemError: 1}
	sim, url := newAnyreachServer(t, simulator.AnyreachConfig{Faults: faults})
	if got := book(t, url, with(dial(1), object{"user_id": "x"})); got.status != 422 {
		t.Errorf("got %d, want the honest 422", got.status)
	}
	if got := sim.Report(); len(got.Faults) != 0 || got.Conversations != 0 {
		t.Errorf("got %+v, want no fault and nothing made", got)
	}
	book(t, url, dial(1))
	if diff := cmp.Diff(map[string]int{"accepted_500": 1}, sim.Report().Faults); diff != "" {
		t.Errorf("faults, of which those of batches strike nothing (-want +got):\n%s", diff)
	}
}

// anyreachStorm is a configuration in which much goes wrong.
func anyreachStorm(seed uint64) simulator.AnyreachConfig {
	return simulator.AnyreachConfig{
		Limit: 1000, Global: 1000, Scale: .01, Seed: seed, Detail: simulator.Mixed, Accepted: simulator.Mixed, Replay: simulator.Mixed,
		VisibleAfter: time.Hour, VisibleShare: 0.5, TooMany: 0.1, Faults: storm(seed).Faults,
	}
}

// stormy sends requests one after another, each id three times and each fifth
// request a bad one, and returns what came of them.
func stormy(t *testing.T, seed uint64) (words []string, sim *simulator.Simulator) {
	t.Helper()
	sim, url := newAnyreachServer(t, anyreachStorm(seed))
	for i := range 90 {
		wish := with(dial(i/3), object{"id": fmt.Sprintf("5d0c8f5e-7a46-5f0e-9d6c-%012d", i/3)})
		if i%5 == 0 {
			wish = object{}
		}
		word, got := tryBook(t, url, wish)
		body, _, _ := strings.Cut(string(got.body), `"created_at"`)
		words = append(words, word+" "+body)
	}
	return words, sim
}

func TestAnyreachSameSeedSameFaults(t *testing.T) {
	t.Parallel()
	words, sim := stormy(t, 7)
	again, simAgain := stormy(t, 7)
	if diff := cmp.Diff(words, again); diff != "" {
		t.Errorf("answers of two runs (-first +second):\n%s", diff)
	}
	if diff := cmp.Diff(sim.Report(), simAgain.Report()); diff != "" {
		t.Errorf("reports of two runs (-first +second):\n%s", diff)
	}
	if got := sim.Report(); len(got.Doubled) == 0 || got.Faults["too_many"] == 0 {
		t.Errorf("got %+v, want some calls doubled and some refused", got)
	}
	first, second := sim.Conversations(), simAgain.Conversations()
	for i := range first {
		a, b := first[i].Ends.Sub(first[i].Created), second[i].Ends.Sub(second[i].Created)
		if (a-b).Abs() > time.Microsecond || first[i].Fault != second[i].Fault || first[i].Hidden != second[i].Hidden {
			t.Errorf("conversation %d: got %+v and %+v, want the same", i, first[i], second[i])
		}
	}
	others, _ := stormy(t, 8)
	if cmp.Equal(words, others) {
		t.Error("got the same answers for another seed, want others")
	}
}

// witness looks at the log when an answer begins.
type witness struct {
	*httptest.ResponseRecorder
	began func()
}

func (w witness) WriteHeader(status int) {
	w.began()
	w.ResponseRecorder.WriteHeader(status)
}

// TestMadeIsProvedBeforeItIsAnswered counts, before the first byte of each
// answer and at each connection that breaks without one, the conversations and
// their lines in the log.
func TestMadeIsProvedBeforeItIsAnswered(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	anyreach, oration := anyreachStorm(3), storm(3)
	anyreach.Log, oration.Log = &log, &log
	for name, c := range map[string]struct {
		sim     *simulator.Simulator
		request func(i int) *http.Request
	}{
		"oration": {newSimulator(t, oration), func(i int) *http.Request {
			return createRequest(t, "http://simulator", batch(t, phones(2*i, 2)...))
		}},
		"anyreach": {newAnyreach(t, anyreach), func(i int) *http.Request {
			return bookRequest(t, "http://simulator", dial(i))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			h := c.sim.Handler()
			answers, made := 0, 0
			began := func() {
				answers++
				made = len(c.sim.Conversations())
				if got := log.count(`"event":"made","provider":"` + name); got != made {
					t.Errorf("answer %d: got %d lines, want %d", answers, got, made)
				}
			}
			for i := range 60 {
				func() {
					defer func() {
						if recover() != nil {
							began() // http.ErrAbortHandler: the connection broke
						}
					}()
					h.ServeHTTP(witness{httptest.NewRecorder(), began}, c.request(i))
				}()
			}
			if answers < 60 || made < 30 {
				t.Errorf("got %d answers and %d conversations, want 60 and 30 or more", answers, made)
			}
		})
	}
}
