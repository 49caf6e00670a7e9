package schema_test

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/weirhq/weir/schema"
)

func content(eventType, kind, data string) event.Event {
	e := event.New()
	e.SetID("1")
	e.SetSource("/crm")
	e.SetType(eventType)
	if kind != "" {
		e.SetDataContentType(kind)
	}
	e.DataEncoded = []byte(data)
	return e
}

// The ledger holds digests, so their form is fixed.
func TestDigestForm(t *testing.T) {
	t.Parallel()
	tests := []struct {
		e    event.Event
		hash string // of what
	}{
		{content("t", "", `{ "b": [1.50, -0, 2e3, true, null, "é\u003c"], "a": {} }`), `"t"` + "\n" + `{"a":{},"b":[15e-1,0,2e3,true,null,"é<"]}`},
		{content("t", "text/plain", `{ }`), `"t"` + "\n" + `{ }`},
		{content("t", "", ``), `"t"` + "\n"},
	}
	for _, tt := range tests {
		sum := sha256.Sum256([]byte(tt.hash))
		if got, want := schema.Digest(tt.e), hex.EncodeToString(sum[:]); got != want {
			t.Errorf("got digest %s of %s, want that of %s", got, tt.e.Data(), tt.hash)
		}
	}
}

func TestDigestEqual(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		a, b event.Event
		same bool
	}{
		{"order and white space", content("t", "", `{"a":1,"b":{"c":2,"d":3}}`), content("t", "", "{ \"b\" : {\"d\":3,\n\"c\":2}, \"a\" : 1 }"), true},
		{"1 and 1.0", content("t", "", `1`), content("t", "", `1.0`), true},
		{"1e2 and 100", content("t", "", `1e2`), content("t", "", `100`), true},
		{"1E+2 and 100.00", content("t", "", `1E+2`), content("t", "", `100.00`), true},
		{"0.1 and 1e-1", content("t", "", `0.1`), content("t", "", `1e-1`), true},
		{"0 and -0.0e5", content("t", "", `0`), content("t", "", `-0.0e5`), true},
		{"past float64, alike", content("t", "", `90071992547409930`), content("t", "", `9007199254740993e1`), true},
		{"past float64, not alike", content("t", "", `9007199254740993`), content("t", "", `9007199254740992`), false},
		{"10 and 100", content("t", "", `10`), content("t", "", `100`), false},
		{"sign", content("t", "", `1`), content("t", "", `-1`), false},
		{"escapes", content("t", "", `"\u00e9\/"`), content("t", "", `"é/"`), true},
		{"number and text", content("t", "", `1`), content("t", "", `"1"`), false},
		{"order of a list", content("t", "", `[1,2]`), content("t", "", `[2,1]`), false},
		{"null and absent member", content("t", "", `{"a":null}`), content("t", "", `{}`), false},
		{"type", content("t", "", `1`), content("u", "", `1`), false},
		{"content type of JSON", content("t", "", `{"a": 1}`), content("t", "application/x+json", `{"a":1}`), true},
		{"text counts byte for byte", content("t", "text/plain", `{"a": 1}`), content("t", "text/plain", `{"a":1}`), false},
		{"type and data do not run together", content("t\n1", "", ``), content("t", "", `1`), false},
		{"broken JSON is bytes", content("t", "", `{"a":1,"a":2}`), content("t", "", `{"a":2}`), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a, b := schema.Digest(tt.a), schema.Digest(tt.b)
			if got := a == b; got != tt.same {
				t.Errorf("got the same digest: %t, want %t (%s, %s)", got, tt.same, a, b)
			}
		})
	}
}

// H26: mode, key order and attributes that change from one sending to the next
// do not make another event of the same content.
func TestH26DigestAcrossModes(t *testing.T) {
	t.Parallel()
	a, err := schema.Decode(structured, []byte(with(`,"traceparent":"00-1","data":{"id":"7","n":1.0}`)), 0)
	if err != nil {
		t.Fatal(err)
	}
	b, err := schema.Decode(binary("ce-traceparent", "00-2", "ce-time", "2026-01-31T09:30:00Z"), []byte(`{"n":1,"id":"7"}`), 0)
	if err != nil {
		t.Fatal(err)
	}
	c, err := schema.Decode(structured, []byte(with(`,"data_base64":"eyJpZCI6IjciLCJuIjoxfQ=="`)), 0)
	if err != nil {
		t.Fatal(err)
	}
	if x, y, z := schema.Digest(a), schema.Digest(b), schema.Digest(c); x != y || y != z {
		t.Errorf("got digests %s, %s, %s; want the same", x, y, z)
	}
	other, err := schema.Decode(binary(), []byte(strings.Replace(`{"n":1,"id":"7"}`, "7", "8", 1)), 0)
	if err != nil {
		t.Fatal(err)
	}
	if schema.Digest(a) == schema.Digest(other) {
		t.Error("got the same digest for another id in the data")
	}
}
