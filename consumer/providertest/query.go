package providertest

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/weirhq/weir/consumer"
)

const (
	someID = "0c5f1c2e-8f8c-4a0c-9d0f-3f6f5b6a7c8d" // the id of these tests

	maxWord    = 1 << 10  // characters of a status or reason
	maxSummary = 64 << 10 // bytes of a summary
)

// ends are how a conversation may end.
var ends = []string{"completed", "unanswered", "transferred", "failed", "cancelled"}

// ask makes the client ask for a conversation, and checks what holds of every
// query.
func (x *subject) ask(ctx context.Context, t *testing.T, id string) (consumer.Conversation, error) {
	t.Helper()
	c, err := x.Conversation(ctx, id)
	if c.Header["Set-Cookie"] != nil {
		t.Error("the header holds a cookie")
	}
	if err != nil {
		x.discreet(t, "error", err.Error())
		if c.ID != "" || c.Status != "" || c.Ended || c.Result != "" {
			t.Errorf("got %+v beside the error %v, want nothing learned", c, err)
		}
		if n := utf8.RuneCountInString(err.Error()); n > maxReason {
			t.Errorf("got an error of %d characters, want at most %d", n, maxReason)
		}
		return c, err
	}
	if c.Ended != (c.Result != "") || c.Ended && !slices.Contains(ends, c.Result) {
		t.Errorf("got ended %v with the result %q, want one of %q for an end and none else", c.Ended, c.Result, ends)
	}
	if utf8.RuneCountInString(c.Status) > maxWord || utf8.RuneCountInString(c.Reason) > maxWord || len(c.Summary) > maxSummary {
		t.Errorf("got %d, %d and %d bytes of status, reason and summary", len(c.Status), len(c.Reason), len(c.Summary))
	}
	x.discreet(t, "status and reason", c.Status+c.Reason)
	if x.h.leaks(c.Summary) {
		t.Errorf("a part of a secret is in the summary %q", c.Summary)
	}
	return c, nil
}

func (h Harness) testConversation(t *testing.T) {
	for name, tt := range map[string]struct {
		ended bool
		words string
	}{
		"live": {false, ""}, "ended": {true, ""}, "ended with words": {true, "they agreed"},
		"ended with secrets": {true, strings.Join(h.Secrets, " ")}, "live with secrets": {false, strings.Join(h.Secrets, " ")},
		"ended with many words": {true, strings.Repeat("odd words ", 10_000)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := h.answers(t, nil, func(p *peer) { p.answer(200, h.Conversation(someID, tt.ended, tt.words)) })
			c, err := x.ask(t.Context(), t, someID)
			if err != nil || c.ID != someID || c.Ended != tt.ended || c.Header["X-Ratelimit-Remaining"] == nil {
				t.Errorf("got %+v and error %v, want %q with ended %v and the header", c, err, someID, tt.ended)
			}
			if r := x.s.latest(t); !strings.HasPrefix(r.line, "GET ") {
				t.Errorf("got the request %q, want a GET", r.line)
			}
		})
	}
	t.Run("escapes or refuses its id", h.conversationID)
	t.Run("an id that is too long", func(t *testing.T) {
		t.Parallel()
		x := h.answers(t, nil, func(p *peer) { p.answer(404, h.Error("none")) })
		if _, err := x.ask(t.Context(), t, strings.Repeat("x", 64<<10)); err == nil || errors.Is(err, consumer.ErrNotFound) {
			t.Errorf("got error %v, want a refusal", err)
		}
	})
}

// conversationID: no id reaches another path.
func (h Harness) conversationID(t *testing.T) {
	t.Parallel()
	x := h.answers(t, nil, func(p *peer) { p.answer(404, h.Error("none")) })
	if _, err := x.ask(t.Context(), t, someID); !errors.Is(err, consumer.ErrNotFound) {
		t.Fatalf("got error %v, want %v", err, consumer.ErrNotFound)
	}
	before, after, ok := strings.Cut(x.s.latest(t).uri, someID)
	if !ok {
		t.Fatalf("got the path %q, want the id in it", x.s.latest(t).uri)
	}
	for _, id := range []string{
		"", ".", "..", "a/b", "a/../b", "../x", "a?b=c", "a#b", "a%2Fb", "a%", "a b", "a\nb", "a\r\nX: y", "a;b", "a\\b", "é", "\x00", "\xff", "//x", "http://x",
	} {
		_, _, n := x.s.counts()
		_, err := x.ask(t.Context(), t, id)
		if err == nil {
			t.Errorf("id %q: got no error", id)
		}
		all := x.s.all()[n:]
		if len(all) == 0 {
			if errors.Is(err, consumer.ErrNotFound) {
				t.Errorf("id %q: got %v, and nothing was asked for", id, err)
			}
			continue
		}
		uri := all[0].uri
		segment := strings.TrimSuffix(strings.TrimPrefix(uri, before), after)
		got, err := url.PathUnescape(segment)
		if err != nil || got != id || strings.ContainsAny(segment, "/?#") || segment == "." || segment == ".." || segment == "" {
			t.Errorf("id %q: got the path %q, want the id as one element of it", id, uri)
		}
	}
}

// testQuery: when nothing is learned, and why.
func (h Harness) testQuery(t *testing.T) {
	said, other := h.Error("odd"), h.Conversation("another", true, "")
	told := h.Conversation(someID, true, "")
	for _, tt := range []struct {
		name string
		f    func(p *peer)
		is   error
	}{
		{"unknown", func(p *peer) { p.answer(404, said) }, consumer.ErrNotFound},
		{"credentials", func(p *peer) { p.answer(401, said) }, consumer.ErrUnauthorized},
		{"not allowed", func(p *peer) { p.answer(403, said) }, consumer.ErrUnauthorized},
		{"not allowed, a page", func(p *peer) { p.answer(403, page) }, consumer.ErrUnauthorized},
		{"full", func(p *peer) { p.answer(429, said) }, nil},
		{"broken", func(p *peer) { p.answer(500, said) }, nil},
		{"broken, with a conversation", func(p *peer) { p.answer(500, told) }, nil},
		{"unavailable", func(p *peer) { p.answer(503, "") }, nil},
		{"gone", func(p *peer) { p.answer(410, said) }, nil},
		{"redirect to itself", func(p *peer) { p.answer(302, told, "Location: "+p.last.uri) }, nil},
		{"a page", func(p *peer) { p.answer(200, page) }, nil},
		{"empty", func(p *peer) { p.answer(200, "") }, nil},
		{"null", func(p *peer) { p.answer(200, "null") }, nil},
		{"nothing in it", func(p *peer) { p.answer(200, "{}") }, nil},
		{"a list", func(p *peer) { p.answer(200, "["+told+"]") }, nil},
		{"another conversation", func(p *peer) { p.answer(200, other) }, nil},
		{"compressed", func(p *peer) { p.answer(200, gzipped(told), "Content-Encoding: gzip") }, nil},
		{"torn", func(p *peer) { p.answer(200, told[:len(told)-1]) }, nil},
		{"secrets", func(p *peer) { p.answer(500, h.repeating(false)[0]) }, nil},
		{"many words", func(p *peer) { p.answer(500, h.Error(strings.Repeat("odd words ", 5000))) }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			x := h.answers(t, nil, tt.f)
			c, err := x.ask(t.Context(), t, someID)
			learned(t, err, tt.is)
			if c.Header["X-Ratelimit-Remaining"] == nil {
				t.Errorf("got the header %v, want the limit in it", c.Header)
			}
			if _, _, n := x.s.counts(); n != 1 {
				t.Errorf("got %d requests, want one", n)
			}
		})
	}
	for name, handle := range map[string]func(p *peer){
		"cut":     func(p *peer) { p.next(); p.write(head(200, "Content-Length: 9999") + told) },
		"reset":   func(p *peer) { p.next(); p.write(head(200, "Content-Length: 9999") + told); p.reset() },
		"closed":  func(p *peer) { p.next() },
		"no HTTP": func(p *peer) { p.next(); p.write(strings.Join(h.Secrets, " ") + "\r\n\r\n") },
		"switch":  func(p *peer) { p.next(); p.write(head(101, "Upgrade: x", "Connection: Upgrade") + told); p.next() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := h.subject(t, nil, handle)
			_, err := x.ask(t.Context(), t, someID)
			learned(t, err, nil)
		})
	}
	t.Run("stopped", h.queryStopped)
}

// learned checks the error of a query that learned nothing.
func learned(t *testing.T, err, is error) {
	t.Helper()
	if err == nil {
		t.Error("got no error")
	}
	for _, known := range []error{consumer.ErrNotFound, consumer.ErrUnauthorized} {
		if errors.Is(err, known) != errors.Is(is, known) {
			t.Errorf("got error %v, want %v", err, is)
		}
	}
}

// queryStopped: a query ends with its context.
func (h Harness) queryStopped(t *testing.T) {
	t.Parallel()
	x := h.subject(t, nil, func(p *peer) { p.next(); p.next() })
	for _, wait := range []time.Duration{0, 100 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		began := time.Now()
		_, err := x.ask(ctx, t, someID)
		cancel()
		learned(t, err, nil)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got error %v, want %v", err, context.DeadlineExceeded)
		}
		if took := time.Since(began); took > wait+patience {
			t.Errorf("took %v, want an end at once after %v", took, wait)
		}
	}
}
