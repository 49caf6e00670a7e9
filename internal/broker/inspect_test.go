package broker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
)

// ledgerStream stands for the ledger, which is another package's.
const ledgerStream = "KV_WEIR_LEDGER"

var smallRoom = broker.Room{Events: 1 << 20, Outcomes: 1 << 20, Dead: 1 << 20, Contact: 1 << 20}

// wanted are the needs of one lane.
func wanted() broker.Needs {
	return broker.Needs{
		Lanes: []string{lane}, MaxEvent: 256 << 10, Ledger: ledgerStream, LedgerRoom: 2 << 20,
		CheckLedger: func(cfg jetstream.StreamConfig) error {
			if cfg.Storage != jetstream.FileStorage {
				return errors.New("storage is Memory, must be File")
			}
			return nil
		},
	}
}

// reach connects to a server that is not Weir's own.
func reach(t *testing.T, cfg broker.Config) *broker.Broker {
	t.Helper()
	if cfg.Room == (broker.Room{}) {
		cfg.Room = smallRoom
	}
	b, err := broker.Connect(t.Context(), zerolog.Nop(), cfg)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	return b
}

// said are the findings as lines.
func said(found ...broker.Finding) string {
	var lines strings.Builder
	for _, f := range found {
		fmt.Fprintf(&lines, "%v %s: %s; %s\n", f.Grade, f.Check, f.Fact, f.Next)
	}
	return lines.String()
}

// configured are the options of a server with this configuration.
func configured(t *testing.T, text string) *server.Options {
	t.Helper()
	file := filepath.Join(t.TempDir(), "server.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	opts, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	opts.JetStream, opts.StoreDir = true, t.TempDir()
	return opts
}

// inAccount are the options of a server whose account has these limits.
func inAccount(t *testing.T, limits string) *server.Options {
	t.Helper()
	return configured(t, "no_auth_user: u\naccounts: {A: {users: [{user: u, password: p}], jetstream: {"+limits+"}}}")
}

// A server with each wrong setting, and the line that names it.
func TestInspectNamesEachWrongSetting(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		server  func(t *testing.T) *server.Options // nil: as it comes
		config  broker.Config
		needs   func(n *broker.Needs)
		prepare func(t *testing.T, b *broker.Broker)
		want    string
	}{
		"as it must be": {
			prepare: provisioned, want: "ok consumers: 3 of the lanes' consumers are there and as they must be",
		},
		"room": {
			prepare: provisioned, want: "ok storage: the streams' room is reserved: 22 MiB, of which the ledger has 2",
		},
		"nothing there": {want: "warning streams: will be made by weir serve: KV_WEIR_LEDGER, WEIR_EVENTS"},
		"account": {
			server: func(t *testing.T) *server.Options { return inAccount(t, "max_file: 1M") },
			want:   "problem storage: the streams are to reserve 22 MiB more, and of the account's 0 MiB 0 are free; raise its limit to 22 MiB",
		},
		"no room for long waits": {
			server: func(t *testing.T) *server.Options { return inAccount(t, "max_file: 30M") },
			want:   "warning storage: beside the streams' room 6 MiB of the account's limit are left; WEIR_LATER may take 1024 MiB",
		},
		"streams": {
			server: func(t *testing.T) *server.Options { return inAccount(t, "max_streams: 4") },
			want:   "problem account: it may have 4 streams and has 0, and 7 more are needed; raise its max_streams to 7",
		},
		"consumers": {
			server: func(t *testing.T) *server.Options { return inAccount(t, "max_consumers: 2") },
			want:   "problem account: a stream may have 2 consumers, and WEIR_EVENTS needs 4",
		},
		"open deliveries": {
			server: func(t *testing.T) *server.Options { return inAccount(t, "max_ack_pending: 100") },
			want:   "problem account: a consumer may have 100 deliveries open, and a lane needs 10000",
		},
		"largest stream": {
			server: func(t *testing.T) *server.Options { return inAccount(t, "disk_max_stream_bytes: 1M") },
			want:   "problem account: a stream may reserve 0 MiB, and KV_WEIR_LANES needs 16",
		},
		"rooms required": {
			server: func(t *testing.T) *server.Options { return inAccount(t, "max_bytes: true") },
			want:   "problem account: each stream must have max_bytes, and WEIR_LATER cannot",
		},
		"payload": {
			server: func(*testing.T) *server.Options { return &server.Options{MaxPayload: 256 << 10} },
			want:   "problem max_payload: the broker takes messages of 262144 bytes, and an event of max_event with what is kept beside it has 278528; raise max_payload to 278528",
		},
		"replicas on one server": {
			config: broker.Config{Replicas: 3},
			want:   "problem replicas: broker.replicas is 3, and the broker is a single server",
		},
		"stream in memory": {
			prepare: func(t *testing.T, b *broker.Broker) {
				stream(t, b, jetstream.StreamConfig{Name: broker.StreamEvents, Subjects: []string{"weir.events.>"}, Storage: jetstream.MemoryStorage})
			},
			want: "problem stream WEIR_EVENTS: storage is Memory, must be File",
		},
		"ledger in memory": {
			prepare: func(t *testing.T, b *broker.Broker) {
				stream(t, b, jetstream.StreamConfig{Name: ledgerStream, Subjects: []string{"ledger"}, Storage: jetstream.MemoryStorage})
			},
			want: "problem stream KV_WEIR_LEDGER: storage is Memory, must be File",
		},
		"stream of few consumers": {
			prepare: func(t *testing.T, b *broker.Broker) {
				stream(t, b, jetstream.StreamConfig{Name: broker.StreamEvents, Subjects: []string{"weir.events.>"}, MaxConsumers: 1})
			},
			want: "problem stream WEIR_EVENTS: max_consumers is 1, and 4 are needed",
		},
		"too few copies": {
			config: broker.Config{Replicas: 3},
			prepare: func(t *testing.T, b *broker.Broker) {
				stream(t, b, jetstream.StreamConfig{Name: broker.StreamEvents, Subjects: []string{"weir.events.>"}})
			},
			want: "problem stream WEIR_EVENTS: num_replicas is 1, must be 3",
		},
		"delivers a few times": {
			prepare: tampered(func(c *jetstream.ConsumerConfig) { c.MaxDeliver = 5 }),
			want:    "problem consumer weir-acme-sales: max_deliver is 5, must be -1; start weir serve again",
		},
		"backs off": {
			prepare: tampered(func(c *jetstream.ConsumerConfig) {
				c.MaxDeliver, c.BackOff = 3, []time.Duration{time.Second, time.Minute}
			}),
			want: "problem consumer weir-acme-sales: backoff is [1s 1m0s], must be unset",
		},
		"acknowledges by itself": {
			prepare: remade(func(c *jetstream.ConsumerConfig) {
				c.AckPolicy, c.AckWait, c.MaxAckPending = jetstream.AckNonePolicy, 0, 0
			}),
			want: "problem consumer weir-acme-sales: ack_policy is AckNone, must be AckExplicit; stop weir serve and delete the consumer",
		},
		"consumer in memory": {
			prepare: remade(func(c *jetstream.ConsumerConfig) { c.MemoryStorage = true }),
			want:    "problem consumer weir-acme-sales: mem_storage is true, must be false",
		},
		"begins in the middle": {
			prepare: remade(func(c *jetstream.ConsumerConfig) { c.DeliverPolicy = jetstream.DeliverNewPolicy }),
			want:    "problem consumer weir-acme-sales: deliver_policy is new, must be all",
		},
		"other events": {
			prepare: tampered(func(c *jetstream.ConsumerConfig) { c.FilterSubject, c.FilterSubjects = "weir.events.other", nil }),
			want:    "problem consumer weir-acme-sales: filter is [weir.events.other], must be [weir.events.acme-sales]",
		},
		"takes the events of high priority too": {
			prepare: tampered(func(c *jetstream.ConsumerConfig) { c.FilterSubject, c.FilterSubjects = "", both }),
			want:    "problem consumer weir-acme-sales: filter is [weir.events.acme-sales weir.events.acme-sales.high], must be [weir.events.acme-sales]; start weir serve again",
		},
		"takes subjects that no lane reads": {
			prepare: func(t *testing.T, b *broker.Broker) { provisioned(t, b); widen(t, b) },
			want:    "warning stream WEIR_EVENTS: subjects is [weir.events.>]: it confirms events on subjects that no lane reads; start weir serve again",
		},
		"outcomes are kept for another time": {
			prepare: func(t *testing.T, b *broker.Broker) {
				provisioned(t, b)
				cfg := config(t, b, broker.StreamOutcomes)
				cfg.MaxAge = 48 * time.Hour
				if _, err := b.JetStream().UpdateStream(t.Context(), cfg); err != nil {
					t.Fatal(err)
				}
			},
			want: "warning stream WEIR_OUTCOMES: max_age is 48h0m0s, and outcomes.keep is 720h0m0s; start weir serve again",
		},
		"events that no lane reads": {
			prepare: func(t *testing.T, b *broker.Broker) { provisioned(t, b); stray(t, b) },
			want:    "problem subjects: events were confirmed that no lane reads, on weir.events.Acme (1), weir.events.acme-sales.hihg (2); publish them again",
		},
		"events of other lanes": {
			prepare: func(t *testing.T, b *broker.Broker) { provisioned(t, b); stray(t, b) },
			want:    "warning lanes: events wait for lanes that the configuration does not have: former (1), nobody (2); give these lanes a block",
		},
		"forgotten when idle": {
			prepare: tampered(func(c *jetstream.ConsumerConfig) { c.InactiveThreshold = time.Hour }),
			want:    "problem consumer weir-acme-sales: inactive_threshold is 1h0m0s, must be unset",
		},
		"hurries": {
			prepare: tampered(func(c *jetstream.ConsumerConfig) { c.AckWait = time.Second }),
			want:    "warning consumer weir-acme-sales: ack_wait is 1s, and broker.ack_wait is 1m0s",
		},
		"few open deliveries": {
			prepare: tampered(func(c *jetstream.ConsumerConfig) { c.MaxAckPending = 7 }),
			want:    "warning consumer weir-acme-sales: max_ack_pending is 7, should be 10000",
		},
		"paused": {
			prepare: func(t *testing.T, b *broker.Broker) {
				provisioned(t, b)
				if _, err := b.JetStream().PauseConsumer(t.Context(), broker.StreamEvents, "weir-"+lane, time.Now().Add(time.Hour)); err != nil {
					t.Fatal(err)
				}
			},
			want: "warning consumer weir-acme-sales: it is paused for another",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := &server.Options{}
			if tt.server != nil {
				opts = tt.server(t)
			}
			opts.JetStream = true
			if opts.StoreDir == "" {
				opts.StoreDir = t.TempDir()
			}
			url := plain(t, opts)
			tt.config.URL = url
			b := reach(t, tt.config)
			if tt.prepare != nil {
				tt.prepare(t, b)
			}
			if got := said(b.Inspect(t.Context(), wanted())...); !strings.Contains(got, tt.want) {
				t.Errorf("got\n%swant %q in it", got, tt.want)
			}
		})
	}
}

// provisioned makes all streams and the lane's consumers, as weir serve does.
func provisioned(t *testing.T, b *broker.Broker) {
	t.Helper()
	if err := b.Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	stream(t, b, jetstream.StreamConfig{Name: ledgerStream, Subjects: []string{"ledger"}, MaxBytes: 2 << 20})
	queues(t, b)
}

func stream(t *testing.T, b *broker.Broker, cfg jetstream.StreamConfig) {
	t.Helper()
	if _, err := b.JetStream().CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

// tampered provisions, and then changes the consumer of the lane's events.
func tampered(change func(*jetstream.ConsumerConfig)) func(*testing.T, *broker.Broker) {
	return func(t *testing.T, b *broker.Broker) {
		t.Helper()
		provisioned(t, b)
		if _, err := b.JetStream().UpdateConsumer(t.Context(), broker.StreamEvents, changed(t, b, change)); err != nil {
			t.Fatal(err)
		}
	}
}

// remade is tampered where the broker allows the change to a new consumer alone.
func remade(change func(*jetstream.ConsumerConfig)) func(*testing.T, *broker.Broker) {
	return func(t *testing.T, b *broker.Broker) {
		t.Helper()
		provisioned(t, b)
		cfg := changed(t, b, change)
		if err := b.JetStream().DeleteConsumer(t.Context(), broker.StreamEvents, cfg.Durable); err != nil {
			t.Fatal(err)
		}
		if _, err := b.JetStream().CreateConsumer(t.Context(), broker.StreamEvents, cfg); err != nil {
			t.Fatal(err)
		}
	}
}

func changed(t *testing.T, b *broker.Broker, change func(*jetstream.ConsumerConfig)) jetstream.ConsumerConfig {
	t.Helper()
	c, err := b.JetStream().Consumer(t.Context(), broker.StreamEvents, "weir-"+lane)
	if err != nil {
		t.Fatal(err)
	}
	cfg := c.CachedInfo().Config
	change(&cfg)
	return cfg
}

// Fault 23: a broker that does not sync each write is found out, by its monitor
// and by a user of the system account; one that nobody may ask is named.
func TestFault23TheServersSyncSetting(t *testing.T) {
	t.Parallel()
	const users = "no_auth_user: u\nsystem_account: S\naccounts: {A: {users: [{user: u, password: p}], jetstream: enabled}, S: {users: [{user: sys, password: open}]}}\n"
	const loses = "writes to the disk every 2m0s: a power cut loses what it confirmed since, and people are called again; set sync_interval: always in its jetstream block, and start it again"
	const safe = "ok sync: the server writes each message to the disk before it confirms it"
	for name, tt := range map[string]struct {
		always bool
		system bool
		watch  func(monitor string) broker.Watch
		want   string
	}{
		"monitor, default": {watch: byMonitor, want: "problem sync: 127.0.0.1:"},
		"monitor, always":  {always: true, watch: byMonitor, want: safe},
		"system, default":  {watch: bySystem, want: "problem sync: alone " + loses},
		"system, always":   {always: true, watch: bySystem, want: safe},
		"nobody may ask": {
			always: true, watch: func(string) broker.Watch { return broker.Watch{} },
			want: "warning sync: whether the broker writes each message to the disk before it confirms it is not known: a client is not told; set broker.monitor or broker.system",
		},
		"no system user": {
			watch: func(string) broker.Watch { return broker.Watch{System: broker.System{User: "u", Password: "p"}} },
			want:  "problem sync: ask with broker.system: no server answers: these are not the credentials of a user of the system account",
		},
		"wrong password": {
			watch: func(string) broker.Watch { return broker.Watch{System: broker.System{User: "sys", Password: "wrong"}} },
			want:  "problem sync: ask with broker.system: nats: Authorization Violation",
		},
		"no monitor": {
			watch: func(string) broker.Watch { return broker.Watch{Monitors: []string{"http://127.0.0.1:1"}} },
			want:  "problem sync: ask the monitor at http://127.0.0.1:1: ",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := configured(t, users)
			opts.ServerName, opts.SyncAlways, opts.HTTPHost, opts.HTTPPort = "alone", tt.always, "127.0.0.1", -1
			s := started(t, opts)
			b := reach(t, broker.Config{URL: s.ClientURL()})
			servers, err := broker.Servers(t.Context(), broker.Config{URL: s.ClientURL()}, tt.watch("http://"+s.MonitorAddr().String()))
			got := said(b.JudgeServers(servers, err)...)
			if !strings.Contains(got, tt.want) {
				t.Errorf("got\n%swant %q in it", got, tt.want)
			}
			if strings.Contains(tt.want, "127.0.0.1:") && !strings.Contains(tt.want, ":1:") && !strings.Contains(got, loses) {
				t.Errorf("got\n%swant %q in it", got, loses)
			}
			if len(servers) > 0 && !strings.Contains(got, "ok clock: this machine's clock agrees with") {
				t.Errorf("got\n%swant the clock compared", got)
			}
		})
	}
}

// A server that takes some seconds to answer is heard, and not taken for one that
// nobody here may ask.
func TestASlowServerIsHeard(t *testing.T) {
	t.Parallel()
	s := started(t, configured(t, "accounts: {A: {users: [{user: u, password: p}], jetstream: enabled}}\n"))
	nc, err := nats.Connect(s.ClientURL(), nats.UserInfo("u", "p"), nats.Timeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	_, err = nc.Subscribe("$SYS.REQ.SERVER.PING.JSZ", func(m *nats.Msg) {
		time.AfterFunc(2500*time.Millisecond, func() {
			_ = m.Respond([]byte(`{"server":{"name":"slow"},"data":{"now":"2026-11-21T12:00:00Z"}}`))
		})
	})
	if err == nil {
		err = nc.FlushTimeout(time.Minute)
	}
	if err != nil {
		t.Fatal(err)
	}
	watch := broker.Watch{System: broker.System{User: "u", Password: "p"}}
	if got, err := broker.Servers(t.Context(), broker.Config{URL: s.ClientURL()}, watch); err != nil || len(got) != 1 || got[0].Name != "slow" {
		t.Errorf("got %+v, %v; want the slow one", got, err)
	}
}

func byMonitor(monitor string) broker.Watch { return broker.Watch{Monitors: []string{monitor}} }

func bySystem(string) broker.Watch {
	return broker.Watch{System: broker.System{User: "sys", Password: "open"}}
}

// What a server can still reserve is known where it can be asked.
func TestInspectKnowsTheServersRoom(t *testing.T) {
	t.Parallel()
	s := started(t, &server.Options{JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 10 << 20, HTTPHost: "127.0.0.1", HTTPPort: -1})
	b := reach(t, broker.Config{URL: s.ClientURL()})
	needs := wanted()
	if got := said(b.Inspect(t.Context(), needs)...); !strings.Contains(got, "warning storage: weir serve will reserve 22 MiB, the ledger's first; how much the broker's server has left is not told") {
		t.Errorf("unasked: got\n%s", got)
	}
	var err error
	if needs.Servers, err = broker.Servers(t.Context(), broker.Config{}, byMonitor("http://"+s.MonitorAddr().String())); err != nil {
		t.Fatal(err)
	}
	if got := said(b.Inspect(t.Context(), needs)...); !strings.Contains(got, "problem storage: the streams are to reserve 22 MiB more, and the broker's server has 10 left; free disk space") {
		t.Errorf("asked: got\n%s", got)
	}
}

// Every server of a cluster is asked: one that does not sync is enough to lose.
func TestInspectACluster(t *testing.T) {
	t.Parallel()
	servers := cluster(t, 3, func(i int, opts *server.Options) { opts.SyncAlways = i > 0 })
	b := reach(t, broker.Config{URL: servers[1].ClientURL()})
	until(t, "the cluster has a leader", func() bool {
		return !strings.Contains(said(b.Inspect(t.Context(), wanted())...), "cannot be read")
	})
	stream(t, b, jetstream.StreamConfig{Name: broker.StreamEvents, Subjects: []string{"weir.events.>"}})
	got := said(b.Inspect(t.Context(), wanted())...)
	if want := "warning replicas: broker.replicas is 1, and the broker is the cluster C"; !strings.Contains(got, want) {
		t.Errorf("got\n%swant %q in it", got, want)
	}
	three := reach(t, broker.Config{URL: servers[1].ClientURL(), Replicas: 3})
	if got, want := said(three.Inspect(t.Context(), wanted())...), "problem stream WEIR_EVENTS: num_replicas is 1, must be 3"; !strings.Contains(got, want) {
		t.Errorf("got\n%swant %q in it", got, want)
	}
	var monitors []string
	for _, s := range servers {
		monitors = append(monitors, "http://"+s.MonitorAddr().String())
	}
	five := reach(t, broker.Config{URL: servers[1].ClientURL(), Replicas: 5})
	for name, tt := range map[string]struct {
		watch broker.Watch
		want  []string
		not   string
	}{
		"all monitors": {broker.Watch{Monitors: monitors}, []string{"problem sync: " + servers[0].MonitorAddr().String(), "problem replicas: broker.replicas is 5, and the cluster has 3 servers"}, "were asked"},
		"good ones":    {broker.Watch{Monitors: monitors[1:]}, []string{"ok sync: all 2 servers", "warning sync: 2 of the cluster's 3 servers were asked; name the monitor of each"}, "problem sync"},
		"system":       {broker.Watch{System: broker.System{User: "sys", Password: "open"}}, []string{"problem sync: n0 writes"}, "were asked"},
	} {
		found, err := broker.Servers(t.Context(), broker.Config{URL: servers[1].ClientURL()}, tt.watch)
		got := said(five.JudgeServers(found, err)...)
		for _, want := range tt.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: got\n%swant %q in it", name, got, want)
			}
		}
		if strings.Contains(got, tt.not) {
			t.Errorf("%s: got\n%swant no %q in it", name, got, tt.not)
		}
	}
}

// cluster starts n servers that know each other, with a user of the system
// account.
func cluster(t *testing.T, n int, edit func(i int, opts *server.Options)) []*server.Server {
	t.Helper()
	var servers []*server.Server
	routes := ", routes: ['nats://127.0.0.1:1']" // a server of a cluster must have one; the others lead here
	for i := range n {
		text := "no_auth_user: u\nsystem_account: S\naccounts: {A: {users: [{user: u, password: p}], jetstream: enabled}, S: {users: [{user: sys, password: open}]}}\n" +
			"cluster: {name: C, listen: '127.0.0.1:-1'" + routes + "}\n"
		opts := configured(t, text)
		opts.ServerName, opts.HTTPHost, opts.HTTPPort = fmt.Sprintf("n%d", i), "127.0.0.1", -1
		edit(i, opts)
		s := started(t, opts)
		if i == 0 {
			routes = ", routes: ['nats://" + s.ClusterAddr().String() + "']"
		}
		servers = append(servers, s)
	}
	return servers
}

// A server of another version, as it would introduce itself.
func TestAnOldServerIsRefused(t *testing.T) {
	t.Parallel()
	url := plain(t, &server.Options{JetStream: true, StoreDir: t.TempDir()})
	for version, want := range map[string]string{
		"2.11.9": "nats-server 2.12 or newer is needed, this one is 2.11.9 and has no message schedules",
		"2.10.1": "this one is 2.10.1 and has no messages that expire by themselves, which the lease is made of, and no message schedules",
	} {
		r := newRelayThat(t, url, func(b []byte) []byte {
			return bytes.Replace(b, []byte(`"version":"`+server.VERSION+`"`), []byte(`"version":"`+version+`"`), 1)
		})
		_, err := broker.Connect(t.Context(), zerolog.Nop(), broker.Config{URL: r.url})
		if !errors.Is(err, broker.ErrTooOld) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", version, err, want)
		}
	}
}

// An answer that is none, one that leads elsewhere, and one without an end.
func TestMonitorsThatAreNone(t *testing.T) {
	t.Parallel()
	elsewhere := false
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved/jsz":
			http.Redirect(w, r, "/good/jsz", http.StatusFound)
		case "/good/jsz":
			elsewhere = true
			fmt.Fprint(w, `{"now": "2026-01-01T00:00:00Z", "config": {"sync_always": true}}`)
		case "/huge/jsz":
			fmt.Fprint(w, `{"now": "2026-01-01T00:00:00Z", "config": {"sync_always": true}, "x": "`+strings.Repeat("x", 2<<20)+`"}`)
		default:
			fmt.Fprint(w, "<html>hello</html>")
		}
	}))
	t.Cleanup(web.Close)
	for _, path := range []string{"/moved", "/huge", "/page"} {
		servers, err := broker.Servers(t.Context(), broker.Config{}, byMonitor(web.URL+path))
		if len(servers) != 0 || err == nil || !strings.Contains(err.Error(), "not what a nats-server's monitor answers") {
			t.Errorf("%s: got %v, %v; want an error", path, servers, err)
		}
	}
	if elsewhere {
		t.Error("a redirect was followed")
	}
}

func TestJudgeClock(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for ahead, want := range map[time.Duration]string{
		0:                 "ok clock: this machine's clock agrees with the broker's; ",
		-time.Second:      "ok clock: this machine's clock agrees with the broker's; ",
		3 * time.Second:   "warning clock: this machine's clock is 3s ahead of the broker's; set both clocks by NTP",
		-29 * time.Second: "warning clock: this machine's clock is 29s behind the broker's; set both clocks by NTP",
		31 * time.Second:  "problem clock: this machine's clock is 31s ahead of the broker's; what depends on the time of day waits",
		-time.Hour:        "problem clock: this machine's clock is 1h0m0s behind the broker's; what depends on the time of day waits",
	} {
		s := consumer.Sample{Sent: now, Received: now, Shown: now.Add(-ahead)}
		if got := said(broker.JudgeClock("clock", "the broker", s)); !strings.HasPrefix(got, want) {
			t.Errorf("%v ahead: got %q, want %q", ahead, got, want)
		}
	}
}

func TestTimeOfTheBroker(t *testing.T) {
	t.Parallel()
	denied := configured(t, `
		no_auth_user: u
		accounts: {A: {users: [{user: u, password: p, permissions: {publish: {deny: ["$SYS.>"]}}}], jetstream: enabled}}
	`)
	for name, opts := range map[string]*server.Options{
		"the server's":         {JetStream: true, StoreDir: t.TempDir()},
		"of a stream's leader": denied,
	} {
		b := reach(t, broker.Config{URL: plain(t, opts)})
		provisioned(t, b)
		s, err := b.Time(t.Context())
		if err != nil || s.Shown.IsZero() || s.Off().Abs() > time.Second {
			t.Errorf("%s: got %+v, %v; want our own time", name, s, err)
		}
	}
}
