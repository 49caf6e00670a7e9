package bench

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAllocsOnTheWay(t *testing.T) {
	t.Parallel()
	const (
		handle = "github.com/weirhq/weir/consumer.(*lane).handle.func1"
		admit  = "github.com/weirhq/weir/consumer.(*lane).admit"
		decode = "github.com/weirhq/weir/schema.Decode"
	)
	a := Allocs{Own: make(map[string]int64)}
	for _, s := range []struct {
		n     int64
		stack []string // the innermost first
	}{
		{1, []string{"runtime.mallocgc", decode, admit, handle, "runtime.goexit"}},
		{2, []string{decode, admit, handle}},
		{4, []string{"github.com/weirhq/weir/consumer/wire.(*Client).post", "github.com/weirhq/weir/consumer.(*lane).send"}},
		{8, []string{"runtime.makeslice", "encoding/json.Unmarshal", decode, admit, handle}},
		{100, []string{decode, "github.com/weirhq/weir/consumer.(*lane).finish", handle}},        // behind the first byte
		{100, []string{"github.com/weirhq/weir/consumer.(*account).learn.func2", handle}},        // likewise
		{100, []string{decode, "github.com/weirhq/weir/internal/gateway.(*Door).ServeHTTP"}},     // not on the way
		{100, []string{"github.com/weirhq/weir/internal/ledger.Open", "main.main", "runtime.x"}}, // nor this
	} {
		a.add(slices.Values(s.stack), s.n)
	}
	want := Allocs{Libraries: 8, Own: map[string]int64{decode: 3, "github.com/weirhq/weir/consumer/wire.(*Client).post": 4}}
	if diff := cmp.Diff(want, a); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	way := Way{Own: 3.5, Libraries: 4, Top: []FunctionUse{{"consumer/wire.(*Client).post", 2}, {"schema.Decode", 1.5}}}
	if diff := cmp.Diff(way, a.Each(2)); diff != "" {
		t.Errorf("of one event (-want +got):\n%s", diff)
	}
}
