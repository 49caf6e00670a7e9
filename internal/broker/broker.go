package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/schema"
)

// Config says where the broker is and how its streams are made. Zero fields
// get their defaults.
type Config struct {
	URL      string        // of one server, or several separated by commas
	Creds    string        // path of a credentials file
	NKey     string        // path of an nkey seed
	User     string        // with Password
	Password schema.Secret // of User
	Token    schema.Secret
	CA       string // path of the certificates to trust, in PEM form
	Cert     string // path of the client's certificate, with Key
	Key      string // path of the client's private key
	Domain   string // of JetStream
	Inbox    string // what the subjects of answers begin with; default _INBOX
	Name     string // of the connection, in the broker's lists; default "weir"

	Replicas  int           // copies of each stream: 1 on a single server, 3 on a cluster; default 1
	AckWait   time.Duration // after which an unanswered delivery is repeated; default 60 s
	Room      Room
	LaneQuota int64 // messages of one lane that WEIR_EVENTS may hold; default 1,000,000
	// KeepOutcomes is how long WEIR_OUTCOMES has them, at least 24 h, for which it
	// knows a repetition; default 30 days.
	KeepOutcomes time.Duration
}

// Room is how many bytes each stream may hold. What does not fit is refused, so
// that one stream never takes the room of another.
type Room struct {
	Events   int64 // WEIR_EVENTS; default 2 GiB
	Outcomes int64 // WEIR_OUTCOMES, whose oldest messages make way; default 512 MiB
	Dead     int64 // WEIR_DEAD; default 512 MiB
	Contact  int64 // WEIR_CONTACT; default contactRoom
	Later    int64 // WEIR_LATER; above it nothing more is postponed, the stream itself has no limit (H4); default 1 GiB
	// Undelivered is that of WEIR_UNDELIVERED; default 0: there is none, and one that
	// is there is left alone.
	Undelivered int64
}

func (cfg Config) withDefaults() Config {
	cfg.Name = cmp.Or(cfg.Name, "weir")
	cfg.Replicas = cmp.Or(cfg.Replicas, 1)
	cfg.AckWait = cmp.Or(cfg.AckWait, time.Minute)
	cfg.LaneQuota = cmp.Or(cfg.LaneQuota, 1_000_000)
	cfg.KeepOutcomes = cmp.Or(cfg.KeepOutcomes, 30*24*time.Hour)
	cfg.Room.Events = cmp.Or(cfg.Room.Events, 2<<30)
	cfg.Room.Outcomes = cmp.Or(cfg.Room.Outcomes, 512<<20)
	cfg.Room.Dead = cmp.Or(cfg.Room.Dead, 512<<20)
	cfg.Room.Contact = cmp.Or(cfg.Room.Contact, contactRoom)
	cfg.Room.Later = cmp.Or(cfg.Room.Later, 1<<30)
	return cfg
}

// Broker is a connection to the broker. Its methods may be called concurrently.
type Broker struct {
	lg  zerolog.Logger
	cfg Config
	nc  *nats.Conn
	js  jetstream.JetStream

	hall hall

	mu      sync.Mutex
	streams map[string]jetstream.Stream // by name; handles that were used before
	again   chan struct{}               // closed and replaced when the connection was made again
}

// Errors of connecting that a caller tells apart.
var (
	ErrNoJetStream = errors.New("JetStream is not enabled on the broker for this account")
	ErrTooOld      = errors.New("the broker is too old: nats-server 2.12 or newer is needed")
)

// Connect connects to the broker. It keeps trying until ctx ends while no
// server can be reached, or none answers for JetStream; a malformed URL, and a
// server that refuses the credentials, is too old or has no JetStream is an error.
// Once made, the connection is renewed for ever.
func Connect(ctx context.Context, lg zerolog.Logger, cfg Config) (*Broker, error) {
	cfg = cfg.withDefaults()
	opts, err := cfg.options(lg)
	if err != nil {
		return nil, fmt.Errorf("connect to the broker: %w", err)
	}
	if err := checkURLs(cfg.URL); err != nil {
		return nil, fmt.Errorf("connect to the broker: %w", err)
	}
	b := &Broker{lg: lg, cfg: cfg, streams: make(map[string]jetstream.Stream), again: make(chan struct{})}
	opts = append(opts, nats.ReconnectHandler(func(nc *nats.Conn) {
		lg.Info().Str("url", address(nc)).Msg("connected to the broker again")
		b.reconnect()
	}))
	nc, err := dial(ctx, lg, cfg.URL, opts)
	if err != nil {
		return nil, fmt.Errorf("connect to the broker at %s: %w", addresses(cfg.URL), err)
	}
	b.nc = nc
	if err := b.inspect(ctx); err != nil {
		nc.Close()
		return nil, fmt.Errorf("connect to the broker at %s: %w", addresses(cfg.URL), err)
	}
	lg.Info().Str("url", address(nc)).Str("version", nc.ConnectedServerVersion()).Msg("connected to the broker")
	return b, nil
}

// options are the connection's settings. Nothing is buffered while it is down:
// a publish that its caller has given up must not be sent later.
func (cfg Config) options(lg zerolog.Logger) ([]nats.Option, error) {
	opts := []nats.Option{
		nats.Name(cfg.Name),
		nats.Timeout(5 * time.Second),
		nats.MaxReconnects(-1),
		nats.ReconnectBufSize(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, 500*time.Millisecond),
		nats.IgnoreAuthErrorAbort(),
		nats.PingInterval(10 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil { // nil: closed by Close
				lg.Warn().Err(err).Msg("connection to the broker lost")
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			lg.Warn().Err(err).Msg("the broker reports an error")
		}),
	}
	return cfg.credentials(opts)
}

// credentials adds to opts how the client shows who it is, and whom it trusts.
func (cfg Config) credentials(opts []nats.Option) ([]nats.Option, error) {
	if cfg.Creds != "" {
		opts = append(opts, nats.UserCredentials(cfg.Creds))
	}
	if cfg.NKey != "" {
		key, err := nats.NkeyOptionFromSeed(cfg.NKey)
		if err != nil {
			return nil, fmt.Errorf("nkey %s: %w", cfg.NKey, err)
		}
		opts = append(opts, key)
	}
	if cfg.User != "" {
		opts = append(opts, nats.UserInfo(cfg.User, cfg.Password.Reveal()))
	}
	if cfg.Inbox != "" {
		opts = append(opts, nats.CustomInboxPrefix(cfg.Inbox))
	}
	if cfg.Token != "" {
		opts = append(opts, nats.Token(cfg.Token.Reveal()))
	}
	if cfg.CA != "" {
		opts = append(opts, nats.RootCAs(cfg.CA))
	}
	if cfg.Cert != "" {
		opts = append(opts, nats.ClientCert(cfg.Cert, cfg.Key))
	}
	return opts, nil
}

// dial connects, however often that takes.
func dial(ctx context.Context, lg zerolog.Logger, url string, opts []nats.Option) (*nats.Conn, error) {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 3*time.Second) {
		nc, err := nats.Connect(url, opts...)
		if err == nil || !unreachable(err) {
			return nc, err
		}
		lg.Warn().Err(err).Dur("retry_in", wait).Msg("the broker cannot be reached")
		if !sleep(ctx, wait) {
			return nil, err
		}
	}
}

// unreachable reports whether no server answered, as opposed to one that said
// no.
func unreachable(err error) bool {
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return errors.Is(err, nats.ErrNoServers) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, io.EOF)
}

// electionTime is how long a broker may say nothing before that is worth a line:
// a cluster that has just started elects its leader.
const electionTime = 5 * time.Second

// inspect checks that the server can do what Weir needs. It waits until ctx ends
// for one that does not answer.
func (b *Broker) inspect(ctx context.Context) error {
	var err error
	if b.cfg.Domain == "" {
		b.js, err = jetstream.New(b.nc)
	} else {
		b.js, err = jetstream.NewWithDomain(b.nc, b.cfg.Domain)
	}
	if err != nil {
		return err
	}
	for {
		err := retry(ctx, electionTime, b.probe)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
			return ErrNoJetStream
		case errors.Is(b.nc.LastError(), nats.ErrPermissionViolation): // the server does not answer what it refuses
			return b.nc.LastError()
		case !transient(err) || ctx.Err() != nil:
			return err
		}
		b.lg.Warn().Err(err).Msg("the broker does not answer yet; a cluster may be electing its leader")
	}
}

// probe asks the server once.
func (b *Broker) probe(ctx context.Context) error {
	if !b.nc.IsConnected() {
		return nats.ErrDisconnected
	}
	if v := b.nc.ConnectedServerVersion(); v != "" && !atLeast(v, 2, 12) {
		return fmt.Errorf("%w, this one is %s and has no %s", ErrTooOld, v, lacking(v))
	}
	_, err := b.js.AccountInfo(ctx)
	return err
}

// atLeast reports whether a version such as 2.15.2-beta.1 is major.minor or
// newer.
func atLeast(version string, major, minor int) bool {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) < 2 {
		return false
	}
	x, err1 := strconv.Atoi(parts[0])
	y, err2 := strconv.Atoi(parts[1])
	return err1 == nil && err2 == nil && (x > major || x == major && y >= minor)
}

// lacking names what Weir needs and a server older than 2.12 cannot do.
func lacking(version string) string {
	const schedules = "message schedules, which bring an event back at its time"
	if atLeast(version, 2, 11) {
		return schedules
	}
	return "messages that expire by themselves, which the lease is made of, and no " + schedules
}

// JetStream returns the connection's JetStream, for the ledger.
func (b *Broker) JetStream() jetstream.JetStream { return b.js }

// Close sends what is under way, such as a Nak, and closes the connection.
func (b *Broker) Close(ctx context.Context) error {
	defer b.nc.Close()
	if !b.nc.IsConnected() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	if err := b.nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("close the connection to the broker: %w", err)
	}
	return nil
}

// stream returns the handle of a stream that exists.
func (b *Broker) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	b.mu.Lock()
	s := b.streams[name]
	b.mu.Unlock()
	if s != nil {
		return s, nil
	}
	err := retry(ctx, budget, func(ctx context.Context) error {
		var err error
		s, err = b.js.Stream(ctx, name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", name, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.streams[name] = s
	return s, nil
}

var (
	lanes   = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)
	intents = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`)
)

// checkLane refuses a name that would reach beyond one lane's subjects.
func checkLane(lane string) error {
	if !lanes.MatchString(lane) {
		return fmt.Errorf("lane name %q: must be 1 to 32 of a-z, 0-9 and -", lane)
	}
	return nil
}

func checkIntent(lane, intent string) error {
	if err := checkLane(lane); err != nil {
		return err
	}
	if !intents.MatchString(intent) {
		return fmt.Errorf("intent key %q: must be a UUID", intent)
	}
	return nil
}
