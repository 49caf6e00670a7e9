package schema_test

import (
	"testing"

	"github.com/weirhq/weir/schema"
)

func TestPointer(t *testing.T) {
	t.Parallel()
	for field, want := range map[string]string{
		"": "", "source": "/source", "data": "/data", "data.phone": "/data/phone", "data.attributes.tags[0]": "/data/attributes/tags/0",
		`data["odd name"].x`: "/data/odd name/x", `data["a/b~c"]`: "/data/a~1b~0c", "data[2][3]": "/data/2/3", "Content-Type": "", "ce-id": "",
		"data[": "/data/", "data.": "/data",
	} {
		r := schema.Refusal{Class: schema.ClassData, Field: field}
		if got := r.Pointer(); got != want {
			t.Errorf("%q: got %q, want %q", field, got, want)
		}
	}
	if got := (&schema.Refusal{Class: schema.ClassRequest, Field: "toPhoneNumber"}).Pointer(); got != "" {
		t.Errorf("a place in the request: got %q, want none", got)
	}
}
