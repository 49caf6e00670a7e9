package providertest

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/schema"
)

const (
	// part is how much of a secret, in bytes, must not be shown.
	part = 8
	// maxReason bounds the reason of a verdict, in characters.
	maxReason = 1 << 10
)

// subject is a client under test with the server that it talks to, and the book
// of what it claims.
type subject struct {
	Client
	h   Harness
	s   *server
	log *journal

	mu     sync.Mutex // guards what follows: creates may be concurrent
	items  int
	claims map[string]claim // by intent
}

// claim is what the client says of one item, and by which status.
type claim struct {
	verdict consumer.Verdict
	status  int
}

// journal is a log that is read while it is written.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// subject returns a client of a server that calls handle for each connection.
func (h Harness) subject(t *testing.T, secure *tls.Config, handle func(p *peer), change ...func(*Config)) *subject {
	t.Helper()
	s := h.serve(t, secure, handle)
	x := &subject{h: h, s: s, log: new(journal), claims: make(map[string]claim)}
	cfg := Config{URL: s.url, RootCAs: s.roots, Timeout: 30 * time.Second, Log: zerolog.New(x.log)}
	for _, f := range change {
		f(&cfg)
	}
	x.Client = h.New(t, cfg)
	t.Cleanup(func() { x.settle(t) })
	return x
}

// answers returns a subject whose server answers every request as f does.
func (h Harness) answers(t *testing.T, secure *tls.Config, f func(p *peer), change ...func(*Config)) *subject {
	t.Helper()
	return h.subject(t, secure, func(p *peer) {
		for p.next() {
			f(p)
		}
	}, change...)
}

// creates is a provider on a good day.
func creates(p *peer) { p.answer(200, p.created()) }

// settle ends the client, and holds what it claims against what came.
func (x *subject) settle(t *testing.T) {
	x.Close()
	x.s.stop()
	came := make(map[string]int)
	for _, r := range x.s.all() {
		if strings.HasPrefix(r.line, "POST ") {
			for _, sent := range x.h.Sent(r.body) {
				came[sent.Intent]++
			}
		}
		if !strings.HasSuffix(r.line, " HTTP/1.1") {
			t.Errorf("got the request %q, want HTTP/1.1", r.line)
		}
	}
	for intent, c := range x.claims {
		switch n := came[intent]; {
		case n > 1:
			t.Errorf("an item came %d times, want at most once", n)
		case n == 1 && c.verdict == consumer.VerdictUnsent && c.status == 0:
			t.Error("an item came that is said to be unsent")
		case n == 0 && c.verdict == consumer.VerdictCreated:
			t.Error("an item is said to be created and never came")
		}
	}
	x.discreet(t, "log", x.log.String())
}

// request returns a prepared request.
func (x *subject) request(t *testing.T, request map[string]any) consumer.Request {
	t.Helper()
	r, err := x.Prepare(request)
	if err != nil {
		t.Fatalf("Prepare(%v): %v", request, err)
	}
	return r
}

// item returns a new item for a request.
func (x *subject) item(request map[string]any, prepared consumer.Request) consumer.Item {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.items++
	it := consumer.Item{Intent: fmt.Sprintf("00000000-0000-5000-8000-%012d", x.items), Attempt: 1 + x.items%4, Request: prepared}
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	x.s.asked[it.Intent] = request
	return it
}

// batch returns n new items, with as many free slots.
func (x *subject) batch(t *testing.T, n int) consumer.Batch {
	t.Helper()
	b := consumer.Batch{Free: n, Permit: allow}
	for _, r := range x.h.Requests[:n] {
		b.Items = append(b.Items, x.item(r, x.request(t, r)))
	}
	return b
}

// create makes the client send a batch, and checks what holds of every answer.
func (x *subject) create(ctx context.Context, t *testing.T, b consumer.Batch) consumer.Answer {
	t.Helper()
	before := time.Now()
	a := x.Create(ctx, b)
	if a.Began.Before(before) || a.Done.Before(a.Began) || a.Done.After(time.Now()) {
		t.Errorf("got Began %v and Done %v, want them in order and within the call, which began %v", a.Began, a.Done, before)
	}
	if a.Header["Set-Cookie"] != nil {
		t.Error("the header holds a cookie")
	}
	if len(a.Results) != len(b.Items) {
		t.Errorf("got %d results for %d items", len(a.Results), len(b.Items))
		a.Results = make([]consumer.Result, len(b.Items))
		return a
	}
	for i, r := range a.Results {
		x.claim(b.Items[i], claim{r.Verdict, a.Status})
		x.plausible(t, b.Items[i], r)
		x.discreet(t, "result", fmt.Sprintf("%+v", r))
	}
	x.discreet(t, "Stop", a.Stop)
	return a
}

// claim enters a verdict into the book.
func (x *subject) claim(it consumer.Item, c claim) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.claims[it.Intent] = c
}

// plausible checks what holds of every result.
func (x *subject) plausible(t *testing.T, it consumer.Item, r consumer.Result) {
	t.Helper()
	switch {
	case r.Verdict < consumer.VerdictCreated || r.Verdict > consumer.VerdictDoubt:
		t.Errorf("got the verdict %d", r.Verdict)
	case r.Verdict == consumer.VerdictCreated && r.Conversation != x.h.id(it.Intent):
		t.Errorf("created: got the conversation %q, want %q", r.Conversation, x.h.id(it.Intent))
	case r.Verdict != consumer.VerdictCreated && r.Reason == "":
		t.Errorf("%v: got no reason", r.Verdict)
	}
	if n := utf8.RuneCountInString(r.Reason); n > maxReason {
		t.Errorf("%v: got a reason of %d characters, want at most %d", r.Verdict, n, maxReason)
	}
}

// discreet checks that a text holds nothing secret or personal.
func (x *subject) discreet(t *testing.T, what, text string) {
	t.Helper()
	if x.h.leaks(text) {
		t.Errorf("%s: a part of a secret is in %q", what, text)
	}
	for _, s := range x.h.private {
		if strings.Contains(text, s) {
			t.Errorf("%s: %q is in %q", what, s, text)
		}
	}
}

// leaks reports whether a text holds a part of a secret.
func (h Harness) leaks(text string) bool {
	return slices.ContainsFunc(h.Secrets, func(secret string) bool {
		for i := range len(secret) - part + 1 {
			if strings.Contains(text, secret[i:i+part]) {
				return true
			}
		}
		return false
	})
}

// personal returns what the requests hold that must not be shown: the parts of
// telephone numbers and e-mail addresses that masking takes out.
func (h Harness) personal() []string {
	var out []string
	for _, r := range slices.Concat(h.Requests, h.Forged, slices.Collect(maps.Values(h.Bad))) {
		texts(r, func(s string) {
			if schema.Mask(s) == s {
				return
			}
			local, _, _ := strings.Cut(s, "@")
			out = append(out, local[max(0, len(local)-7):])
		})
	}
	return slices.Compact(slices.Sorted(slices.Values(out)))
}

// texts calls f with each text in a JSON value.
func texts(v any, f func(string)) {
	switch v := v.(type) {
	case string:
		f(v)
	case map[string]any:
		for _, inner := range v {
			texts(inner, f)
		}
	case []any:
		for _, inner := range v {
			texts(inner, f)
		}
	}
}

// expect checks that each item has one of the verdicts.
func expect(t *testing.T, a consumer.Answer, allowed ...consumer.Verdict) {
	t.Helper()
	for i, r := range a.Results {
		if !slices.Contains(allowed, r.Verdict) {
			t.Errorf("item %d: got %v (status %d, %s), want %v", i, r.Verdict, a.Status, r.Reason, allowed)
		}
	}
}
