package providertest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
)

// testMarks: each item carries its intent and attempt, whatever the route says
// (H10).
func (h Harness) testMarks(t *testing.T) {
	x := h.answers(t, nil, creates)
	for _, n := range h.sizes() {
		b := x.batch(t, n)
		expect(t, x.create(t.Context(), t, b), created)
		x.marked(t, "good requests", x.s.latest(t).body, b.Items...)
	}
	for _, r := range h.Requests {
		it := x.item(r, x.request(t, r))
		expect(t, x.create(t.Context(), t, consumer.Batch{Items: []consumer.Item{it}, Free: 1, Permit: allow}), created)
		x.marked(t, "a good request", x.s.latest(t).body, it)
	}
	for i, r := range h.Forged {
		prepared, err := x.Prepare(r)
		if err != nil {
			if !refused(err) {
				t.Errorf("forged request %d: got error %v, want a refusal", i, err)
			}
			continue
		}
		it := x.item(r, prepared)
		x.create(t.Context(), t, consumer.Batch{Items: []consumer.Item{it}, Free: 1, Permit: allow})
		x.marked(t, "a forged request", x.s.latest(t).body, it)
	}
	x.sentAgain(t)
}

// sentAgain: a prepared request that is sent a second time carries the marks of
// the second item.
func (x *subject) sentAgain(t *testing.T) {
	t.Helper()
	prepared := x.request(t, x.h.Requests[0])
	for range 2 {
		it := x.item(x.h.Requests[0], prepared)
		x.create(t.Context(), t, consumer.Batch{Items: []consumer.Item{it}, Free: 1, Permit: allow})
		x.marked(t, "a request that was sent before", x.s.latest(t).body, it)
	}
}

// marked checks that a body carries the marks of the items.
func (x *subject) marked(t *testing.T, what string, body []byte, items ...consumer.Item) {
	t.Helper()
	var want []Sent
	for _, it := range items {
		s := Sent{Intent: it.Intent, Attempt: it.Attempt}
		if x.h.TakesID {
			s.ID = it.Intent
		}
		want = append(want, s)
	}
	if diff := cmp.Diff(want, x.h.Sent(body)); diff != "" {
		t.Errorf("%s: marks (-want +got):\n%s", what, diff)
	}
}
