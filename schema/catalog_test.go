package schema_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/schema"
)

func TestCatalogAccepts(t *testing.T) {
	t.Parallel()
	catalog := schema.NewCatalog()
	tests := map[string]string{
		"only an id":         `{"id":"7"}`,
		"a number as id":     `{"id":7}`,
		"1.0 is whole":       `{"id":7.0}`,
		"a long number":      `{"id":123456789012345678901234567890}`,
		"nulls":              `{"id":"7","first_name":null,"last_name":null,"phone":null,"email":null,"company":null,"source":null,"language":null,"time_zone":null,"consent":null,"attributes":null}`,
		"everything":         `{"id":"7","first_name":"Anna","last_name":"Schmidt","phone":"0151 / 123","email":"a@b.example","company":"X","source":"web","language":"de","time_zone":"Europe/Berlin","consent":true,"attributes":{"a":[1]}}`,
		"more than is known": `{"id":"7","score":12,"nested":{"a":1}}`,
		"consent in words":   `{"id":"7","consent":"by phone"}`,
		"consent in detail":  `{"id":"7","consent":{"at":"2026-01-01"}}`,
		"not a pretty phone": `{"id":"7","phone":"call me"}`,
	}
	for name, data := range tests {
		if err := catalog.Check(content("lead.created", "", data)); err != nil {
			t.Errorf("%s: got %v, want no error", name, err)
		}
	}
	if err := catalog.Check(content("deal.won", "text/plain", "x")); err != nil {
		t.Errorf("a type without schema: got %v, want no error", err)
	}
}

// The types of a lead share what is the same, and have what is their own.
func TestCatalogTypes(t *testing.T) {
	t.Parallel()
	catalog := schema.NewCatalog()
	if diff := cmp.Diff([]string{"conversation.requested", "lead.created", "lead.qualified", "lead.updated"}, catalog.Types()); diff != "" {
		t.Errorf("types (-want +got):\n%s", diff)
	}
	for _, tt := range []struct{ kind, data, want string }{
		{"lead.updated", `{"id":"7","phone":"+14155550100","changed":["phone"],"updated_at":"2026-11-21T09:30:00Z"}`, ""},
		{"lead.updated", `{"id":"7","changed":null,"updated_at":null,"more":1}`, ""},
		{"lead.updated", `{"changed":"phone"}`, "data.changed must be a list; data.id is missing."},
		{"lead.updated", `{"id":"7","changed":[5],"phone":5}`, "data.changed[0] must be text; data.phone must be text."},
		{"lead.qualified", `{"id":7,"score":81.5,"stage":"mql","status":"open","reason":"asked twice","owner":{"id":3},"qualified_at":"2026-11-21T09:30:00Z"}`, ""},
		{"lead.qualified", `{"id":7,"score":"hot","owner":"ana","stage":null,"status":null,"reason":null,"qualified_at":null}`, ""},
		{"lead.qualified", `{"id":7,"owner":12}`, ""},
		{"lead.qualified", `{"score":true,"owner":[]}`, "data.id is missing; data.owner must be a whole number or an object or text; data.score must be a number or text."},
		{"lead.qualified", `{"id":" "}`, "data.id is empty."},
		{"conversation.requested", `{"agentId":"a","anything":[1]}`, ""},
		{"conversation.requested", `{}`, ""},
		{"conversation.requested", `[]`, "data must be an object."},
	} {
		got := ""
		if err := catalog.Check(content(tt.kind, "", tt.data)); err != nil {
			_, got, _ = strings.Cut(refusal(t, err).Reason, ": ")
		}
		if got != tt.want {
			t.Errorf("%s %s: got %q, want %q", tt.kind, tt.data, got, tt.want)
		}
	}
}

func TestCatalogRefuses(t *testing.T) {
	t.Parallel()
	catalog := schema.NewCatalog()
	tests := []struct {
		name, kind, data string
		field, reason    string
	}{
		{"no data", "", "", "data", "The lead has no content: data is missing."},
		{"not JSON", "text/plain", "x", "data", `The lead cannot be read: its data is "text/plain", not JSON.`},
		{"broken JSON", "", `{"id":`, "data", "The lead cannot be read: its data is not JSON (it ends too early)."},
		{"null", "", `null`, "data", "The lead cannot be used as it is: data must be an object."},
		{"list", "", `[]`, "data", "The lead cannot be used as it is: data must be an object."},
		{"no id", "", `{}`, "data.id", "The lead has no id: data.id is missing."},
		{"null id", "", `{"id":null}`, "data.id", "The lead cannot be used as it is: data.id must be a whole number or text."},
		{"empty id", "", `{"id":""}`, "data.id", "The lead cannot be used as it is: data.id is empty."},
		{"blank id", "", `{"id":" "}`, "data.id", "The lead cannot be used as it is: data.id is empty."},
		{"broken id", "", `{"id":1.5}`, "data.id", "The lead cannot be used as it is: data.id must be a whole number or text."},
		{"number as a name", "", `{"id":1,"first_name":5}`, "data.first_name", "The lead cannot be used as it is: data.first_name must be text."},
		{"number as a phone", "", `{"id":1,"phone":4915112345678}`, "data.phone", "The lead cannot be used as it is: data.phone must be text."},
		{"long phone", "", `{"id":1,"phone":"` + strings.Repeat("1", 65) + `"}`, "data.phone", "The lead cannot be used as it is: data.phone is longer than 64 characters."},
		{"consent as a number", "", `{"id":1,"consent":1}`, "data.consent", "The lead cannot be used as it is: data.consent must be an object or text or true or false."},
		{"attributes as a list", "", `{"id":1,"attributes":[]}`, "data.attributes", "The lead cannot be used as it is: data.attributes must be an object."},
		{"several, in order", "", `{"phone":1,"email":2}`, "data.email", "The lead cannot be used as it is: data.email must be text; data.id is missing; data.phone must be text."},
		{"more than three", "", `{"phone":1,"email":2,"company":3,"source":4,"language":5}`, "data.company", "The lead cannot be used as it is: data.company must be text; data.email must be text; data.id is missing; and 3 more."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for range 5 { // the order must not depend on the order of a map
				r := refusal(t, catalog.Check(content("lead.created", tt.kind, tt.data)))
				want := schema.Refusal{Class: schema.ClassData, Field: tt.field, Reason: tt.reason}
				if diff := cmp.Diff(want, *r); diff != "" {
					t.Errorf("refusal (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestCatalogConcurrently(t *testing.T) {
	t.Parallel()
	catalog := schema.NewCatalog()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if catalog.Check(content("lead.created", "", `{"id":"7"}`)) != nil || catalog.Check(content("lead.created", "", `{}`)) == nil {
					t.Error("got a wrong answer while others asked")
				}
			}
		})
	}
	wg.Wait()
}

// TestCatalogNeedsNoWorkingDirectory makes the catalog where the directory that the
// process was started in is gone: an account may be taken over long after that.
func TestCatalogNeedsNoWorkingDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	schema.NewCatalog()
}
