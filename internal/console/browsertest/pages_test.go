package browsertest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weirhq/weir/internal/console"
)

// kinds are the data that each page is shown with.
var kinds = map[string]func() console.Desks{
	"empty":   func() console.Desks { return console.Desks{Lanes: emptyLanes()} },
	"full":    func() console.Desks { return console.Desks{Lanes: fullLanes()} },
	"broken":  func() console.Desks { return console.Desks{Lanes: brokenLanes()} },
	"hostile": func() console.Desks { return console.Desks{Lanes: hostileLanes()} },
}

// pages are the addresses of all pages, each with what full data must show there.
var pages = []struct{ name, path, full string }{
	{"lanes", "/", "all slots are in use"},
	{"lane", "/lanes/acme-sales", "lead-17"},
	{"pause", "/pause?lane=acme-sales", "Pause lane acme-sales"},
	{"pause-all", "/pause", "Pause all lanes"},
	{"release", "/lanes/hooli/release", "12 were found"},
	{"nowhere", "/nowhere", "There is no such page"},
}

// views are what they are looked at with.
var views = []struct {
	name          string
	width, height int64
	dark, script  bool
	kinds         string // of data; empty: all
}{
	{"phone-dark", 360, 740, true, true, ""},
	{"desk", 1280, 800, false, true, "full hostile"},
	{"no-script", 800, 600, false, false, "full"},
}

func TestPages(t *testing.T) {
	t.Parallel()
	for kind, desks := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			tb := open(t, desks()).signIn()
			for _, view := range views {
				if view.kinds != "" && !strings.Contains(view.kinds, kind) {
					continue
				}
				tb.size(view.width, view.height)
				tb.dark(view.dark)
				tb.script(view.script)
				for _, page := range pages {
					tb.visit(page.path)
					what := fmt.Sprintf("%s, %s, %s", page.name, kind, view.name)
					tb.script(true) // the page was loaded without, if so; what looks at it is one
					tb.sound(what)
					if kind == "full" {
						tb.shows(page.full)
					}
					tb.picture(page.name + "-" + kind + "-" + view.name)
					tb.script(view.script)
				}
			}
		})
	}
}
