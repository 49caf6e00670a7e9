package schema_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/weirhq/weir/schema"
)

// bombs are expressions that would take all memory or time if nothing bounded
// them, over an event with a text of 200 KiB.
func bombs() map[string]string {
	grow := func(inner string, times int) string {
		for range times {
			inner = "replace(" + inner + ", 'x', 'xxxxxxxxxx')"
		}
		return inner
	}
	list := func(item string, n int) string { return "[" + strings.Repeat(item+",", n-1) + item + "]" }
	return map[string]string{
		"repeat by replace": grow("data.text", 50),
		"concat":            strings.Repeat("data.text + ", 100) + "data.text",
		"a list as JSON":    "json(" + list("data.text", 160) + ")",
		"lists of lists":    "json(" + list(list("data.text", 15), 10) + ")",
		"a list of texts":   list("data.text", 160),
		"split and join":    "join(split(data.text, ''), data.text)",
		"a huge range":      "1..1000000000",
		"a loop":            "map(data.list, # + #)",
		"splits":            list("split(data.text, '')", 60),
	}
}

// TestExpressionBombs evaluates each bomb: it is refused at load or for its
// event, or gives something small, and takes little memory and time.
func TestExpressionBombs(t *testing.T) {
	e := event.New()
	e.SetID("1")
	e.SetSource("/crm")
	e.SetType("lead.created")
	if err := e.SetData("application/json", map[string]any{"text": strings.Repeat("x", 200<<10), "list": []int{1, 2}}); err != nil {
		t.Fatal(err)
	}
	for name, source := range bombs() {
		routes, err := schema.CompileRoutes([]schema.RouteSource{{Type: "lead.created", Request: map[string]any{"to": "${ " + source + " }"}}})
		if err != nil {
			t.Logf("%s: refused at load: %.80s", name, err)
			continue
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began := time.Now()
		request, err := routes.Request(e)
		took := time.Since(began)
		runtime.ReadMemStats(&after)
		allocated := (after.TotalAlloc - before.TotalAlloc) >> 20
		t.Logf("%s: %d MiB in all, %v, %v", name, allocated, took.Round(time.Millisecond), err)
		if allocated > 64 {
			t.Errorf("%s: allocated %d MiB, want 64 at most", name, allocated)
		}
		if took > 20*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
		if size := len(fmt.Sprint(request)); size > 20<<20 {
			t.Errorf("%s: gives a request of %d MiB", name, size>>20)
		}
	}
}
