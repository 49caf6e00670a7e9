package schema_test

import (
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/weirhq/weir/schema"
)

func TestText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ source, data, want, err string }{
		{"${ data.time_zone }", `{"time_zone":" Asia/Tokyo "}`, "Asia/Tokyo", ""},
		{"data.time_zone", `{"time_zone":"Asia/Tokyo"}`, "Asia/Tokyo", ""},
		{"data.time_zone", `{}`, "", ""},
		{"data.a.b.c", `{"a":7}`, "", ""},
		{"data.time_zone", `{"time_zone":7}`, "", "is no text"},
		{"int(data.time_zone)", `{"time_zone":"secret@example.com"}`, "", "fails"},
		{"data.time_zone", `[`, "", "not JSON"},
	} {
		text, err := schema.CompileText(tt.source)
		if err != nil {
			t.Fatal(err)
		}
		ev := event.New()
		ev.SetType("lead.created")
		if err := ev.SetData(event.ApplicationJSON, []byte(tt.data)); err != nil {
			t.Fatal(err)
		}
		got, err := text.Of(ev)
		if got != tt.want || (err == nil) != (tt.err == "") {
			t.Errorf("%s of %s: got %q and %v, want %q, %s", tt.source, tt.data, got, err, tt.want, tt.err)
		}
		if err != nil && (!strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s of %s: got %v, want %q and nothing of the data", tt.source, tt.data, err, tt.err)
		}
	}
	for _, source := range []string{"", "${ data.a", "${ data.a } and ${ data.b }", "phone", "data.a.."} {
		if _, err := schema.CompileText(source); err == nil {
			t.Errorf("%q: got no error, want one", source)
		}
	}
}

func TestCondition(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		source, data string
		want         bool
		err          string
	}{
		{"${ data.consent }", `{"consent":true}`, true, ""},
		{"data.consent", `{"consent":false}`, false, ""},
		{"data.consent", `{"consent":"yes"}`, false, ""},
		{"data.consent", `{}`, false, ""},
		{"data.consent.marketing == true", `{"consent":{"marketing":true}}`, true, ""},
		{"data.consent.marketing == true", `{}`, false, ""},
		{`data.consent == "by phone"`, `{"consent":"by phone"}`, true, ""},
		{"int(data.consent) == 1", `{"consent":"secret@example.com"}`, false, "fails"},
		{"data.consent", `[`, false, "not JSON"},
	} {
		condition, err := schema.CompileCondition(tt.source)
		if err != nil {
			t.Fatal(err)
		}
		ev := event.New()
		ev.SetType("lead.created")
		if err := ev.SetData(event.ApplicationJSON, []byte(tt.data)); err != nil {
			t.Fatal(err)
		}
		got, err := condition.Met(ev)
		if got != tt.want || (err == nil) != (tt.err == "") {
			t.Errorf("%s of %s: got %v and %v, want %v, %q", tt.source, tt.data, got, err, tt.want, tt.err)
		}
		if err != nil && (!strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s of %s: got %v, want %q and nothing of the data", tt.source, tt.data, err, tt.err)
		}
	}
	for _, source := range []string{"", "${ data.a", "phone", "data.a.."} {
		if _, err := schema.CompileCondition(source); err == nil {
			t.Errorf("%q: got no error", source)
		}
	}
}
