package console_test

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirhq/weir/internal/console"
)

func TestHistory(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 11, 21, 12, 0, 5, 0, time.UTC)
	look := func(after time.Duration, l console.Lane) console.Overview {
		l.Name, l.State = "a", cmp.Or(l.State, console.Running)
		return console.Overview{At: began.Add(after), Lanes: []console.Lane{l}}
	}
	hour := console.Hours("a",
		look(0, console.Lane{Owner: "one", Epoch: 1, Created: 100, Used: 3, Limit: 5}),
		look(20*time.Second, console.Lane{Owner: "one", Epoch: 1, Created: 103, Odd: 2, Used: 4, Limit: 5}),
		look(40*time.Second, console.Lane{State: console.NotRunning}),
		look(time.Minute, console.Lane{Owner: "two", Epoch: 3, Created: 107, Used: 1, Limit: 5, Waiting: 9}),
		look(3*time.Minute, console.Lane{Owner: "two", Epoch: 3, Created: 109, Full: 1, Limit: 5}),
	)
	if len(hour) != 60 {
		t.Fatalf("got %d minutes, want 60", len(hour))
	}
	first, second, gap, last := hour[56], hour[57], hour[58], hour[59]
	if first.Made != 3 || first.Odd != 2 || first.Used != 4 {
		t.Errorf("first minute: got %+v, want 3 made of which nothing came before, 2 odd, 4 used", first)
	}
	if second.Made != 107 || second.Takeovers != 2 || second.Waiting != 9 {
		t.Errorf("second minute: got %+v, want the 107 of the new owner, 2 takeovers, 9 waiting", second)
	}
	if gap.Seen || last.Made != 2 || last.Full != 1 {
		t.Errorf("got %+v, then %+v; want nothing seen, then 2 made, 1 full", gap, last)
	}
	slots, made, waiting := console.Charts(hour)
	if len(slots.Areas) != 2 || slots.Level == 0 || !strings.Contains(slots.Title, "0 now, of 5") {
		t.Errorf("slots: got %+v, want two areas with a gap, a limit", slots)
	}
	if len(made.Bars) != 5 || !strings.Contains(made.Title, "112, with 3 answers of 429, 2 of them unexplained") {
		t.Errorf("made: got %d bars, %q", len(made.Bars), made.Title)
	}
	if waiting.Most != "9" {
		t.Errorf("waiting: got a top of %s, want 9", waiting.Most)
	}
	for _, b := range made.Bars {
		if b.Y < 0 || b.H <= 0 || b.X < 0 || b.X+b.W > 240 || b.Y+b.H > 48.01 {
			t.Errorf("a bar leaves the picture: %+v", b)
		}
	}
	for _, nothing := range [][]console.Overview{{look(0, console.Lane{})}, {{At: began}}} {
		slots, made, waiting = console.Charts(console.Hours("a", nothing...))
		for _, c := range []string{slots.Title, made.Title, waiting.Title} {
			if c == "" {
				t.Errorf("an empty chart says nothing")
			}
		}
	}
}

// errNone stands for no error, since an atomic.Value holds one type alone.
var errNone = errors.New("none")

func failed(v *atomic.Value) error {
	if err, _ := v.Load().(error); !errors.Is(err, errNone) {
		return err
	}
	return nil
}

func TestBoard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var looks atomic.Int32
		var fail atomic.Value // of error
		fail.Store(fmt.Errorf("%w", errNone))
		overview := console.Board(func(ctx context.Context) (console.Overview, error) {
			looks.Add(1)
			select {
			case <-ctx.Done():
				return console.Overview{}, ctx.Err()
			case <-time.After(2 * time.Second):
			}
			return console.Overview{Lanes: []console.Lane{{Name: "a", State: console.Running}}}, failed(&fail)
		})
		for range 10 { // one look for all
			go func() { _, _ = overview(t.Context()) }()
		}
		o, err := overview(t.Context())
		if err != nil || len(o.Lanes) != 1 || looks.Load() != 1 {
			t.Errorf("got %+v, %v after %d looks; want one lane after one look", o, err, looks.Load())
		}
		synctest.Wait()
		time.Sleep(time.Second)
		fail.Store(fmt.Errorf("look: %w", console.Away{Err: errors.New("no leader")}))
		o, err = overview(t.Context())
		if err != nil || !o.Stale || len(o.Trouble) != 1 || !strings.Contains(o.Trouble[0], "no leader") || len(o.Lanes) != 1 {
			t.Errorf("the broker is away: got %+v, %v; want the last good look with the trouble", o, err)
		}
		if got := console.Headline(o); !strings.Contains(got, "The broker does not answer. This is how it was") {
			t.Errorf("headline: got %q", got)
		}
		time.Sleep(time.Second)
		soon, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if o, err = overview(soon); err != nil || !o.Stale {
			t.Errorf("nobody waits for ever: got %+v, %v", o, err)
		}
		time.Sleep(10 * time.Second)
		fail.Store(fmt.Errorf("%w", errNone))
		if o, err = overview(t.Context()); err != nil || o.Stale {
			t.Errorf("the broker is back: got %+v, %v", o, err)
		}
	})
}

func TestHeadline(t *testing.T) {
	t.Parallel()
	run := console.Lane{Name: "a", State: console.Running, Waiting: 3}
	idle := console.Lane{Name: "b", State: console.Running}
	full := console.Lane{Name: "c", State: console.Waiting, Waiting: 9, Used: 5}
	blocked := console.Lane{Name: "d", State: console.Waiting, Blocked: true}
	stopped := console.Lane{Name: "e", State: console.Stopped}
	for want, lanes := range map[string][]console.Lane{
		"There is no lane.":                   nil,
		"The lane calls.":                     {run},
		"The lane does not call.":             {stopped},
		"All 3 lanes call.":                   {run, idle, full},
		"Nothing waits to be called.":         {idle, idle},
		"1 of 3 lanes does not call.":         {run, idle, blocked},
		"2 of 3 lanes do not call.":           {run, stopped, blocked},
		"The lane calls, but look at 1 lane.": {{Name: "f", State: console.Running, Waiting: 1, Notes: []string{"a note"}}},
		"No lane calls.":                      {stopped, blocked},
	} {
		if got := console.Headline(console.Overview{At: time.Now(), Lanes: lanes}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestOneLane(t *testing.T) {
	t.Parallel()
	desk := oneLane()
	desk.detail = console.LaneDetail{
		Routes:   []console.Route{{Type: "lead.created", When: "has(data.phone)", Request: []string{"agentId"}}},
		Facts:    []console.Fact{{Name: "batch", Value: "20"}},
		Recent:   []console.Outcome{{At: time.Now(), Kind: "created", Event: "<lead>"}},
		Delivery: &console.Delivery{Waiting: 4},
	}
	v := open(t, console.Desks{Lanes: desk}, nil).signIn()
	v.get("/lanes/acme").want(t, http.StatusOK, "has(data.phone)", "&lt;lead&gt;", "batch", "4 wait", `href="/pause?lane=acme"`, "run by")
	v.get("/lanes/nowhere").want(t, http.StatusNotFound, "no lane of that name")
	desk.detail, desk.detailErr = console.LaneDetail{}, errors.New("the stream is gone")
	v.get("/lanes/acme").want(t, http.StatusOK, "the stream is gone", "3 of 20")
}

func TestRelease(t *testing.T) {
	t.Parallel()
	desk := oneLane()
	desk.overview.Lanes[0].State = console.Held
	v := open(t, console.Desks{Lanes: desk}, nil).signIn()
	v.get("/").want(t, http.StatusOK, `href="/lanes/acme/release"`)
	v.get("/lanes/acme/release").want(t, http.StatusOK, "WEIR_LEDGER has lost &lt;all&gt;")
	v.get("/lanes/nowhere/release").want(t, http.StatusNotFound)
	for text, want := range map[string]string{"yesterday": "Write it as", "2999-01-01T00:00:00Z": "in the future"} {
		v.post("/lanes/acme/release", url.Values{"reason": {"restored"}, "before": {text}}).want(t, http.StatusUnprocessableEntity, want, text)
	}
	v.post("/lanes/acme/release", nil).want(t, http.StatusUnprocessableEntity, "Say why")
	if len(desk.acts) > 0 {
		t.Errorf("got %q, want nothing done yet", desk.acts)
	}
	v.post("/lanes/acme/release", url.Values{"reason": {"restored"}, "before": {"2026-11-21T09:30:00Z"}}).want(t, http.StatusSeeOther)
	v.get("/lanes/acme").want(t, http.StatusOK, "acme: released; events from before 2026-11-21T09:30:00Z")
	if got, want := strings.Join(desk.acts, "|"), "release acme 2026-11-21T09:30:00Z by Ada: restored"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A stream sends the part that changes, once, and again when it has changed.
func TestStream(t *testing.T) {
	t.Parallel()
	desk := oneLane()
	v := open(t, console.Desks{Lanes: desk}, func(c *console.Config) { c.Watching = 1 }).signIn()
	watch := func(path string) *http.Response {
		r := v.request(http.MethodGet, path, nil)
		r.Header.Set("Accept", "text/event-stream")
		resp, err := v.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		return resp
	}
	resp := watch("/")
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("content type: got %q", got)
	}
	if busy := watch("/"); busy.StatusCode != http.StatusServiceUnavailable || busy.Header.Get("Retry-After") == "" {
		t.Errorf("a second stream of one: got %d, want 503 with a time", busy.StatusCode)
	}
	lines := bufio.NewScanner(resp.Body)
	next := func() (kind, data string) {
		for lines.Scan() {
			switch line := lines.Text(); {
			case strings.HasPrefix(line, "event: "):
				kind = line[7:]
			case strings.HasPrefix(line, "data: "):
				data += line[6:] + "\n"
			case line == "":
				return kind, data
			}
		}
		t.Fatalf("the stream ended: %v", lines.Err())
		return "", ""
	}
	kind, data := next()
	if kind != "fresh" || !strings.Contains(data, "3 of 20") || strings.Contains(data, "<html") || strings.Contains(data, "<script") {
		t.Errorf("first: got %s %q, want the changing part alone, escaped", kind, data)
	}
	v.post("/logout", nil).want(t, http.StatusSeeOther)
	for kind != "gone" {
		kind, _ = next()
	}
	if lines.Scan() {
		t.Errorf("got %q after the end", lines.Text())
	}
	if got := watch("/").StatusCode; got != http.StatusUnauthorized {
		t.Errorf("nobody signed in: got %d, want 401", got)
	}
}

// changing is a desk with another figure at each look.
type changing struct {
	lanes

	n atomic.Uint64
}

func (c *changing) Overview(context.Context) (console.Overview, error) {
	return console.Overview{Lanes: []console.Lane{{Name: "a", State: console.Running, Waiting: c.n.Add(1)}}}, nil
}

func TestServeEndsItsStreams(t *testing.T) {
	t.Parallel()
	desk := &changing{}
	v, stop := serve(t, console.Desks{Lanes: desk})
	v.signIn()
	r := v.request(http.MethodGet, "/", nil)
	r.Header.Set("Accept", "text/event-stream")
	resp, err := v.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	over := time.Now().Add(reading + 2*time.Second)
	for n := 0; n < 3 || time.Now().Before(over); { // also when a request's time to come in is over
		if !lines.Scan() {
			t.Fatal("the stream ended by itself")
		}
		if strings.HasPrefix(lines.Text(), "event: fresh") {
			n++
		}
	}
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	for lines.Scan() { // to its end
	}
}

func TestManyLanes(t *testing.T) {
	t.Parallel()
	desk := &lanes{}
	for i := range 150 {
		l := console.Lane{Name: "lane-" + string(rune('a'+i%26)) + strings.Repeat("x", i/26), State: console.Running, Limit: 5}
		if i == 149 {
			l.Name, l.State = "in-trouble", console.Stopped
		}
		desk.overview.Lanes = append(desk.overview.Lanes, l)
	}
	v := open(t, console.Desks{Lanes: desk}, nil).signIn()
	a := v.get("/")
	a.want(t, http.StatusOK, "50 more are not shown", "in-trouble")
	if len(a.text) > 600<<10 {
		t.Errorf("the page has %d bytes", len(a.text))
	}
	a = v.get("/?q=IN-TR")
	a.want(t, http.StatusOK, "in-trouble")
	if strings.Contains(a.text, "lane-a") {
		t.Error("got lanes that were not asked for")
	}
	v.get("/?q=%22%3E%3Cb%3E").want(t, http.StatusOK, "No lane has this", "&#34;&gt;&lt;b&gt;")
}

func TestWords(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for want, d := range map[string]time.Duration{"just now": 0, "59 s ago": 59 * time.Second, "1 min ago": time.Minute, "1 h 5 min ago": 65 * time.Minute, "3 days ago": 75 * time.Hour, "in 2 min": -2 * time.Minute} {
		if got := console.Since(now.Add(-d), now); got != want {
			t.Errorf("since %v: got %q, want %q", d, got, want)
		}
	}
	for in, want := range map[string]string{" a\tb\x00c\u202ed\n": "a bcd", "\xff": "\uFFFD", "äöü€": "äöü"} {
		if got := console.Plain(in, 5); len([]rune(got)) > 5 || !strings.HasPrefix(got, want) {
			t.Errorf("plain %q: got %q, want %q", in, got, want)
		}
	}
	for _, to := range []string{"", "http://evil", "//evil", "/\\evil", "\\\\evil", "javascript:alert(1)", "evil", "/a\nb", "https:/x"} {
		if got := console.Inside(to); got != "/" {
			t.Errorf("inside %q: got %q, want /", to, got)
		}
	}
}
