package schema_test

import (
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/weirhq/weir/schema"
)

func TestRedial(t *testing.T) {
	t.Parallel()
	if schema.Redial(event.New()) {
		t.Error("an event without the attribute: got true")
	}
	for _, test := range []struct {
		value any
		want  bool
	}{
		{true, true}, {false, false}, {"true", true}, {"lead-1", true}, {"false", false}, {"FALSE", false}, {"0", false}, {"", false}, {int32(1), false},
	} {
		e := event.New()
		e.SetExtension("redial", test.value)
		if got := schema.Redial(e); got != test.want {
			t.Errorf("redial %v: got %v, want %v", test.value, got, test.want)
		}
	}
}
