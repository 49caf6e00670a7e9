package schema_test

import (
	"testing"

	"github.com/weirhq/weir/schema"
)

func TestHigh(t *testing.T) {
	t.Parallel()
	const refused = "; it can only be high, or be left out."
	for _, tt := range []struct {
		member string
		high   bool
		err    string
	}{
		{"", false, ""},
		{`,"priority":"high"`, true, ""},
		{`,"priority":"High"`, false, `The event's priority is "High"` + refused},
		{`,"priority":"normal"`, false, `The event's priority is "normal"` + refused},
		{`,"priority":""`, false, `The event's priority is ""` + refused},
		{`,"priority":5`, false, `The event's priority is "5"` + refused},
		{`,"priority":true`, false, `The event's priority is "true"` + refused},
	} {
		ev, err := schema.Decode(nil, []byte(`{"specversion":"1.0","id":"1","source":"/crm","type":"t"`+tt.member+`}`), 0)
		if err != nil {
			t.Errorf("%s: %v", tt.member, err)
			continue
		}
		high, err := schema.High(ev)
		said := ""
		if err != nil {
			said = err.Error()
		}
		if high != tt.high || said != tt.err {
			t.Errorf("%s: got %v, %q; want %v, %q", tt.member, high, said, tt.high, tt.err)
		}
	}
}
