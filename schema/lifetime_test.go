package schema_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/schema"
)

func TestLifetime(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		attributes string
		want       schema.Lifetime
		refused    string // the attribute
	}{
		"none":            {"", schema.Lifetime{}, ""},
		"both":            {`"notbefore":"2026-01-31T12:00:00Z","expirytime":"2026-01-31T14:00:00+01:00",`, schema.Lifetime{NotBefore: noon, Expires: noon.Add(time.Hour)}, ""},
		"parts of it":     {`"notbefore":"2026-01-31t12:00:00.5z",`, schema.Lifetime{NotBefore: noon.Add(time.Second / 2)}, ""},
		"null is absent":  {`"notbefore":null,`, schema.Lifetime{}, ""},
		"empty":           {`"notbefore":"",`, schema.Lifetime{}, "notbefore"},
		"a date":          {`"expirytime":"2026-01-31",`, schema.Lifetime{}, "expirytime"},
		"no zone":         {`"expirytime":"2026-01-31T12:00:00",`, schema.Lifetime{}, "expirytime"},
		"a number":        {`"notbefore":1769860800,`, schema.Lifetime{}, "notbefore"},
		"true":            {`"notbefore":true,`, schema.Lifetime{}, "notbefore"},
		"no time at all":  {`"notbefore":"0001-01-01T00:00:00Z",`, schema.Lifetime{}, "notbefore"},
		"the second one":  {`"notbefore":"2026-01-31T12:00:00Z","expirytime":"soon",`, schema.Lifetime{}, "expirytime"},
		"before year one": {`"notbefore":"0001-01-01T00:00:00+01:00",`, schema.Lifetime{}, "notbefore"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			header := map[string][]string{"Content-Type": {"application/cloudevents+json"}}
			ev, err := schema.Decode(header, []byte(`{"specversion":"1.0","id":"1","source":"/crm",`+tt.attributes+`"type":"lead.created"}`), 0)
			if err != nil {
				t.Fatal(err)
			}
			got, err := schema.LifetimeOf(ev)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("lifetime (-want +got):\n%s", diff)
			}
			field := ""
			if r, ok := errors.AsType[*schema.Refusal](err); ok {
				field = r.Field
			}
			if field != tt.refused || (err != nil) != (tt.refused != "") {
				t.Errorf("got %v, want a refusal for %q", err, tt.refused)
			}
		})
	}
}
