package schema_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/schema"
)

// bothDecode holds the quick reader of events against the thorough one: what it reads
// is the same event, and its data are the same to all that look at them.
func bothDecode(t *testing.T, body string) (plain bool) {
	t.Helper()
	got := schema.DecodePlain([]byte(body))
	if got == nil {
		return false
	}
	want, refusal := schema.DecodeThorough([]byte(strings.Trim(body, " \t\r\n")))
	if refusal != nil {
		t.Errorf("%.300q: the quick reader takes what is refused: %v", body, refusal)
		return true
	}
	if diff := cmp.Diff(view(want.Event, schema.Structured), view(got.Event, schema.Structured)); diff != "" {
		t.Errorf("%.300q (-thorough +quick):\n%s", body, diff)
	}
	if got.Digest() != want.Digest() {
		t.Errorf("%.300q: got another digest", body)
	}
	return true
}

func TestPlainEvents(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]bool{
		with(""):                                 true,
		" " + with(`,"data":`+person) + "\n":     true,
		with(`,"data":null,"subject":null`):      true,
		with(`,"a":true,"b":-5,"c":1e2,"d":"é"`): true,
		with(`,"datacontenttype":"text/json; charset=utf-8","data": [1 , 2] `): true,
		with(`,"subject":"\ufffd"`):                            true,
		with(`,"subject":"` + strings.Repeat("x", 2000) + `"`): true,
		with(`,"data":` + deep(64)):                            true,
		with(`,"data":` + deep(65)):                            false,
		with(`,"subject":"\ud83d"`):                            false,
		with(`,"id":"2"`):                                      false,
		with(`,"\u0069d":"2"`):                                 false,
		with(`,"data":{"a":1,"a":2}`):                          false,
		with(`,"data_base64":"MQ=="`):                          false,
		with(`,"datacontenttype":"text/plain","data":"x"`):     false,
		with(`,"mine":1.5`):                                    false,
		with(`,"mine":{}`):                                     false,
		with(`,"My":1`):                                        false,
		with("") + "x":                                         false,
		strings.Replace(with(""), "1.0", "0.3", 1):             false,
		strings.Replace(with(""), `"/crm"`, `null`, 1):         false,
		`{"a":"\`: false, `[]`: false, `null`: false, ``: false, "\xff": false,
	} {
		if got := bothDecode(t, body); got != want {
			t.Errorf("%.300q: got %v, want %v", body, got, want)
		}
	}
	small := with(`,"data":` + person)
	for i := range len(small) {
		bothDecode(t, small[:i]+small[i+1:])
		bothDecode(t, small[:i]+`"`+small[i:])
	}
}

func FuzzPlainEvents(f *testing.F) {
	f.Add(with(`,"data":` + person))
	f.Add(with(`,"subject":"\ud83d\ude00","time":"2026-01-31T09:30:00+01:00","n":1,"t":true,"data":[null]`))
	f.Fuzz(func(t *testing.T, body string) { bothDecode(t, body) })
}
