package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/simulator"
)

// What must be in no line, metric, error or listing: the secrets of the
// configuration, and the leads' names, numbers and addresses.
var (
	privateSecrets = map[string]string{
		"KEY": "oration-key-4f9a7c21d3", "WORKSPACE": "workspace-8812fa77e0", "DOOR": "0123456789abcdef-gateway-token",
		"ADDRESS": "0123456789abcdef-crm-address", "SHOWN": "0123456789abcdef-crm-key", "HOOK": hookSecret, "SIGNING": oldSecret,
	}
	privateData = []string{
		"Wilhelmina", "Katzenberger", "wilhelmina.k", "Echofried", "echofried.m",
		"212555012", "212555013", "212555014", "212555015", "212555016", "212555017", "212555018", "212) 555", "212 555", "212-555-",
	}
)

// names are those of privateData that have no form by which they could be told. Who
// asks for an event's contents sees them.
var names = map[string]bool{"Wilhelmina": true, "Katzenberger": true, "Echofried": true}

// echoes is a provider that says what it was asked for in its errors, as real ones do.
func echoes(t *testing.T, sim *simulator.Simulator) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if r.Method == http.MethodPost && bytes.Contains(body, []byte("Echofried")) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnprocessableEntity)
			_ = json.NewEncoder(w).Encode(map[string]any{"message": fmt.Sprintf(
				"cannot call Echofried (echofried.m@example.org) at +1 212 555 0188 with key %s: %s", r.Header.Get("X-Api-Key"), body)})
			return
		}
		sim.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	return srv.URL + "/api/v2"
}

// person is a lead with all that must not be shown.
func person(id, source, phone, more string) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":%q,"type":"lead.created","datacontenttype":"application/json",`+
		`"data":{"id":"1","first_name":"Wilhelmina","last_name":"Katzenberger","email":"wilhelmina.k@example.org","phone":%q%s}}`, id, source, phone, more)
}

// A whole run at the level debug, with all doors, faults, rules and commands: nothing
// private is in anything that it prints.
func TestNothingPrivateIsShown(t *testing.T) {
	t.Parallel()
	p := newPlantOf(t, simulator.Config{Faults: simulator.Faults{Accepted500: .2, Shuffle: .2, Cut: .1}}, "sales", "forms")
	heard := newHearer(t)
	gatewayAt, adminAt := gatewayPort(t), gatewayPort(t)
	maps.Copy(p.env, privateSecrets)
	p.edit(t, p.url, echoes(t, p.sim))
	p.edit(t, "embedded:", fmt.Sprintf("gateway: {listen: %q, token: {env: DOOR}}\nadmin: {listen: %q}\nembedded:", gatewayAt, adminAt))
	p.edit(t, "name: sales\n    account: acme\n", `name: sales
    account: acme
    doubt_limit: 0
    webhook: {secret: {env: HOOK}}
    contact: {region: US, once: 24h}
    `+heard.block("")+"\n")
	p.edit(t, "name: forms\n    account: acme\n", `name: forms
    account: acme
    crm: {secret: {env: ADDRESS}, kind: generic, hmac: {secret: {env: SHOWN}, header: X-Signature}, map: {id: '${ data.ref }', source: /forms, type: lead.created, data: {id: '${ data.ref }', phone: '${ data.tel }'}}}
`)
	p.edit(t, "toPhoneNumber: ${ data.phone }\n", "toPhoneNumber: ${ data.phone }\n          dynamicVariables: {firstName: \"${ data.first_name }\"}\n")

	var shown, contents, log syncBuffer // contents are what a person asked to see of an event
	stop := background(t, func(ctx context.Context) error {
		return run(ctx, []string{"serve", "-c", p.yaml, "--log-level", "debug", "--log-format", "json"}, strings.NewReader(""), &shown, &log, func(name string) string { return p.env[name] })
	})
	say := func(args ...string) {
		stdout, stderr, err := weir(t.Context(), p.env, append(args, "-c", p.yaml)...)
		w := &shown
		if args[0] == "explain" || len(args) > 1 && args[1] == "show" {
			w = &contents
		}
		fmt.Fprintf(w, "$ weir %s\n%s%s%v\n", strings.Join(args[:min(2, len(args))], " "), stdout, stderr, err)
	}
	await(t, patience, "weir serve to run its lanes", func() bool {
		return strings.Count(p.lanesShown(t), `"state"`) == 2
	})
	say("contact", "block", "+12125550166", "--reason", "Wrote from 212 555 0166")
	lines := []string{
		person("good", "/crm", "+12125550123", ""),
		person("+12125550177", "mailto:wilhelmina.k@example.org", "(212) 555-0124", ""),
		person("no-number", "/crm", "", ""),
		person("a-name", "/crm", "Wilhelmina Katzenberger", ""),
		person("short", "/crm", "212-555-01", ""),
		person("extension", "/crm", "+1 212 555 0125 ext 4 (Wilhelmina)", ""),
		person("blocked", "/crm", "+12125550166", ""),
		person("twice", "/crm", "+12125550123", ""),
		strings.Replace(person("echo", "/crm", "+12125550188", ""), "Wilhelmina", "Echofried", 1),
		strings.Replace(person("odd", "/crm", "+12125550127", ""), "lead.created", "call.2125550127", 1),
	}
	for i := range 8 {
		lines = append(lines, person(fmt.Sprint("more", i), "/crm", fmt.Sprintf("+1212555013%d", i), ""))
	}
	say("explain", "--mask", "--lane", "sales", p.file(t, "explain.ndjson", lines...))
	say("publish", "--lane", "sales", p.file(t, "a.ndjson", lines...))
	say("publish", "--lane", "sales", p.file(t, "b.csv", "id,first_name,phone", "c1,Wilhelmina,212 555 0140", "c2,Wilhelmina,Katzenberger"))
	b := p.connect(t)
	for i, body := range []string{`{"specversion":"1.0","id":"Wilhelmina`, "+12125550150 wilhelmina.k@example.org", person("same", "/crm", "+12125550151", ""), person("same", "/crm", "+12125550152", ""),
		strings.Replace(person("late", "/crm", "+12125550126", ""), `"data`, `"expirytime":"2026-01-01T00:00:00Z","subject":"wilhelmina.k@example.org","data`, 1)} {
		if _, err := b.PublishEvent(t.Context(), "sales", map[string][]string{"Content-Type": {structuredType}}, []byte(body), fmt.Sprint("raw", i)); err != nil {
			t.Fatal(err)
		}
	}
	for _, body := range []string{person("door", "/crm", "+12125550153", ""), person("door2", "/crm", "Wilhelmina", ""), "{+12125550154 Wilhelmina"} {
		a := knockDoor(t, "POST", "http://"+gatewayAt+"/events/sales", p.env["DOOR"], structuredType, body)
		fmt.Fprintf(&shown, "the door: %d %s\n", a.status, a.body)
	}
	for _, body := range []string{`{"ref":"f1","tel":"+12125550155"}`, `{"ref":"f2","tel":"Wilhelmina","name":"Katzenberger"}`, `{"tel":"+12125550156`} {
		status, text := formSays(t, "http://"+gatewayAt, p.env, body)
		fmt.Fprintf(&shown, "the form: %d %s\n", status, text)
	}
	for _, path := range []string{"/hooks/provider/sales/" + hookSecret, "/hooks/provider/sales/0123456789abcdef.other", "/hooks/crm/forms/0123456789abcdef-other"} {
		a := knockDoor(t, "POST", "http://"+gatewayAt+path, "no-token-of-ours", "application/cloudevents+json", `{"type":"conversation.completed","data":{"phone":"+12125550157","name":"Wilhelmina"}}`)
		fmt.Fprintf(&shown, "webhook: %d %s\n", a.status, a.body)
	}
	want := map[string]int{"rejected": 6, "suppressed": 2, "expired": 1, "created": 3, "ended": 2, "doubt": 1}
	await(t, patience, fmt.Sprint("outcomes: ", want), func() bool {
		for kind, n := range want {
			if got := len(outcomesOf(t, b, kind)); got < n {
				return false
			}
		}
		return true
	})
	await(t, patience, "the letter that is sent again below", func() bool {
		return slices.ContainsFunc(decoded[[]letterRow](t, p.weir(t, "dead", "list", "--output", "json")), func(l letterRow) bool { return l.ID == "echo" })
	})
	for _, args := range [][]string{
		{"lanes"}, {"dead", "list"}, {"dead", "list", "--output", "json"}, {"doubt", "list"}, {"doubt", "list", "--output", "json"}, {"undelivered", "list"}, {"contact", "list"},
		{"check"}, {"event", "show", "echo"}, {"event", "show", "+12125550177", "--source", "mailto:wilhelmina.k@example.org"}, {"event", "show", "good", "--output", "json"},
		{"dead", "show", "echo"}, {"dead", "show", "a-name"}, {"dead", "show", "extension", "--output", "json"}, {"dead", "replay", "echo", "--reason", "Ask 212 555 0188", "--by", "ana"},
		{"dead", "drop", "a-name", "--reason", "no number", "--by", "ana"}, {"event", "cancel", "--person", "+12125550123", "--reason", "asked", "--by", "ana"},
	} {
		say(args...)
	}
	await(t, patience, "the replay to be refused", func() bool {
		return strings.Count(log.String(), `"event_id":"echo"`) >= 4
	})
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		resp, err := http.Get("http://" + adminAt + path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(&shown, resp.Body)
		_ = resp.Body.Close()
	}
	stop()
	contains(t, log.String(), `"message":"attempt"`, `"message":"event refused"`, `"message":"event suppressed"`, `"message":"event expired"`, `"message":"conversation ended"`, `"verdict":"rejected"`)
	for what, text := range map[string]string{"log": log.String(), "output": shown.String(), "show": contents.String()} {
		for line := range strings.SplitSeq(text, "\n") {
			for _, private := range privateData {
				if strings.Contains(line, private) && (what != "show" || !names[private]) {
					t.Errorf("the %s holds %q: %s", what, private, line)
				}
			}
			for name, secret := range privateSecrets {
				if strings.Contains(line, secret) {
					t.Errorf("the %s holds the secret %s: %s", what, name, line)
				}
			}
		}
	}
	if key := consumer.Key("sales", "/crm", "good"); !strings.Contains(log.String(), key) {
		t.Error("the log does not name the first lead's intent: it was not searched")
	}
}

// formSays sends what a form on a web page would, signed.
func formSays(t *testing.T, base string, env map[string]string, body string) (status int, text string) {
	t.Helper()
	m := hmac.New(sha256.New, []byte(env["SHOWN"]))
	m.Write([]byte(body))
	req, err := http.NewRequestWithContext(t.Context(), "POST", base+"/hooks/crm/forms/"+env["ADDRESS"], strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Signature", hex.EncodeToString(m.Sum(nil)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// lanesShown is what weir lanes says as JSON; empty before weir serve has begun.
func (p *plant) lanesShown(t *testing.T) string {
	t.Helper()
	stdout, _, err := weir(t.Context(), p.env, "lanes", "-c", p.yaml, "--output", "json")
	if err != nil || strings.Contains(stdout, notRunning) {
		return ""
	}
	return stdout
}
