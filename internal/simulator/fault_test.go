package simulator_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/simulator"
)

// attempt sends two items and tells in a word what the client saw.
func attempt(t *testing.T, url string) (word string, got reply) {
	t.Helper()
	return outcome(createRequest(t, url, batch(t, phones(0, 2)...)))
}

// outcome sends a request and tells in a word what the client saw.
func outcome(r *http.Request) (word string, got reply) {
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
	defer cancel()
	got, err := send(r.WithContext(ctx))
	switch {
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset", got
	case errors.Is(err, io.EOF):
		return "closed", got
	case err != nil:
		return err.Error(), got
	case errors.Is(got.readErr, io.ErrUnexpectedEOF):
		return fmt.Sprint(got.status, " cut"), got
	case got.readErr != nil:
		return got.readErr.Error(), got
	}
	return fmt.Sprint(got.status), got
}

func TestFaultsOfTheFirstGroup(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		faults simulator.Faults
		want   string // what the client sees
		made   int
	}{
		"refuse_503":    {simulator.Faults{Refuse503: 1}, "503", 0},
		"html_502":      {simulator.Faults{HTML502: 1}, "502", 0},
		"reset_early":   {simulator.Faults{ResetEarly: 1}, "reset", 0},
		"accepted_500":  {simulator.Faults{Accepted500: 1}, "500", 2},
		"accepted_hang": {simulator.Faults{AcceptedHang: 1, HangFor: 20 * time.Millisecond}, "closed", 2},
		"cut":           {simulator.Faults{Cut: 1}, "200 cut", 2},
		"reset":         {simulator.Faults{Reset: 1}, "reset", 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			sim, url := newServer(t, simulator.Config{Faults: c.faults, Log: &log})
			word, got := attempt(t, url)
			if word != c.want {
				t.Errorf("got %q (%q), want %q", word, got.body, c.want)
			}
			if isHTML := strings.HasPrefix(got.header.Get("Content-Type"), "text/html"); isHTML != (name == "html_502") {
				t.Errorf("got content type %q", got.header.Get("Content-Type"))
			}
			all := sim.Conversations()
			made, refused := bytes.Count(log.Bytes(), []byte(`"made"`)), bytes.Count(log.Bytes(), []byte(`"refused"`))
			if len(all) != c.made || made != c.made || refused != 2-c.made {
				t.Errorf("got %d conversations and the log %q, want %d made and the rest of 2 refused", len(all), log.Bytes(), c.made)
			}
			if bytes.Count(log.Bytes(), []byte(`"fault":"`+name+`"`)) != 2 {
				t.Errorf("got the log %q, want the fault on each line", log.Bytes())
			}
			for _, conversation := range all {
				if conversation.Fault != name {
					t.Errorf("got fault %q, want %q", conversation.Fault, name)
				}
				// Where the cut is, TestCutHidesWhatWasNotSent checks.
				if !conversation.Hidden && name != "cut" {
					t.Error("got a conversation that is not hidden, want all hidden")
				}
			}
			if diff := cmp.Diff(map[string]int{name: 1}, sim.Report().Faults); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCutHidesWhatWasNotSent checks, for many places of the cut, that hidden
// are just the conversations whose result the client could not read whole.
func TestCutHidesWhatWasNotSent(t *testing.T) {
	t.Parallel()
	hidden, chunked := map[bool]int{}, map[bool]int{}
	for _, shape := range []string{simulator.ShapeWrapped, simulator.ShapeFlat} {
		for seed := range uint64(15) {
			sim, url := newServer(t, simulator.Config{Shape: shape, Seed: seed, Faults: simulator.Faults{Cut: 1}})
			got, err := send(createRequest(t, url, batch(t, phones(0, 3)...)))
			if err != nil || !errors.Is(got.readErr, io.ErrUnexpectedEOF) {
				t.Fatalf("got errors %v and %v, want a cut body", err, got.readErr)
			}
			chunked[got.header.Get("Content-Length") == ""]++
			whole := resultsBefore(got.body)
			for i, c := range sim.Conversations() {
				hidden[c.Hidden]++
				if c.Hidden != (i >= whole) {
					t.Errorf("seed %d: got hidden %v of result %d, want %d whole in %q", seed, c.Hidden, i, whole, got.body)
				}
			}
		}
	}
	if hidden[true] == 0 || hidden[false] == 0 || chunked[true] == 0 || chunked[false] == 0 {
		t.Errorf("got hidden %v and chunked %v, want all of them", hidden, chunked)
	}
}

// resultsBefore returns how many elements of "results" are whole in the
// beginning of a body, by counting braces.
func resultsBefore(body []byte) int {
	whole, depth := 0, 0
	for _, b := range body {
		switch b {
		case '{':
			depth++
		case '}':
			if depth--; depth == 1 {
				whole++
			}
		}
	}
	return whole
}

func TestHangEndsWhenTheClientGoes(t *testing.T) {
	t.Parallel()
	sim, url := newServer(t, simulator.Config{Faults: simulator.Faults{AcceptedHang: 1, HangFor: time.Hour}})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := send(createRequest(t, url, batch(t, phone(1))).WithContext(ctx)); !errors.Is(err, context.Canceled) {
			t.Errorf("got error %v, want cancelled", err)
		}
	})
	eventually(t, "conversation made", func() bool { return sim.Report().Conversations == 1 })
	cancel()
	wg.Wait()
	// The server's Close, on cleanup, waits for the handler: it would hang.
}

// eventually waits until a condition on another goroutine's work holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("got no %s within a minute, want one", what)
		}
	}
}

func TestShuffle(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		sim, url := newServer(t, simulator.Config{Seed: seed, Faults: simulator.Faults{Shuffle: 1}})
		got := decode[created](t, post(t, url, phones(0, 2)...).body).ids()
		var want []string
		for _, c := range sim.Conversations() {
			want = append(want, c.ID)
			if c.Fault != "shuffle" || c.Hidden {
				t.Errorf("got fault %q and hidden %v, want shuffle and false", c.Fault, c.Hidden)
			}
		}
		slices.Reverse(want) // the only other order of two
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("results (-want +got):\n%s", diff)
		}
	}
}

func TestDropResult(t *testing.T) {
	t.Parallel()
	sim, url := newServer(t, simulator.Config{Faults: simulator.Faults{DropResult: 1}})
	got := post(t, url, phones(0, 5)...)
	a := decode[created](t, got.body)
	if got.status != 200 || len(a.Results) != 4 || len(a.Errors) != 0 {
		t.Fatalf("got %d %s, want 200 with 4 results and no error", got.status, got.body)
	}
	for _, c := range sim.Conversations() {
		named := slices.Contains(a.ids(), c.ID)
		if named == c.Hidden || (c.Fault == "drop_result") == named {
			t.Errorf("got named %v, hidden %v, fault %q", named, c.Hidden, c.Fault)
		}
	}
}

// refused is a line of the proof of what was not made, as refusedIn returns it.
func refused(intent, fault string) string { return intent + ": " + fault }

// refusedIn returns what a proof log says was asked for and not made.
func refusedIn(t *testing.T, log []byte) (all []string) {
	t.Helper()
	for line := range bytes.Lines(log) {
		l := decode[struct{ Event, Intent, Fault, ID string }](t, line)
		if l.Event == "refused" && l.ID == "" {
			all = append(all, refused(l.Intent, l.Fault))
		}
	}
	return all
}

// TestWhatADroppedResultLeavesOpenIsProved has fewer errors than items without a
// result, so that nobody can tell which were made.
func TestWhatADroppedResultLeavesOpenIsProved(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		faults simulator.Faults
		want   []string
	}{
		"dropped": {simulator.Faults{DropResult: 1}, []string{refused("intent-1", "drop_result"), refused("intent-2", "drop_result")}},
		"plain":   {simulator.Faults{Shuffle: 1}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			_, url := newServer(t, simulator.Config{Limit: 1, Overflow: simulator.OverflowMulti, Faults: c.faults, Log: &log})
			post(t, url, phones(0, 3)...)
			if got := refusedIn(t, log.Bytes()); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestItemError(t *testing.T) {
	t.Parallel()
	struckItems := map[string]bool{}
	for seed := range uint64(10) {
		var log bytes.Buffer
		sim, url := newServer(t, simulator.Config{Seed: seed, Faults: simulator.Faults{ItemError: 1}, Log: &log})
		got := post(t, url, phones(0, 3)...)
		a := decode[created](t, got.body)
		if diff := cmp.Diff([]string{"conversation could not be created"}, a.texts()); diff != "" {
			t.Errorf("errors (-want +got):\n%s", diff)
		}
		left := map[string]bool{"intent-0": true, "intent-1": true, "intent-2": true}
		for _, c := range sim.Conversations() {
			delete(left, c.Intent)
		}
		if len(left) != 1 || len(a.Results) != 2 {
			t.Errorf("got %d items not made and %d results, want 1 and 2", len(left), len(a.Results))
		}
		for intent := range left {
			struckItems[intent] = true
			if want := refused(intent, "item_error"); !slices.Equal(refusedIn(t, log.Bytes()), []string{want}) {
				t.Errorf("got the log %s, want %s refused", log.Bytes(), want)
			}
		}
	}
	if len(struckItems) < 2 {
		t.Errorf("got only %v refused in 10 runs, want different items", struckItems)
	}
}

func TestSlow(t *testing.T) {
	t.Parallel()
	sim, url := newServer(t, simulator.Config{Limit: 1, Faults: simulator.Faults{Slow: 1, SlowFor: 60 * time.Millisecond}})
	for _, c := range []struct {
		name string
		ask  func() reply
		want int
	}{
		{"create", func() reply { return post(t, url, phone(1)) }, 200},
		{"refusal", func() reply { return post(t, url, phone(1)) }, 429},
		{"lookup", func() reply { return get(t, url+"/api/v2/conversations/"+sim.Conversations()[0].ID) }, 200},
	} {
		began := time.Now()
		got := c.ask()
		if took := time.Since(began); took < 50*time.Millisecond || got.status != c.want {
			t.Errorf("%s: got status %d after %v, want %d after 60ms or more", c.name, got.status, took, c.want)
		}
		decode[map[string]any](t, got.body)
	}
	if got := sim.Report().Faults["slow"]; got != 3 {
		t.Errorf("got %d slow answers, want 3", got)
	}
	if got := sim.Conversations()[0].Fault; got != "slow" {
		t.Errorf("got fault %q, want slow", got)
	}
}

func TestFaultsThatNeedAConversationSpareOthers(t *testing.T) {
	t.Parallel()
	for name, faults := range map[string]simulator.Faults{
		"500":   {Accepted500: 1},
		"reset": {Reset: 1},
		"cut":   {Cut: 1},
		"hang":  {AcceptedHang: 1},
		"items": {DropResult: 1, Shuffle: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim, url := newServer(t, simulator.Config{Limit: 1, Faults: faults})
			if got := post(t, url, phones(0, 2)...); got.status != 429 {
				t.Errorf("got status %d, want the honest 429", got.status)
			}
			if got := sim.Report(); len(got.Faults) != 0 || got.Full != 1 {
				t.Errorf("got faults %v and %d refusals, want none and 1", got.Faults, got.Full)
			}
		})
	}
}

// TestPartialRefusalCanBeCut is the nastiest answer: a 429 that names
// conversations and breaks off.
func TestPartialRefusalCanBeCut(t *testing.T) {
	t.Parallel()
	sim, url := newServer(t, simulator.Config{Limit: 1, Overflow: simulator.OverflowPartial, Faults: simulator.Faults{Cut: 1}})
	if word, got := attempt(t, url); word != "429 cut" {
		t.Errorf("got %q (%q), want a 429 cut", word, got.body)
	}
	if got := sim.Report(); got.Conversations != 1 || got.Full != 1 {
		t.Errorf("got %d conversations and %d refusals, want 1 and 1", got.Conversations, got.Full)
	}
}

func TestLookupFaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		faults simulator.Faults
		want   int
	}{
		"503":            {simulator.Faults{Refuse503: 1}, 503},
		"502":            {simulator.Faults{HTML502: 1}, 502},
		"faults of made": {simulator.Faults{Accepted500: 0.5, Cut: 0.5, DropResult: 1, Shuffle: 1, ItemError: 1}, 404},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, url := newServer(t, simulator.Config{Faults: c.faults})
			if got := get(t, url+"/api/v2/conversations/"+agent); got.status != c.want {
				t.Errorf("got status %d, want %d", got.status, c.want)
			}
		})
	}
}

// storm is a configuration in which much goes wrong.
func storm(seed uint64) simulator.Config {
	return simulator.Config{ // calls of hours, of which none ends meanwhile
		Limit: 10_000, Scale: .01, Seed: seed, Shape: simulator.Mixed, Overflow: simulator.Mixed,
		Faults: simulator.Faults{
			Refuse503: 0.1, HTML502: 0.1, ResetEarly: 0.1, Accepted500: 0.1, AcceptedHang: 0.1, Cut: 0.1, Reset: 0.1,
			Shuffle: 0.3, DropResult: 0.3, ItemError: 0.3, Slow: 0.1, HangFor: time.Millisecond, SlowFor: time.Millisecond,
		},
	}
}

// run sends n requests one after another and returns what came of them.
func run(t *testing.T, cfg simulator.Config, n int) (words []string, sim *simulator.Simulator) {
	t.Helper()
	sim, url := newServer(t, cfg)
	for range n {
		word, got := attempt(t, url)
		words = append(words, fmt.Sprint(word, " ", len(decodeSome(got.body))))
	}
	return words, sim
}

// decodeSome returns how often a body names a conversation.
func decodeSome(body []byte) []string {
	return strings.Split(string(body), `"id":`)[1:]
}

func TestSameSeedSameFaults(t *testing.T) {
	t.Parallel()
	const n = 60
	words, sim := run(t, storm(7), n)
	again, simAgain := run(t, storm(7), n)
	if diff := cmp.Diff(words, again); diff != "" {
		t.Errorf("answers of two runs (-first +second):\n%s", diff)
	}
	if diff := cmp.Diff(sim.Report(), simAgain.Report()); diff != "" {
		t.Errorf("reports of two runs (-first +second):\n%s", diff)
	}
	first, second := sim.Conversations(), simAgain.Conversations()
	if len(first) != len(second) {
		t.Fatalf("got %d and %d conversations, want the same", len(first), len(second))
	}
	for i := range first {
		a, b := first[i], second[i]
		if a.ID == b.ID {
			t.Errorf("got the identifier %s in both runs, want others", a.ID)
		}
		a.ID, b.ID = "", ""
		la, lb := a.Ends.Sub(a.Created), b.Ends.Sub(b.Created)
		for _, c := range []*simulator.Conversation{&a, &b} {
			c.Created, c.Started, c.Ends = time.Time{}, time.Time{}, time.Time{}
		}
		// Reading clears the monotonic part of a time; 1 µs is far below any
		// difference between two lengths.
		if diff := cmp.Diff(a, b); diff != "" || (la-lb).Abs() > time.Microsecond {
			t.Errorf("conversation %d: got lengths %v and %v; (-first +second):\n%s", i, la, lb, diff)
		}
	}
	others, _ := run(t, storm(8), n)
	if cmp.Equal(words, others) {
		t.Error("got the same answers for another seed, want others")
	}
}

// TestFaultRates checks that faults strike as often as they should, each of
// them, under concurrency.
func TestFaultRates(t *testing.T) {
	t.Parallel()
	const n = 1000
	sim, url := newServer(t, storm(5))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range n / 4 {
				attempt(t, url)
			}
		})
	}
	wg.Wait()
	// Deviations: sqrt(1000*0.1*0.9) = 9.5 and sqrt(1000*p*(1-p)) < 16 for the
	// others; the bounds are 5 of them. Those of the second group strike only
	// requests that get so far: 0.7*0.3 item errors, and 0.4*0.3 of the others.
	got := sim.Report().Faults
	for name, want := range map[string]float64{
		"refuse_503": 100, "html_502": 100, "reset_early": 100, "accepted_500": 100, "accepted_hang": 100,
		"cut": 100, "reset": 100, "item_error": 210, "drop_result": 120,
	} {
		if d := float64(got[name]) - want; d > 65 || d < -65 {
			t.Errorf("%s: got %d of %d, want about %v", name, got[name], n, want)
		}
	}
}

func TestLatency(t *testing.T) {
	t.Parallel()
	const mean = 40 * time.Millisecond
	_, url := newServer(t, simulator.Config{Latency: mean})
	for range 3 {
		began := time.Now()
		post(t, url, phone(1))
		if took := time.Since(began); took < mean/2 {
			t.Errorf("got an answer after %v, want at least %v", took, mean/2)
		}
	}
}
