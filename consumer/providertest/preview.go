package providertest

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
)

// testPreview: what a client shows is what it sends, byte for byte but for the
// credentials, and showing it sends nothing. A client that shows nothing has
// nothing to hold here.
func (h Harness) testPreview(t *testing.T) {
	x := h.answers(t, nil, creates)
	client, ok := x.Client.(consumer.Previewer)
	if !ok {
		return
	}
	for _, n := range h.sizes() {
		b := x.batch(t, n)
		shown, err := client.Preview(b.Items)
		if err != nil {
			t.Fatalf("%d items: %v", n, err)
		}
		before := len(x.s.all())
		x.create(t.Context(), t, b)
		if now := len(x.s.all()); now != before+1 {
			t.Fatalf("%d items: got %d requests before and %d after the create, want one more", n, before, now)
		}
		x.same(t, shown, x.s.latest(t))
	}
	foreign := x.batch(t, 1)
	foreign.Items[0].Request.Body = "another provider's"
	if _, err := client.Preview(foreign.Items); err == nil {
		t.Error("another provider's request: got no error")
	}
	if h.Most == 1 {
		if _, err := client.Preview(append(x.batch(t, 1).Items, x.batch(t, 1).Items...)); err == nil {
			t.Error("two items, of which one can be sent: got no error")
		}
	}
}

// same compares what was shown with what came.
func (x *subject) same(t *testing.T, shown consumer.Preview, came request) {
	t.Helper()
	base, _, _ := strings.Cut(x.s.url, "/api")
	if got, want := shown.Method+" "+shown.URL+" HTTP/1.1", strings.Replace(came.line, " ", " "+base, 1); got != want {
		t.Errorf("request: got %q shown, %q sent", got, want)
	}
	if diff := cmp.Diff(string(came.body), string(shown.Body)); diff != "" {
		t.Errorf("body (-sent +shown):\n%s", diff)
	}
	hidden := 0
	for name, values := range came.header {
		text, value := strings.Join(shown.Header[name], "\n"), strings.Join(values, "\n")
		before, _, secret := strings.Cut(text, "***")
		switch {
		case name == "Content-Length": // of the connection
		case secret && strings.HasPrefix(value, before) && slices.Contains(x.h.Secrets, value[len(before):]):
			hidden++
		case text != value:
			t.Errorf("header %s: got %q shown, %q sent", name, text, value)
		}
	}
	if hidden != len(x.h.Secrets) {
		t.Errorf("got %d credentials hidden, want %d", hidden, len(x.h.Secrets))
	}
	for name, values := range shown.Header {
		if len(came.header[name]) == 0 {
			t.Errorf("header %s is shown and was not sent", name)
		}
		x.discreet(t, "header "+name, strings.Join(values, "\n"))
	}
}
