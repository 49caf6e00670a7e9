package browsertest_test

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/weirhq/weir/internal/console"
)

func TestSignIn(t *testing.T) {
	t.Parallel()
	tb := open(t, console.Desks{Lanes: fullLanes()})
	tb.visit("/lanes/initech")
	tb.shows("Sign in")
	tb.sound("sign in")
	tb.picture("login")
	tb.fill("#name", "Ada")
	tb.fill("#token", "wrong")
	tb.click("main button")
	tb.shows("This is not the console's token.")
	tb.sound("a wrong token")
	tb.picture("login-wrong")
	tb.fill("#token", token)
	tb.click("main button")
	tb.shows("the provider refuses the credentials")
	if got := eval[string](tb, "location.pathname"); got != "/lanes/initech" {
		t.Errorf("after signing in: got %s, want the page that was asked for", got)
	}
	if got := eval[string](tb, "document.cookie"); got != "" {
		t.Errorf("a script can read the cookie: %s", got)
	}
	tb.click(".who button")
	tb.shows("Sign in")
}

func TestActs(t *testing.T) {
	t.Parallel()
	desk := fullLanes()
	tb := open(t, console.Desks{Lanes: desk}).signIn()
	tb.click(`#lane-acme-sales a[href^="/pause"]`)
	tb.fill("#reason", "a bad list")
	tb.click("main button")
	tb.shows("acme-sales: paused, and weir serve has seen it.")
	tb.until(`document.querySelector("#lane-acme-sales .badge").innerText === "paused"`)
	tb.picture("paused")
	tb.click(`#lane-acme-sales form button`)
	tb.shows("acme-sales: resumed")
	tb.click(`#lane-hooli a[href$="/release"]`)
	tb.fill("#reason", "restored from the backup")
	tb.click("main button")
	tb.shows("hooli: released")
	want := "pause [acme-sales] by Ada: a bad list|resume [acme-sales] by Ada|release hooli by Ada: restored from the backup"
	if got := strings.Join(desk.acts, "|"); got != want {
		t.Errorf("acts: got %s, want %s", got, want)
	}
}

// An open page changes by itself, keeps its focus, and says that it is live.
func TestLive(t *testing.T) {
	t.Parallel()
	desk := fullLanes()
	tb := open(t, console.Desks{Lanes: desk}).signIn()
	tb.until(`document.getElementById("live").innerText.startsWith("live, as of")`)
	tb.do(chromedp.Focus(chromedp.CSS(`#lane-initech a[href^="/pause"]`)))
	desk.mu.Lock()
	desk.overview.Lanes[2].Waiting = 424242
	desk.overview.Lanes = append(desk.overview.Lanes[:1], desk.overview.Lanes[2:]...)
	desk.mu.Unlock()
	tb.shows("424242")
	tb.until(`!document.getElementById("lane-globex-support")`)
	if got := eval[string](tb, "document.activeElement.getAttribute('href') || ''"); got != "/pause?lane=initech" {
		t.Errorf("focus: got %q, want it where it was", got)
	}
	tb.sound("after a change")
}

// Without a mouse: the skip link first, then every link and button in turn, each with
// a ring; and the page can be acted on.
func TestKeyboard(t *testing.T) {
	t.Parallel()
	desk := fullLanes()
	tb := open(t, console.Desks{Lanes: desk}).signIn()
	tb.visit("/")
	tb.do(chromedp.KeyEvent(kb.Tab))
	if got := eval[string](tb, "document.activeElement.className"); got != "skip" {
		t.Fatalf("the first stop: got %q, want the link past the navigation", got)
	}
	want := eval[int](tb, `document.querySelectorAll("a[href],button,input:not([type=hidden])").length`)
	for range want - 1 {
		tb.do(chromedp.KeyEvent(kb.Tab))
		if ring := eval[string](tb, "getComputedStyle(document.activeElement).outlineStyle"); ring == "none" {
			t.Errorf("no ring on %s", eval[string](tb, "document.activeElement.outerHTML"))
		}
		eval[bool](tb, "document.activeElement.dataset.been = '1', true")
		if eval[string](tb, "document.activeElement.getAttribute('href') || ''") == "/pause?lane=initech" {
			break
		}
	}
	tb.do(chromedp.KeyEvent(kb.Enter))
	tb.shows("Pause lane initech")
	tb.do(chromedp.Focus(chromedp.CSS("#reason")), chromedp.KeyEvent("by keyboard"), chromedp.KeyEvent(kb.Enter))
	tb.shows("initech: paused")
	if got := strings.Join(desk.acts, "|"); got != "pause [initech] by Ada: by keyboard" {
		t.Errorf("acts: got %q", got)
	}
}
