package broker

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/schema"
)

// EmbeddedConfig is how the broker within this process runs. Zero fields get
// their defaults.
type EmbeddedConfig struct {
	// Dir holds the store, the lock and endpoint.json. It is created if it is
	// missing.
	Dir string
	// Listen is a loopback address and port. Default 127.0.0.1 and a port that
	// is chosen at the first start and kept if it can be had again.
	Listen string
	// Token is what clients show. Default a random one, kept across restarts.
	Token schema.Secret
	// MaxStore is how many bytes all streams together may use. Default 5 GiB,
	// less if the disk has not as much to spare, decided at the first start. It
	// is never less than what the streams in Dir reserve.
	MaxStore int64
}

// startTimeout is how long a server may take to read its store.
const startTimeout = 2 * time.Minute

// ErrInUse is a directory whose embedded broker runs already.
var ErrInUse = errors.New("another weir uses it")

// Embedded is a NATS server within this process, on loopback, that syncs each
// message to the disk before it confirms it.
type Embedded struct {
	server   *server.Server
	lock     *os.File
	endpoint endpoint
}

// StartEmbedded starts the embedded broker. The directory is locked first, as
// two servers on one store destroy it: ErrInUse. Address, token and store size
// are written to endpoint.json.
func StartEmbedded(lg zerolog.Logger, cfg EmbeddedConfig) (*Embedded, error) {
	e, err := startEmbedded(lg, cfg)
	if err != nil {
		return nil, fmt.Errorf("embedded broker in %s: %w", cfg.Dir, err)
	}
	lg.Info().Str("dir", cfg.Dir).Str("url", e.endpoint.URL).Msg("embedded broker started")
	return e, nil
}

func startEmbedded(lg zerolog.Logger, cfg EmbeddedConfig) (_ *Embedded, err error) {
	host, port, err := listenAddress(cfg.Listen)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, lock.Close())
		}
	}()
	old, err := loadEndpoint(cfg.Dir)
	if err != nil {
		return nil, err
	}
	e := endpoint{V: endpointFormat, Token: cmp.Or(cfg.Token.Reveal(), old.Token, rand.Text()), others: old.others}
	if e.MaxStore, err = storeSize(cfg, old); err != nil {
		return nil, err
	}
	if port == 0 {
		port = keptPort(host, old.URL)
	}
	s, err := startServer(lg, cfg.Dir, host, port, e)
	if err != nil {
		return nil, err
	}
	e.URL = "nats://" + s.Addr().String()
	if err := e.save(cfg.Dir); err != nil {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, err
	}
	return &Embedded{server: s, lock: lock, endpoint: e}, nil
}

// listenAddress splits an address and refuses one that others can reach. Port 0
// is any.
func listenAddress(listen string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(cmp.Or(listen, "127.0.0.1:0"))
	if err != nil {
		return "", 0, fmt.Errorf("listen: %w", err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "", 0, fmt.Errorf("listen: %s is not a loopback address: the embedded broker is for this machine alone; run a nats-server for others", host)
	}
	port, err = strconv.Atoi(text)
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("listen: port %q: must be 0 to 65535", text)
	}
	return host, port, nil
}

// lockDir locks the directory until the file is closed.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, "LOCK")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	ok, err := tryLock(f)
	if err == nil && !ok {
		text, _ := os.ReadFile(path) // for the message alone
		err = fmt.Errorf("%w (process %s)", ErrInUse, cmp.Or(strings.TrimSpace(string(text)), "unknown"))
	}
	if err == nil {
		err = errors.Join(f.Truncate(0), writeAt(f, strconv.Itoa(os.Getpid())+"\n"))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func writeAt(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

// keptPort returns the port of the last start if it can be had, otherwise
// server.RANDOM_PORT.
func keptPort(host, old string) int {
	u, err := url.Parse(old)
	if err != nil {
		return server.RANDOM_PORT
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		return server.RANDOM_PORT
	}
	ln, err := net.Listen("tcp", net.JoinHostPort(host, u.Port())) //nolint:noctx // it takes no time
	if err != nil {
		return server.RANDOM_PORT
	}
	if ln.Close() != nil {
		return server.RANDOM_PORT
	}
	return port
}

func startServer(lg zerolog.Logger, dir, host string, port int, e endpoint) (*server.Server, error) {
	s, err := server.NewServer(&server.Options{
		ServerName:             "weir",
		Host:                   host,
		Port:                   port,
		Authorization:          e.Token,
		NoSigs:                 true,
		JetStream:              true,
		StoreDir:               dir,
		SyncAlways:             true,
		JetStreamMaxStore:      e.MaxStore,
		JetStreamMaxMemory:     memoryStore,
		DisableJetStreamBanner: true,
		JetStreamLimits:        server.JSLimitOpts{DefaultMaxConsumers: -1}, // of streams that an older Weir made
	})
	if err != nil {
		return nil, err
	}
	log := &serverLog{lg: lg, fatal: make(chan string, 1)}
	s.SetLoggerV2(log, false, false, false)
	go s.Start()
	if err := log.await(s); err != nil {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, err
	}
	return s, nil
}

// URL returns where the broker listens.
func (e *Embedded) URL() string { return e.endpoint.URL }

// Token returns what clients show.
func (e *Embedded) Token() schema.Secret { return schema.Secret(e.endpoint.Token) }

// Shutdown stops the server, waits until its store is closed, and unlocks the
// directory. Connections to it should be closed before.
func (e *Embedded) Shutdown() error {
	e.server.Shutdown()
	e.server.WaitForShutdown()
	if err := e.lock.Close(); err != nil {
		return fmt.Errorf("unlock the embedded broker's directory: %w", err)
	}
	return nil
}
