package browsertest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/weirhq/weir/internal/console"
)

// deskPages are the addresses of the pages beside those of lanes.
var deskPages = []struct{ name, path string }{
	{"events", "/events"},
	{"event", "/events/acme-sales/" + key},
	{"letters", "/dead"},
	{"letter", "/dead/acme-sales/" + key},
	{"doubts", "/doubts"},
	{"doubt", "/doubts/acme-sales/" + key},
	{"undelivered", "/undelivered"},
	{"outcome", "/undelivered/acme-sales/" + key},
	{"contacts", "/contacts"},
	{"configuration", "/configuration"},
}

// Each of them with each kind of data, on a phone in the dark; the
// widest of the hostile also at a desk. With the preview of what a button would do, where there is one.
func TestDesks(t *testing.T) {
	t.Parallel()
	for kind, desks := range map[string]func() console.Desks{"empty": emptyDesk, "full": fullDesk, "broken": brokenDesk, "hostile": hostileDesk} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			tb := open(t, desks()).signIn()
			tb.size(375, 740)
			tb.dark(true)
			walk := func(view string, pages ...struct{ name, path string }) {
				for _, page := range pages {
					tb.visit(page.path)
					tb.sound(page.name + ", " + kind + ", " + view)
					tb.picture("desk-" + page.name + "-" + kind + "-" + view)
					switch {
					case kind == "full":
						tb.shows("lead-17 of the fair")
					case kind == "broken":
						tb.shows("The broker does not answer as it should.")
					}
				}
				if kind == "full" || kind == "hostile" {
					tb.visit("/dead")
					tb.click(`form[action="/dead/preview"] button`)
					tb.shows("Nothing was done yet.")
					tb.sound("preview, " + kind + ", " + view)
					tb.picture("desk-preview-" + kind + "-" + view)
				}
			}
			walk("phone", deskPages...)
			if kind == "hostile" {
				tb.size(1280, 800)
				tb.dark(false)
				walk("desk", deskPages[1:4]...) // the widest
			}
		})
	}
}

// A dead letter is dropped without a mouse: each stop has a ring, and the page's own
// order leads to the field of the reason and on to its button.
func TestKeyboardDropsALetter(t *testing.T) {
	t.Parallel()
	tb := open(t, fullDesk()).signIn()
	tb.visit("/dead/acme-sales/" + key)
	for range eval[int](tb, `document.querySelectorAll("a[href],button,input:not([type=hidden]),textarea,select,[tabindex]").length`) {
		tb.do(chromedp.KeyEvent(kb.Tab))
		if ring := eval[string](tb, "getComputedStyle(document.activeElement).outlineStyle"); ring == "none" {
			t.Errorf("no ring on %s", eval[string](tb, "document.activeElement.outerHTML"))
		}
		if eval[string](tb, "document.activeElement.id") == "drop-reason" {
			break
		}
	}
	if at := eval[string](tb, "document.activeElement.id"); at != "drop-reason" {
		t.Fatalf("the keyboard came to %q, want the reason of the drop", at)
	}
	tb.do(chromedp.KeyEvent("by keyboard"), chromedp.KeyEvent(kb.Tab))
	if text := eval[string](tb, "document.activeElement.innerText"); !strings.Contains(text, "Drop") {
		t.Fatalf("after the reason: got %q, want the button", text)
	}
	tb.do(chromedp.KeyEvent(kb.Enter))
	tb.until(`document.querySelector(".word[role=status]") && location.pathname.startsWith("/events/")`)
}

// With a link on another site the browser sends no strict cookie; who is signed in
// still comes to the page, and who is not to the form.
func TestLinkFromAnotherSite(t *testing.T) {
	t.Parallel()
	tb := open(t, fullDesk())
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><title>chat</title><a id="go" href="%s/pause?lane=initech">look</a>`, tb.url)
	}))
	t.Cleanup(other.Close)
	site := strings.Replace(other.URL, "127.0.0.1", "localhost", 1)
	tb.do(chromedp.Navigate(site))
	tb.do(chromedp.Click(chromedp.CSS("#go")))
	tb.until(`location.pathname === "/login" && document.querySelector("#token") && !document.querySelector("meta[http-equiv=refresh]")`)
	tb.fill("#name", "Ada")
	tb.fill("#token", token)
	tb.click("main button")
	tb.shows("Pause lane initech")
	tb.do(chromedp.Navigate(site))
	tb.do(chromedp.Click(chromedp.CSS("#go")))
	tb.until(`location.pathname === "/pause" && document.querySelector("#reason")`)
}
