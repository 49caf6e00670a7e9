package browsertest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"
)

// built is the program, once for all tests.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "weir-built-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "weir")
	cmd := exec.Command("go", "build", "-o", path, "./cmd/weir")
	cmd.Dir = "../../.."
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, err
})

// installation is a weir serve with the embedded broker, and a simulated provider.
type installation struct {
	t       *testing.T
	weir    string // the program
	dir     string
	env     []string
	console string // its address
}

// transcript is what a part has said so far.
type transcript struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *transcript) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// Where a part says that it listens: nobody else can have a port that it found itself.
var (
	providerSays = regexp.MustCompile(`simulated providers on http://(\S+?),`)
	consoleSays  = regexp.MustCompile(`"address":"([^"]+)".*"message":"console listens"`)
)

func install(t *testing.T) *installation {
	t.Helper()
	weir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	in := &installation{t: t, weir: weir, dir: t.TempDir()}
	in.env = append(os.Environ(), "KEY=any-key", "WEIR_CONSOLE_TOKEN="+token, "USER=tester")
	provider := in.start(providerSays, "simulate", "--listen", "127.0.0.1:0", "--limit", "5", "--scale", "10")
	in.write("weir.yaml", `
embedded: {dir: weir-data}
console: {listen: "127.0.0.1:0", token: {env: WEIR_CONSOLE_TOKEN}}
lanes:
  - name: acme
    label: Acme
    provider: oration
    url: http://`+provider+`/api/v2
    auth: {api_key: {env: KEY}, workspace_id: {env: KEY}}
    limit: 5
    routes:
      - type: lead.created
        request: {agentId: 0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7, conversationType: telephony, toPhoneNumber: "${ data.phone }"}
`)
	in.console = in.start(consoleSays, "serve", "-c", "weir.yaml")
	in.await("the console", func() bool {
		resp, err := http.Get("http://" + in.console + "/login")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return in
}

func (in *installation) write(name, text string) {
	in.t.Helper()
	if err := os.WriteFile(filepath.Join(in.dir, name), []byte(text), 0o600); err != nil {
		in.t.Fatal(err)
	}
}

// start starts a part, which ends with the test, and returns where it listens.
func (in *installation) start(says *regexp.Regexp, args ...string) (address string) {
	in.t.Helper()
	cmd := exec.Command(in.weir, args...)
	var said transcript
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = in.dir, in.env, &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		in.t.Fatal(err)
	}
	in.t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		kill.Stop()
		if in.t.Failed() {
			in.t.Logf("weir %v said:\n%s", args, said.String())
		}
	})
	in.await(args[0]+" to listen", func() bool {
		found := says.FindStringSubmatch(said.String())
		if found != nil {
			address = found[1]
		}
		return found != nil
	})
	return address
}

// run runs a command to its end, and reads its JSON.
func (in *installation) run(into any, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, in.weir, append(args, "-c", "weir.yaml", "--output", "json")...)
	cmd.Dir, cmd.Env = in.dir, in.env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("weir %v: %w\n%s", args, err, stderr.Bytes())
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(out, into)
}

// await waits until something holds.
func (in *installation) await(what string, holds func() bool) {
	in.t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			in.t.Fatalf("%s: not in time", what)
		}
	}
}

// publish publishes leads.
func (in *installation) publish(from, n int) {
	in.t.Helper()
	var b bytes.Buffer
	for i := from; i < from+n; i++ {
		fmt.Fprintf(&b, `{"specversion":"1.0","id":"lead-%d","source":"/crm","type":"lead.created","datacontenttype":"application/json","data":{"id":"%d","phone":"+1415555%04d"}}`+"\n", i, i, i)
	}
	in.write("leads.ndjson", b.String())
	if err := in.run(nil, "publish", "--lane", "acme", "leads.ndjson"); err != nil {
		in.t.Fatal(err)
	}
}

// state is what the command line says of the lane.
func (in *installation) state() string {
	var rows []struct{ State string }
	if err := in.run(&rows, "lanes"); err != nil || len(rows) != 1 {
		in.t.Logf("weir lanes: %v, %v", rows, err)
		return ""
	}
	return rows[0].State
}

// A lane is seen to call, paused, and let go on, in a browser; the command line, which
// asks the broker, says the same.
func TestServe(t *testing.T) {
	t.Parallel()
	in := install(t)
	tb := openAt(t, "http://"+in.console).signIn()
	tb.shows("Nothing waits to be called.")
	in.publish(0, 400) // more than are called while this test takes place
	tb.shows("5 of 5")
	tb.shows("The lane calls.")
	tb.sound("a lane that calls")
	tb.picture("serve-calls")
	tb.press(`#lane-acme a[href^="/pause"]`)
	tb.fill("#reason", "a bad list")
	tb.click("main button")
	tb.shows("acme: paused, and weir serve has seen it.")
	tb.shows("by Ada: a bad list")
	in.await("weir lanes to say that the lane is paused", func() bool { return in.state() == "paused" })
	tb.press(`#lane-acme .acts form button`)
	tb.shows("acme: resumed")
	in.await("weir lanes to say that the lane goes on", func() bool { s := in.state(); return s == "running" || s == "waiting" })
	tb.visit("/lanes/acme")
	tb.until(`/\blead-\d+\b/.test(document.body.innerText)`) // one of the newest
	tb.shows("toPhoneNumber")
	tb.sound("one lane of a real installation")
	tb.picture("serve-lane")
}

// Every other page, of an installation with a dead letter whose names are hostile: as it
// is before anything was published, and with it, on a phone in the dark and at a desk.
func TestServePages(t *testing.T) {
	t.Parallel()
	in := install(t)
	tb := openAt(t, "http://"+in.console).signIn()
	walk := func(kind string) {
		for _, name := range []string{"events", "dead", "doubts", "undelivered", "contacts", "configuration"} {
			tb.visit("/" + name)
			tb.sound(name + ", " + kind)
			tb.picture("real-" + name + "-" + kind)
		}
	}
	tb.size(360, 740)
	tb.dark(true)
	walk("empty, phone")
	event, err := json.Marshal(map[string]any{
		"specversion": "1.0", "id": hostile, "source": "/crm", "type": "lead.created", "datacontenttype": "application/json",
		"data": map[string]any{"id": "1", "first_name": hostile + emoji, "last_name": rtl, "company": long[:2000]},
	})
	if err != nil {
		t.Fatal(err)
	}
	in.write("leads.ndjson", string(event)+"\n")
	if err := in.run(nil, "publish", "--lane", "acme", "leads.ndjson"); err != nil {
		t.Fatal(err)
	}
	tb.visit("/")
	tb.until(`[...document.querySelectorAll("#lane-acme dl div")].some(e => e.innerText.startsWith("dead letters") && e.innerText.endsWith("1"))`)
	walk("full, phone")
	tb.size(1280, 800)
	tb.dark(false)
	walk("full, desk")
	for _, list := range []string{"dead", "events"} {
		tb.visit("/" + list)
		path := eval[string](tb, `document.querySelector("main a[href^='/`+list+`/acme/']").getAttribute("href")`)
		tb.visit(path)
		tb.sound("one of " + list)
		tb.picture("real-one-of-" + list)
		tb.size(360, 740)
		tb.visit(path)
		tb.sound("one of " + list + ", phone")
		tb.picture("real-one-of-" + list + "-phone")
		tb.size(1280, 800)
	}
}
