package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/simulator"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	got := p.weir(t, "check")
	contains(t, got,
		"ok       configuration  "+p.yaml+" is complete\n",
		"ok       lane sales     its routes compile; account acme at "+p.url+", limit 8; ends are found by asking, no webhook is set\n",
		"warning  broker         the embedded broker is not running; weir serve starts it\n",
		"ok       time zones     their data is there\n",
		"ok       clock          this machine's clock agrees with account acme's\n",
		"ok       account acme   "+p.url+" answers and takes the credentials\n",
		"no call was placed\n")
	s := p.broker(t)
	got = p.weir(t, "check")
	contains(t, got, "ok  broker         connected to nats://127.0.0.1:", ", with JetStream\n",
		"ok  account        its limits are wide enough for 1 lanes\n",
		"ok  streams        there: KV_WEIR_LEDGER, WEIR_EVENTS, WEIR_OUTCOMES, WEIR_DEAD, WEIR_LATER, KV_WEIR_LANES, KV_WEIR_CONTACT\n",
		"ok  sync           the embedded broker writes each message to the disk before it confirms it\n",
		"ok  clock          this machine's clock agrees with the broker's\n")
	if err := s.broker.JetStream().DeleteStream(t.Context(), "WEIR_LATER"); err != nil {
		t.Fatal(err)
	}
	contains(t, p.weir(t, "check"), "warning  streams        will be made by weir serve: WEIR_LATER\n")
	if n := p.sim.Report().Conversations; n != 0 {
		t.Errorf("conversations made by checks: got %d, want 0", n)
	}
}

func TestCheckFails(t *testing.T) {
	t.Parallel()
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(refusing.Close)
	for _, tt := range []struct {
		name   string
		spoil  func(*testing.T, *plant)
		checks []string // the checks that fail
		want   string
	}{
		{"credentials", func(t *testing.T, p *plant) {
			p.url = refusing.URL
			p.configure(t, plantRoute, "sales")
		}, []string{"account acme"}, "set auth in the configuration"},
		{"nobody there", func(t *testing.T, p *plant) {
			if err := p.sim.SetOutage(simulator.OutageRefuse, time.Time{}); err != nil {
				t.Fatal(err)
			}
		}, []string{"account acme"}, "cannot be reached"},
		{"configuration", func(t *testing.T, p *plant) {
			p.configure(t, plantRoute+"        colour: red\n", "sales", "Sales")
		}, []string{"configuration", "configuration", "configuration"}, "weir.yaml:"},
		{"no configuration", func(t *testing.T, p *plant) {
			if err := os.Remove(p.yaml); err != nil {
				t.Fatal(err)
			}
		}, []string{"configuration"}, "weir.yaml"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPlant(t, "sales")
			tt.spoil(t, p)
			printed, code := p.refused(t, "checks failed", "check", "--output", "json")
			if code != 1 {
				t.Errorf("exit code: got %d, want 1", code)
			}
			contains(t, printed, tt.want)
			var failed []string
			for _, line := range decoded[[]checked](t, printed) {
				if line.Result == checkFail {
					failed = append(failed, line.Check)
				}
			}
			if diff := cmp.Diff(tt.checks, failed); diff != "" {
				t.Errorf("failed checks (-want +got):\n%s", diff)
			}
		})
	}
}
