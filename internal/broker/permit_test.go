package broker_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/broker"
)

// entitled starts a server with one user, who has these rights.
func entitled(t *testing.T, publish, subscribe, denied []string, more string) *server.Server {
	t.Helper()
	list := func(all []string) string {
		var quoted []string
		for _, s := range all {
			quoted = append(quoted, strconv.Quote(s))
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	}
	return started(t, configured(t, `accounts: {A: {jetstream: enabled, users: [{user: weir, password: p, permissions: {
		publish: {allow: `+list(publish)+`, deny: `+list(denied)+`}, subscribe: {allow: `+list(subscribe)+`}`+more+`}}]}}`))
}

func as(url string) broker.Config {
	return broker.Config{URL: url, User: "weir", Password: "p", Room: smallRoom}
}

const responds = ", allow_responses: true"

// A user who lacks a right, or has one too many, and the line that names it.
func TestJudgeRights(t *testing.T) {
	t.Parallel()
	serve, operate := broker.ServeRights(), broker.OperatorRights()
	without := func(all []string, gone string) []string {
		return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == gone })
	}
	for name, tt := range map[string]struct {
		publish, subscribe, denied []string
		more, want                 string
	}{
		"just what is needed": {serve.Publish, serve.Subscribe, nil, responds, "ok rights: user weir may do what weir serve does, and no more; \n"},
		"cannot purge the ledger": {without(serve.Publish, "$JS.API.STREAM.PURGE.KV_WEIR_LEDGER"), serve.Subscribe, nil, responds,
			"problem rights: user weir may not publish to $JS.API.STREAM.PURGE.KV_WEIR_LEDGER; give this user that right: deploy/nats/accounts.conf has them all\n"},
		"cannot hear orders":      {serve.Publish, without(serve.Subscribe, "weir.ctl.*"), nil, responds, "problem rights: user weir may not subscribe to weir.ctl.*; "},
		"one lane's orders alone": {serve.Publish, append(without(serve.Subscribe, "weir.ctl.*"), "weir.ctl.acme"), nil, responds, "may not subscribe to weir.ctl.*; "},
		"cannot answer":           {serve.Publish, serve.Subscribe, nil, "", "problem rights: user weir may not allow_responses; "},
		"is denied a part":        {serve.Publish, serve.Subscribe, []string{"$KV.WEIR_LEDGER.acme.*"}, responds, "problem rights: user weir may not publish to $KV.WEIR_LEDGER.>; "},
		"can delete streams": {append(slices.Clone(serve.Publish), "$JS.API.STREAM.DELETE.*"), serve.Subscribe, nil, responds,
			"warning rights: user weir may do what is not needed: $JS.API.STREAM.DELETE.*; take them away, unless you know what for\n"},
		"hears everything": {serve.Publish, append(slices.Clone(serve.Subscribe), ">"), nil, responds, "what is not needed: subscribe to >; "},
		"an operator":      {operate.Publish, []string{"_INBOX.>"}, nil, "", "warning rights: user weir may run every command but weir serve, backup and restore; \n"},
		"may not ask":      {without(serve.Publish, "$SYS.REQ.USER.INFO"), serve.Subscribe, nil, responds, "warning rights: which rights this user has is not told: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := entitled(t, tt.publish, tt.subscribe, tt.denied, tt.more)
			cfg := as(s.ClientURL())
			cfg.Room.Undelivered = 1 << 20
			got := said(reach(t, cfg).JudgeRights(t.Context())...)
			if !strings.Contains(got, tt.want) || strings.Count(got, "\n") != 1 {
				t.Errorf("got:\n%swant one line with:\n%s", got, tt.want)
			}
		})
	}
}

// A user whose rights nobody bounds.
func TestJudgeRightsOfWhoMayDoEverything(t *testing.T) {
	t.Parallel()
	s := started(t, configured(t, "accounts: {A: {jetstream: enabled, users: [{user: weir, password: p}]}}"))
	got := said(reach(t, as(s.ClientURL())).JudgeRights(t.Context())...)
	if want := "warning rights: user weir may do everything in the account A: "; !strings.Contains(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What the server refuses it does not answer: the connection says which right it was,
// at once.
func TestConnectNamesTheRightThatIsMissing(t *testing.T) {
	t.Parallel()
	s := entitled(t, []string{"weir.>"}, []string{"_INBOX.>"}, nil, "")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	_, err := broker.Connect(ctx, zerolog.Nop(), as(s.ClientURL()))
	if !errors.Is(err, nats.ErrPermissionViolation) || !strings.Contains(err.Error(), "$JS.API.INFO") {
		t.Errorf("got %v, want the right that is missing", err)
	}
}

// An account without a limit shares the disk with all others.
func TestInspectAnAccountWithoutALimit(t *testing.T) {
	t.Parallel()
	for limits, want := range map[string]bool{"max_mem: 1GB": true, "max_file: 8GB": false} {
		s := started(t, inAccount(t, limits))
		got := said(reach(t, broker.Config{URL: s.ClientURL()}).Inspect(t.Context(), wanted())...)
		if strings.Contains(got, "warning storage: the account has no limit of its own: WEIR_LATER reserves no room") != want {
			t.Errorf("%s: got\n%swant the warning: %v", limits, got, want)
		}
	}
}

func TestJudgeConnection(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	until := func(t time.Time) *tls.ConnectionState {
		return &tls.ConnectionState{Version: tls.VersionTLS13, PeerCertificates: []*x509.Certificate{{NotAfter: t}}}
	}
	for name, tt := range map[string]struct {
		host  string
		state *tls.ConnectionState
		want  string
	}{
		"encrypted":     {"nats.example", until(now.AddDate(0, 3, 0)), "ok tls: TLS 1.3, and the certificate of nats.example holds until 2027-02-01; \n"},
		"ends soon":     {"nats.example", until(now.AddDate(0, 0, 20)), "warning tls: the certificate of nats.example ends on 2026-11-21; give the server a new one in time\n"},
		"plain":         {"192.0.2.1", nil, "warning tls: the connection is not encrypted: others on its way can read the password and the events; give the server a tls block, and broker.tls.ca its authority\n"},
		"this machine":  {"127.0.0.1", nil, "ok tls: not encrypted, on this machine alone; \n"},
		"this machine6": {"::1", nil, "ok tls: not encrypted, on this machine alone; \n"},
	} {
		if got := said(broker.JudgeConnection(tt.host, tt.state, now)); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}
