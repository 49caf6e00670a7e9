package providertest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/schema"
)

// maxItem bounds what one item may add to a body, in bytes: a prepared request
// is kept in memory, and a batch holds many.
const maxItem = 1 << 20

func (h Harness) testPrepare(t *testing.T) {
	t.Run("good", h.prepareGood)
	t.Run("bad", h.prepareBad)
	t.Run("odd", h.prepareOdd)
	t.Run("shares nothing", h.prepareSharesNothing)
	t.Run("recipient", h.prepareRecipient)
}

// prepareGood: what may share a batch has pairs that differ, and the argument
// stays as it was.
func (h Harness) prepareGood(t *testing.T) {
	t.Parallel()
	x := h.answers(t, nil, creates)
	pairs := make(map[string]int)
	for i, r := range h.Requests {
		before := clone(r)
		prepared := x.request(t, r)
		if diff := cmp.Diff(before, any(r)); diff != "" {
			t.Errorf("request %d changed (-want +got):\n%s", i, diff)
		}
		if other, taken := pairs[prepared.Pair]; taken && prepared.Pair != "" {
			t.Errorf("requests %d and %d have one pair, want people that differ in the harness, or pairs", other, i)
		}
		pairs[prepared.Pair] = i
		again := x.request(t, r)
		if again.Pair != prepared.Pair || again.Channel != prepared.Channel {
			t.Errorf("request %d: got pair and channel %q, %q and then %q, %q", i, prepared.Pair, prepared.Channel, again.Pair, again.Channel)
		}
	}
}

func (h Harness) prepareBad(t *testing.T) {
	t.Parallel()
	x := h.answers(t, nil, creates)
	bad := maps.Clone(h.Bad)
	unknown := maps.Clone(h.Requests[0])
	unknown["noSuchField"] = "x"
	bad["noSuchField"] = unknown
	for field, r := range bad {
		before := clone(r)
		_, err := x.Prepare(r)
		refusal, ok := errors.AsType[*schema.Refusal](err)
		if !ok || refusal.Class != schema.ClassRequest {
			t.Errorf("%s: got error %v, want a refusal of class %q", field, err, schema.ClassRequest)
			continue
		}
		if !strings.Contains(refusal.Error(), field) {
			t.Errorf("%s: got %q, want the field in it", field, refusal)
		}
		x.discreet(t, field, refusal.Error()+refusal.Field)
		if diff := cmp.Diff(before, any(r)); diff != "" {
			t.Errorf("%s: the request changed (-want +got):\n%s", field, diff)
		}
	}
	for _, r := range []map[string]any{nil, {}} {
		if _, err := x.Prepare(r); !refused(err) {
			t.Errorf("an empty request: got error %v, want a refusal", err)
		}
	}
}

// prepareOdd puts every odd value into every field. What is not refused can be
// sent.
func (h Harness) prepareOdd(t *testing.T) {
	t.Parallel()
	x := h.answers(t, nil, func(p *peer) { p.answer(500, h.Error("odd")) })
	for i, r := range h.Requests {
		each(r, func(path string, set func(v any) map[string]any) {
			for name, v := range odd() {
				x.tryOdd(t, fmt.Sprintf("request %d, %s: %s", i, path, name), set(v))
			}
		})
	}
}

// tryOdd prepares a request and, if it is not refused, sends it.
func (x *subject) tryOdd(t *testing.T, what string, r map[string]any) {
	t.Helper()
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("%s: panic: %v", what, p)
		}
	}()
	prepared, err := x.Prepare(r)
	if err != nil {
		if !refused(err) {
			t.Errorf("%s: got error %v, want a refusal", what, err)
		}
		x.discreet(t, what, err.Error())
		return
	}
	it := x.item(r, prepared)
	a := x.create(t.Context(), t, consumer.Batch{Items: []consumer.Item{it}, Free: 1, Permit: allow})
	if a.Status != 500 {
		t.Errorf("%s: accepted and then not sent: %s", what, a.Results[0].Reason)
		return
	}
	body := x.s.latest(t).body
	if !json.Valid(body) || len(body) > maxItem {
		t.Errorf("%s: sent %d bytes, want valid JSON of at most %d", what, len(body), maxItem)
	}
	x.marked(t, what, body, it)
}

// prepareSharesNothing changes a request after it was prepared.
func (h Harness) prepareSharesNothing(t *testing.T) {
	t.Parallel()
	x := h.answers(t, nil, creates)
	for i, r := range h.Requests {
		own := clone(r).(map[string]any)
		first, second := x.request(t, own), x.request(t, r)
		spoil(own)
		if diff := cmp.Diff(x.body(t, r, second), x.body(t, r, first)); diff != "" {
			t.Errorf("request %d: a later change of the request is sent (-want +got):\n%s", i, diff)
		}
	}
}

// body returns what is sent for a request, without the intent.
func (x *subject) body(t *testing.T, r map[string]any, prepared consumer.Request) string {
	t.Helper()
	it := x.item(r, prepared)
	it.Attempt = 1
	x.create(t.Context(), t, consumer.Batch{Items: []consumer.Item{it}, Free: 1, Permit: allow})
	return strings.ReplaceAll(string(x.s.latest(t).body), it.Intent, "INTENT")
}

func allow() error { return nil }

// refused reports whether an error is the refusal of a request.
func refused(err error) bool {
	r, ok := errors.AsType[*schema.Refusal](err)
	return ok && r.Class == schema.ClassRequest
}

// each calls f for every field of a request, those one object below included,
// and for one that is new there; set returns a copy with another value.
func each(r map[string]any, f func(path string, set func(v any) map[string]any)) {
	for key, v := range r {
		f(key, func(v any) map[string]any {
			own := clone(r).(map[string]any)
			own[key] = v
			return own
		})
		inner, ok := v.(map[string]any)
		if !ok {
			continue
		}
		for _, name := range append(slices.Collect(maps.Keys(inner)), "odd") {
			f(key+"."+name, func(v any) map[string]any {
				own := clone(r).(map[string]any)
				own[key].(map[string]any)[name] = v
				return own
			})
		}
	}
}

// odd returns what a route may make of an event that nobody expected.
func odd() map[string]any {
	var object, list any = "x", "x"
	for range 5000 {
		object, list = map[string]any{"x": object}, []any{list}
	}
	many := make(map[string]any)
	for i := range 20_000 {
		many[fmt.Sprint("key ", i)] = i
	}
	return map[string]any{
		"null": nil, "empty": "", "space": " ", "text": "odd", "line end": "a\nb", "NUL": "\x00", "not UTF-8": "\xff\xfe", "long": strings.Repeat("x", 2<<20),
		"true": true, "zero": 0, "negative": -1, "fraction": 0.5, "large": 1e308, "not a number": math.NaN(), "infinite": math.Inf(1),
		"int64": int64(math.MinInt64), "uint64": uint64(math.MaxUint64), "number": json.Number("1e999"), "no number": json.Number("x"),
		"list": []any{}, "nulls": []any{nil, nil}, "object": map[string]any{}, "no keys": map[string]any{"": nil, "\xff": 1},
		"deep object": object, "deep list": list, "many keys": many,
	}
}

// clone copies a JSON value.
func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, inner := range v {
			out[key] = clone(inner)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, inner := range v {
			out[i] = clone(inner)
		}
		return out
	default:
		return v
	}
}

// spoil changes everything in a JSON value that can be changed.
func spoil(v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, inner := range v {
			spoil(inner)
			v[key] = "spoilt"
		}
		v["spoilt"] = true
	case []any:
		for i, inner := range v {
			spoil(inner)
			v[i] = "spoilt"
		}
	}
}
