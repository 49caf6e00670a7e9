package oration_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/consumer/wire"
	"github.com/weirhq/weir/internal/oration"
)

// BenchmarkVerdict says what an answer means for each of its items.
func BenchmarkVerdict(b *testing.B) {
	for _, n := range []int{1, 9} {
		b.Run(fmt.Sprintf("items=%d", n), func(b *testing.B) {
			items := calls(b, n)
			results := make([]string, n)
			for i := range results {
				results[i] = flat(i)
			}
			x := oration.Exchange{Items: items, Free: n, FullWhen: patterns(), Exchange: wire.Exchange{
				Written: true, Status: http.StatusOK, Header: http.Header{}, Body: []byte(body(strings.Join(results, ","), "")), Complete: true,
			}}
			b.ReportAllocs()
			for b.Loop() {
				if a, _ := oration.Classify(x); a.Results[n-1].Conversation == "" {
					b.Fatalf("got %+v, want conversations", a)
				}
			}
		})
	}
}
