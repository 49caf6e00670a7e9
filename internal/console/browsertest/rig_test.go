package browsertest_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/console"
	"github.com/weirhq/weir/schema"
)

const token = "a-token-of-the-console"

// patience is how long anything may take: the machine may be slow.
const patience = time.Minute

// browser is the one that all tests share.
var browser context.Context

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	path, err := chromium()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	dir, err := os.MkdirTemp("", "weir-console-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { // the browser's children may still write for a moment
		for range 50 {
			if os.RemoveAll(dir) == nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	}()
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.UserDataDir(dir), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.WSURLReadTimeout(2*patience), // its first start on a machine reads all of it from the disk
	)
	alloc, cancel := chromedp.NewExecAllocator(context.Background(), opts...)
	defer cancel()
	var stop context.CancelFunc
	browser, stop = chromedp.NewContext(alloc)
	defer stop()
	if err := chromedp.Do(browser); err != nil {
		fmt.Fprintln(os.Stderr, "start", path, err)
		return 1
	}
	return m.Run()
}

// chromium finds the browser.
func chromium() (string, error) {
	for _, name := range []string{os.Getenv("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"} {
		if name == "" {
			continue
		}
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("these tests need a Chromium: apt-get install chromium, or name one with CHROMIUM=PATH")
}

// tab is one tab of the browser, with what went wrong in it.
type tab struct {
	t    *testing.T
	ctx  context.Context
	url  string
	mu   sync.Mutex
	said []string // errors and warnings of the page
}

// open opens a tab of its own at a console with these desks.
func open(t *testing.T, desks console.Desks) *tab {
	t.Helper()
	c := console.New(zerolog.Nop(), desks, console.Config{
		Tokens: func() ([]schema.Secret, error) { return []schema.Secret{token}, nil }, Version: "test",
	})
	srv := httptest.NewServer(c.Handler())
	t.Cleanup(func() { // after the tab is gone, which would say that its stream broke
		srv.CloseClientConnections() // the streams would hold it up
		srv.Close()
	})
	return openAt(t, srv.URL)
}

// openAt opens a tab for a console that runs already.
func openAt(t *testing.T, url string) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	ctx, end := context.WithTimeout(ctx, 10*patience) // each step has a time of its own
	tb := &tab{t: t, ctx: ctx, url: url}
	messages := chromedp.Console(ctx)
	listening := make(chan struct{})
	go func() {
		defer close(listening)
		for m, err := range messages {
			if err != nil {
				return
			}
			if m.Type == "error" || m.Type == "warning" || m.Type == chromedp.ConsoleException {
				tb.mu.Lock()
				tb.said = append(tb.said, string(m.Type)+": "+m.Text)
				tb.mu.Unlock()
			}
		}
	}()
	t.Cleanup(func() {
		tb.quiet()
		end()
		cancel()
		<-listening
	})
	tb.size(1280, 800)
	return tb
}

// answered is what the browser says of a page with a status of trouble, which is no
// fault of the page.
var answered = regexp.MustCompile(`the server responded with a status of [45]\d\d`)

// quiet fails the test for what the page has said.
func (tb *tab) quiet() {
	tb.t.Helper()
	tb.mu.Lock()
	defer tb.mu.Unlock()
	for _, text := range tb.said {
		if !answered.MatchString(text) {
			tb.t.Errorf("the browser says: %s", text)
		}
	}
	tb.said = nil
}

func (tb *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	tb.t.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		tb.t.Fatalf("browser: %v\n%s", err, tb.text())
	}
}

// eval returns what an expression is.
func eval[T any](tb *tab, expression string) T {
	tb.t.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		tb.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// until waits until an expression holds, also on the page that comes next.
func (tb *tab) until(expression string) {
	tb.t.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, patience)
	defer cancel()
	for {
		held, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+expression+")"))
		if err == nil && held {
			return
		}
		select {
		case <-ctx.Done():
			tb.t.Fatalf("%s: %v\n%s", expression, err, tb.text())
		case <-time.After(30 * time.Millisecond):
		}
	}
}

// shows waits until the page has a text.
func (tb *tab) shows(text string) {
	tb.t.Helper()
	tb.until(fmt.Sprintf("document.body && document.body.innerText.includes(%q)", text))
}

func (tb *tab) text() string {
	ctx, cancel := context.WithTimeout(tb.ctx, 10*time.Second)
	defer cancel()
	text, _ := chromedp.Run(ctx, chromedp.Evaluate[string]("location.href + '\\n' + (document.body ? document.body.innerText : '')"))
	return text
}

func (tb *tab) visit(path string) {
	tb.t.Helper()
	tb.do(chromedp.Navigate(tb.url + path))
}

// click clicks what a selector names, and waits for the page that follows.
func (tb *tab) click(selector string) {
	tb.t.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, patience)
	defer cancel()
	if _, err := chromedp.RunResponse(ctx, chromedp.Click(chromedp.CSS(selector))); err != nil {
		tb.t.Fatalf("click %s: %v\n%s", selector, err, tb.text())
	}
}

// press is click by keyboard, for a page that changes by itself: what is clicked may
// have moved on before the mouse is there, and the focus stays where it is.
func (tb *tab) press(selector string) {
	tb.t.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, patience)
	defer cancel()
	if _, err := chromedp.RunResponse(ctx, chromedp.Focus(chromedp.CSS(selector)), chromedp.KeyEvent(kb.Enter)); err != nil {
		tb.t.Fatalf("press %s: %v\n%s", selector, err, tb.text())
	}
}

func (tb *tab) fill(selector, text string) {
	tb.t.Helper()
	tb.do(chromedp.SetValue(chromedp.CSS(selector), text))
}

// signIn signs in as Ada at the page that asks for it.
func (tb *tab) signIn() *tab {
	tb.t.Helper()
	tb.visit("/login")
	tb.fill("#name", "Ada")
	tb.fill("#token", token)
	tb.click("main button")
	return tb
}

func (tb *tab) size(width, height int64) {
	tb.t.Helper()
	tb.do(chromedp.EmulateViewport(width, height))
}

// dark asks for the dark scheme, or the light one.
func (tb *tab) dark(dark bool) {
	tb.t.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	if _, err := chromedp.Call(tb.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	}); err != nil {
		tb.t.Fatal(err)
	}
}

// script lets the page's scripts run, or not.
func (tb *tab) script(on bool) {
	tb.t.Helper()
	if _, err := chromedp.Call(tb.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on}); err != nil {
		tb.t.Fatal(err)
	}
}

// picture keeps a screenshot if somebody wants to look.
func (tb *tab) picture(name string) {
	tb.t.Helper()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(tb.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		tb.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, strings.ReplaceAll(name, "/", "-")+".png"), png, 0o600); err != nil {
		tb.t.Fatal(err)
	}
}

// sound checks what must hold of every page.
func (tb *tab) sound(what string) {
	tb.t.Helper()
	for rule, expression := range map[string]string{
		"it scrolls sideways": `(() => {
			const w = document.documentElement.clientWidth;
			if (document.documentElement.scrollWidth <= w) return "";
			return [...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > w + 1)
				.slice(0, 5).map(e => e.nodeName + "." + e.className + "#" + e.id).join(" ") || "something";
		})()`,
		"a field has no label":   `[...document.querySelectorAll("input:not([type=hidden]),textarea,select")].filter(e => !e.labels.length).map(e => e.name).join(" ")`,
		"a button has no name":   `[...document.querySelectorAll("button,a")].filter(e => !e.textContent.trim() && !e.getAttribute("aria-label")).map(e => e.outerHTML).join(" ")`,
		"an id is there twice":   `[...document.querySelectorAll("[id]")].map(e => e.id).filter((id, i, all) => all.indexOf(id) !== i).join(" ")`,
		"it has not one heading": `document.querySelectorAll("h1").length === 1 ? "" : "" + document.querySelectorAll("h1").length`,
		"a text is hard to read": `(() => {
			const parse = c => (c.match(/[\d.]+/g) || []).map(Number);
			const light = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
				.reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
			const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] > 0) return c; } return [255, 255, 255]; };
			const bad = new Set();
			for (const e of document.querySelectorAll("body *")) {
				if (e.closest("svg") || ![...e.childNodes].some(n => n.nodeType === 3 && n.nodeValue.trim())) continue;
				const a = light(parse(getComputedStyle(e).color)), b = light(ground(e));
				const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
				if (ratio < 4.5) bad.add(e.nodeName + "." + e.className + " " + ratio.toFixed(1));
			}
			return [...bad].slice(0, 5).join(", ");
		})()`,
		"it has no title":          `document.title ? "" : "none"`,
		"a script was smuggled in": `window.pwned ? "" + window.pwned : ""`,
	} {
		if found := eval[string](tb, expression); found != "" {
			tb.t.Errorf("%s: %s: %s", what, rule, found)
		}
	}
}
