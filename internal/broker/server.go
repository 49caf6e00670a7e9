package broker

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/schema"
)

// Server is what one server of the broker says of itself. A client is not told
// this: it takes the server's monitoring address, or the rights of the system
// account.
type Server struct {
	Name      string // or its monitoring address, without credentials
	JetStream bool
	// SyncAlways says that it writes each message to the disk before it confirms
	// it; else it does so every SyncInterval.
	SyncAlways   bool
	SyncInterval time.Duration
	MaxStore     int64 // bytes that its streams may reserve; 0: unknown
	Reserved     int64 // bytes of those that are
	Cluster      int   // servers of its cluster; 0: it is alone
	Clock        consumer.Sample
}

// Watch is how servers are asked. At least one of both is set.
type Watch struct {
	Monitors []string // URLs of monitoring addresses: one for each server
	CA       string   // path of the certificates to trust, in PEM form
	System   System
}

// System are the credentials of a user of the system account.
type System struct {
	Creds    string // path of a credentials file
	User     string // with Password
	Password schema.Secret
}

// Bounds of asking servers.
const (
	askFor    = 5 * time.Second
	othersFor = 2 * time.Second        // a server that is missing does not answer after so long
	quietFor  = 500 * time.Millisecond // no further server answers after so long
	maxJsz    = 1 << 20                // bytes
)

// ErrUnwatched is a broker whose servers nobody may ask.
var ErrUnwatched = errors.New("neither broker.monitor nor broker.system is set")

// Servers asks the servers of a broker. Those that answered are returned beside
// an error about the others. ErrUnwatched: w is empty.
func Servers(ctx context.Context, cfg Config, w Watch) ([]Server, error) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	switch {
	case len(w.Monitors) > 0:
		return monitored(ctx, w)
	case w.System != System{}:
		servers, err := pinged(ctx, cfg, w.System)
		if err != nil {
			err = fmt.Errorf("ask with broker.system: %w", err)
		}
		return servers, err
	default:
		return nil, ErrUnwatched
	}
}

// jsz is what a server tells of its JetStream, as far as it is looked at. A
// server without JetStream says that it is disabled.
type jsz struct {
	Now      time.Time `json:"now"`
	Disabled bool      `json:"disabled"`
	Reserved int64     `json:"reserved_storage"`
	Config   struct {
		MaxStore     int64         `json:"max_storage"`
		SyncInterval time.Duration `json:"sync_interval"` // nanoseconds
		SyncAlways   bool          `json:"sync_always"`
	} `json:"config"`
	Meta *struct {
		Size int `json:"cluster_size"`
	} `json:"meta_cluster"`
}

func (j jsz) server(name string, clock consumer.Sample) Server {
	clock.Shown = j.Now
	s := Server{
		Name: name, JetStream: !j.Disabled, SyncAlways: j.Config.SyncAlways, SyncInterval: j.Config.SyncInterval,
		MaxStore: j.Config.MaxStore, Reserved: j.Reserved, Clock: clock,
	}
	if j.Meta != nil {
		s.Cluster = j.Meta.Size
	}
	return s
}

// monitored asks each monitoring address.
func monitored(ctx context.Context, w Watch) ([]Server, error) {
	client, err := monitorClient(w.CA)
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	var servers []Server
	var errs []error
	for _, address := range w.Monitors {
		s, err := monitor(ctx, client, address)
		if err != nil {
			errs = append(errs, fmt.Errorf("ask the monitor at %s: %w", address, err))
			continue
		}
		servers = append(servers, s)
	}
	return servers, errors.Join(errs...)
}

func monitorClient(ca string) (*http.Client, error) {
	transport := &http.Transport{MaxResponseHeaderBytes: 64 << 10}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", ca)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // an answer from elsewhere says nothing of this server
	}}, nil
}

// monitor asks one server by HTTP.
func monitor(ctx context.Context, client *http.Client, address string) (Server, error) {
	u, err := url.Parse(address)
	if err != nil {
		return Server{}, errors.New("not a URL")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.JoinPath("jsz").String(), nil)
	if err != nil {
		return Server{}, err
	}
	clock := consumer.Sample{Sent: time.Now()}
	resp, err := client.Do(req)
	if err != nil {
		return Server{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxJsz))
	clock.Received = time.Now()
	if err != nil {
		return Server{}, err
	}
	var j jsz
	if resp.StatusCode != http.StatusOK || json.Unmarshal(body, &j) != nil || j.Now.IsZero() {
		return Server{}, fmt.Errorf("status %d, and not what a nats-server's monitor answers", resp.StatusCode)
	}
	return j.server(u.Host, clock), nil
}

// pinged asks all servers at once, as the system account may.
func pinged(ctx context.Context, cfg Config, sys System) ([]Server, error) {
	own := Config{URL: cfg.URL, CA: cfg.CA, Cert: cfg.Cert, Key: cfg.Key, Name: "weir check", Creds: sys.Creds, User: sys.User, Password: sys.Password}
	opts, err := own.options(zerolog.Nop())
	if err != nil {
		return nil, err
	}
	nc, err := nats.Connect(own.URL, append(opts, nats.NoReconnect())...)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	sub, err := nc.SubscribeSync(nc.NewRespInbox())
	if err != nil {
		return nil, err
	}
	clock := consumer.Sample{Sent: time.Now()}
	if err := nc.PublishRequest("$SYS.REQ.SERVER.PING.JSZ", sub.Subject, nil); err != nil {
		return nil, err
	}
	return answers(ctx, sub, clock)
}

// answers collects what servers say, until as many as their cluster has did, or
// no more come.
func answers(ctx context.Context, sub *nats.Subscription, clock consumer.Sample) ([]Server, error) {
	var servers []Server
	wait, want := askFor, 0 // a server may be slow for once
	for ctx.Err() == nil {
		m, err := sub.NextMsg(wait)
		if err != nil {
			break
		}
		clock.Received = time.Now()
		var a struct {
			Server struct {
				Name string `json:"name"`
			} `json:"server"`
			Data jsz `json:"data"`
		}
		if json.Unmarshal(m.Data, &a) != nil || a.Server.Name == "" {
			continue
		}
		s := a.Data.server(a.Server.Name, clock)
		servers, want = append(servers, s), max(want, s.Cluster, 1)
		wait = othersFor
		if len(servers) >= want {
			wait = quietFor
		}
	}
	if len(servers) == 0 {
		return nil, errors.New("no server answers: these are not the credentials of a user of the system account")
	}
	return servers, nil
}

// JudgeServers says what is to be said of the servers: whether each of them
// writes to the disk before it confirms, whether there are enough, and how far its
// clock is from ours. err is that of Servers.
func (b *Broker) JudgeServers(servers []Server, err error) []Finding {
	var f findings
	switch {
	case errors.Is(err, ErrUnwatched):
		f.warn("sync", "set broker.monitor or broker.system, or see that each server has sync_interval: always in its jetstream block",
			"whether the broker writes each message to the disk before it confirms it is not known: a client is not told")
	case err != nil:
		for line := range strings.Lines(err.Error()) {
			f.problem("sync", "set it right, or whether confirmed messages outlive a power cut stays unknown", "%s", strings.TrimSpace(line))
		}
	}
	always, size := 0, 0
	for _, s := range servers {
		size = max(size, s.Cluster, 1)
		if s.JetStream && f.sync(s) {
			always++
		}
		f = append(f, JudgeClock("clock", s.Name, s.Clock))
	}
	if always > 0 && always == len(servers) {
		f.ok("sync", "%s", syncing(always))
	}
	if len(servers) > 0 && len(servers) < size {
		f.warn("sync", "name the monitor of each server in broker.monitors", "%d of the cluster's %d servers were asked", len(servers), size)
	}
	if copies := b.cfg.Replicas; len(servers) > 0 && size < copies {
		f.problem("replicas", "add servers, or lower broker.replicas", "broker.replicas is %d, and the cluster has %d servers", copies, size)
	}
	return f
}

func syncing(n int) string {
	if n == 1 {
		return "the server writes each message to the disk before it confirms it"
	}
	return fmt.Sprintf("all %d servers write each message to the disk before they confirm it", n)
}

// sync says what a power cut would cost, and reports whether it costs nothing.
func (f *findings) sync(s Server) bool {
	if s.SyncAlways {
		return true
	}
	// What the server's default is where it names none.
	every := cmp.Or(s.SyncInterval, 2*time.Minute)
	f.problem("sync", "set sync_interval: always in its jetstream block, and start it again",
		"%s writes to the disk every %v: a power cut loses what it confirmed since, and people are called again", s.Name, every)
	return false
}
