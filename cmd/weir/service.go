package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/anyreach"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/gateway"
	"github.com/weirhq/weir/internal/guard"
	"github.com/weirhq/weir/internal/ledger"
	"github.com/weirhq/weir/internal/oration"
	"github.com/weirhq/weir/ratelimiter"
	"github.com/weirhq/weir/schema"
)

// service is a running weir: the broker, the lease and the engine.
type service struct {
	lg       zerolog.Logger
	cfg      *config.Config
	embedded *broker.Embedded // nil with a broker of the user's own
	broker   *broker.Broker
	ledger   *ledger.Ledger
	lease    *broker.Lease
	renewal  *renewal
	guard    *guard.Guard
	lost     chan guard.Finding // what a write showed
	engine   *consumer.Engine
	room     room
	clock    *consumer.Clock

	atGate func() // for tests: between the comparison and its acceptance

	mu   sync.Mutex
	held map[string]string // why, by lane

	byHand string // every lane is held at the start, for this reason
}

// renewal keeps the lease while the rest comes up and works.
type renewal struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when it has ended
	err    error         // why, after done
}

// renew begins to renew the lease, until stop gives it back.
func renew(ctx context.Context, l *broker.Lease) *renewal {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &renewal{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.err = l.Run(ctx)
	}()
	return r
}

// run waits until ctx ends, and then gives the lease back, or until it is lost.
func (r *renewal) run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return r.stop()
	case <-r.done:
		return r.err
	}
}

func (r *renewal) stop() error {
	r.cancel()
	<-r.done
	return r.err
}

// startBroker starts or finds the broker, with its streams in place. The ledger
// is made first: its room is reserved before anything else can take it.
func startBroker(ctx context.Context, lg zerolog.Logger, cfg *config.Config) (s *service, err error) {
	s = &service{lg: lg, cfg: cfg, clock: &consumer.Clock{}, lost: make(chan guard.Finding, 1)}
	defer func(s *service) { // of its own: a failing return sets the result to nil
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}(s)
	var bc broker.Config
	var lc ledger.Config
	if cfg.Embedded != nil {
		s.embedded, err = broker.StartEmbedded(lg, broker.EmbeddedConfig{
			Dir: cfg.Embedded.Dir, Listen: cfg.Embedded.Listen, Token: cfg.Embedded.Token,
		})
		if err != nil {
			return nil, err
		}
		bc = broker.Config{URL: s.embedded.URL(), Token: s.embedded.Token()}
		bc.Room, lc.MaxBytes = s.embedded.Room()
	} else {
		bc = brokerConfig(cfg)
		lc.Replicas = bc.Replicas
	}
	if s.broker, err = broker.Connect(ctx, lg, bc); err != nil {
		return nil, err
	}
	lc.Stored, lc.Lost = s.stored, s.wentBack
	if s.ledger, err = ledger.Open(ctx, s.broker.JetStream(), lc); err != nil {
		return nil, err
	}
	return s, s.broker.Provision(ctx)
}

// startService brings up everything but the lanes' loops, which run starts.
func startService(ctx context.Context, lg zerolog.Logger, cfg *config.Config) (*service, error) {
	return startHeld(ctx, lg, cfg, "")
}

// startHeld is startService with every lane held for a reason, if there is one.
func startHeld(ctx context.Context, lg zerolog.Logger, cfg *config.Config, why string) (s *service, err error) {
	if s, err = startBroker(ctx, lg, cfg); err != nil {
		return nil, err
	}
	defer func(s *service) { // of its own: a failing return sets the result to nil
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}(s)
	s.byHand = why
	return s, s.arm(ctx)
}

// arm takes the lease and makes the engine.
func (s *service) arm(ctx context.Context) (err error) {
	cfg := s.cfg
	ttl := 5 * time.Second
	if cfg.Broker != nil && cfg.Broker.Replicas > 1 {
		ttl = 20 * time.Second // longer than the election of a leader
	}
	// Before the lanes' consumers are touched: they may be another's.
	if s.lease, err = s.broker.Lease(ctx, broker.LeaseConfig{TTL: ttl, Holder: holder(), Observe: s.observe}); err != nil {
		return err
	}
	s.renewal = renew(ctx, s.lease)
	if err := s.pass(ctx); err != nil {
		return err
	}
	ec := consumer.Config{
		Ledger: s.ledger, Outbox: s.broker, Switch: s.broker, Catalog: schema.NewCatalog(),
		Fence: s.lease.Held, Room: s.room.lacking, Clock: s.clock, Keep: cfg.Ledger.Keep,
	}
	if cfg.Broker != nil {
		ec.Heartbeat = cfg.Broker.AckWait / 4
	}
	for _, ac := range cfg.Accounts {
		account, err := s.account(ctx, ac)
		if err != nil {
			return err
		}
		ec.Accounts = append(ec.Accounts, account)
	}
	s.engine, err = consumer.New(s.lg, ec)
	return err
}

// holder names this process to the one that finds the lease taken.
func holder() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("process %d on %s", os.Getpid(), host)
}

// account wires one account: its client, its limits, its lanes' queues.
func (s *service) account(ctx context.Context, ac config.Account) (consumer.AccountConfig, error) {
	client, err := provider(s.lg, ac)
	if err != nil {
		return consumer.AccountConfig{}, fmt.Errorf("account %s: %w", ac.Name, err)
	}
	out := consumer.AccountConfig{
		Name: ac.Name, Kind: ac.Provider, Provider: client,
		Limiter: limiter(ac, ac.LimitChannel()), TakesID: ac.TakesID(), VisibleAfter: ac.VisibleAfter,
		Breaker: ratelimiter.BreakerConfig{Failures: ac.Breaker.Failures, Open: ac.Breaker.Open},
		Headers: ratelimiter.Names{Limit: ac.Headers.Limit, Remaining: ac.Headers.Remaining, Reset: ac.Headers.Reset},
		Timeout: ac.Timeout, MaxCall: ac.MaxCall, MeanCall: ac.Pacing.MeanCall,
	}
	if ac.LimitChannel() != "" { // each channel is counted by itself
		out.Channels = make(map[string]ratelimiter.Config)
		for channel := range ac.Limits {
			out.Channels[channel] = limiter(ac, channel)
		}
	}
	if err := checkRoutes(client, ac); err != nil {
		return out, err
	}
	for _, lc := range ac.Lanes {
		events, due, err := s.broker.Lane(ctx, lc.Name)
		if err != nil {
			return out, fmt.Errorf("lane %s: %w", lc.Name, err)
		}
		out.Lanes = append(out.Lanes, consumer.LaneConfig{
			Name: lc.Name, Label: lc.Label, Weight: lc.Weight, Batch: lc.Batch,
			MaxEvent: int(lc.MaxEvent), DoubtLimit: lc.DoubtLimit,
			Resend: lc.Doubt == config.Resend, Attempts: lc.Attempts, JoinToken: lc.JoinToken,
			Routes: lc.Routes, Channels: lc.Channels,
			Events: events, Due: due,
		})
	}
	return out, nil
}

// checkRoutes joins what is wrong with the routes' requests whatever event comes,
// as far as the provider's client can tell.
func checkRoutes(client consumer.Provider, ac config.Account) error {
	checker, ok := client.(interface {
		CheckRoute(request map[string]any) error
	})
	if !ok {
		return nil
	}
	var errs []error
	for _, lc := range ac.Lanes {
		for i, request := range lc.Requests {
			if err := checker.CheckRoute(request); err != nil {
				errs = append(errs, fmt.Errorf("lane %s: routes[%d].request: %w", lc.Name, i, err))
			}
		}
	}
	return errors.Join(errs...)
}

// limiter is the limit of one channel. What else the account says of its limit
// belongs to one channel alone.
func limiter(ac config.Account, channel string) ratelimiter.Config {
	c := ratelimiter.Config{
		Limit: ac.Limits[channel], MeanCall: ac.Pacing.MeanCall, Epsilon: ac.Pacing.Epsilon(), Probe: probing(ac.Pacing.Probe),
	}
	if channel == ac.LimitChannel() {
		c.LimitMax, c.Reserve = ac.LimitMax, ac.Reserve
	}
	return c
}

// probing is how a full account is probed.
func probing(probe string) ratelimiter.Probing {
	switch probe {
	case config.ProbeGet:
		return ratelimiter.ProbeGet
	case config.ProbePost:
		return ratelimiter.ProbePost
	default:
		return ratelimiter.ProbeAuto
	}
}

// provider makes the client of an account. It is the only place that knows
// which providers there are.
func provider(lg zerolog.Logger, ac config.Account) (consumer.Provider, error) {
	switch ac.Provider {
	case config.Oration:
		return oration.New(lg, oration.Config{
			URL: ac.URL, APIKey: ac.Auth.APIKey, WorkspaceID: ac.Auth.WorkspaceID,
			Bearer: ac.Auth.Bearer, PublicKey: ac.Auth.PublicKey,
			Timeout: ac.Timeout, FullWhen: ac.FullWhen, RefusedStatuses: ac.RefusedStatuses,
		})
	case config.Anyreach:
		return anyreach.New(lg, anyreach.Config{
			URL: ac.URL, Token: ac.Auth.Token, Organization: ac.Auth.Organization,
			Timeout: ac.Timeout, AnyNumber: ac.AgentNumberAny(), RefusedStatuses: ac.RefusedStatuses,
		})
	default:
		return nil, fmt.Errorf("unknown provider %q", ac.Provider)
	}
}

// lanes yields the names of all lanes.
func (s *service) lanes() []string {
	var names []string
	for _, ac := range s.cfg.Accounts {
		for _, ln := range ac.Lanes {
			names = append(names, ln.Name)
		}
	}
	return names
}

// run works until ctx ends or a part fails. Intake ends first; the lease, the
// pauses and the controls outlive the engine, so that requests that were sent
// are answered and recorded under them.
func (s *service) run(ctx context.Context) error {
	pauses, err := learn(ctx, s.lg, "pauses", s.broker.Pauses)
	if err != nil || ctx.Err() != nil {
		return err
	}
	for lane, p := range pauses {
		s.engine.SetPause(lane, pause(&p))
	}
	s.look(ctx)
	gates, err := learn(ctx, s.lg, "gates", s.broker.Gates)
	if err != nil || ctx.Err() != nil {
		return err
	}
	for lane, g := range gates {
		s.setGate(lane, g)
	}
	intake, stopIntake := context.WithCancelCause(ctx)
	defer stopIntake(nil)
	around, stopAround := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	part := func(name string, f func(context.Context) error) {
		wg.Go(func() {
			if err := f(around); err != nil && around.Err() == nil {
				stopIntake(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
	part("lease", s.renewal.run)
	part("pauses", func(ctx context.Context) error {
		return s.broker.WatchPauses(ctx, func(lane string, p *broker.PauseRecord) { s.engine.SetPause(lane, pause(p)) })
	})
	part("gates", func(ctx context.Context) error { return s.broker.WatchGates(ctx, s.setGate) })
	marking, stopMarking := context.WithCancel(around)
	defer stopMarking()
	marked := make(chan struct{})
	part("guard", func(context.Context) error {
		defer close(marked)
		return s.guard.Run(marking, s.hold)
	})
	part("scrub", s.scrub)
	part("losses", s.losses)
	for _, lane := range s.lanes() {
		part("control of lane "+lane, func(ctx context.Context) error {
			return s.broker.ServeControl(ctx, lane, func(ctx context.Context, request []byte) []byte {
				return s.engine.Control(ctx, lane, request)
			})
		})
	}
	part("trim", s.trim)
	part("room", s.watchRoom)
	part("sync", s.syncing)
	if s.cfg.Gateway.Listen != "" {
		part("gateway", s.gateway().Run)
	}
	if listen := s.cfg.Admin.Listen; listen != "" {
		part("admin", func(ctx context.Context) error { return serveAdmin(ctx, listen, s.ready) })
	}
	err = s.engine.Run(intake)
	stopMarking()
	<-marked // the last mark is written while the lease is held: it is the next owner's afterwards
	stopAround()
	wg.Wait()
	if cause := context.Cause(intake); ctx.Err() == nil && cause != nil {
		err = errors.Join(err, cause)
	}
	return err
}

// gateway hears the webhooks of the lanes that have an address for them.
func (s *service) gateway() *gateway.Gateway {
	gc := gateway.Config{
		Listen: s.cfg.Gateway.Listen, Cert: s.cfg.Gateway.TLS.Cert, Key: s.cfg.Gateway.TLS.Key,
		Secrets: make(map[string]schema.Secret),
	}
	for _, ac := range s.cfg.Accounts {
		for _, lc := range ac.Lanes {
			gc.Secrets[lc.Name] = lc.Webhook.Secret
		}
	}
	return gateway.New(s.lg, s.engine, gc)
}

// learn asks the broker for the lanes' switches, however long it takes to tell
// them.
func learn[T any](ctx context.Context, lg zerolog.Logger, what string, ask func(context.Context) (T, error)) (T, error) {
	for {
		switches, err := ask(ctx)
		if err == nil || ctx.Err() != nil {
			return switches, nil
		}
		if !broker.Away(err) {
			return switches, fmt.Errorf("read the %s: %w", what, err)
		}
		lg.Warn().Err(err).Msg("the " + what + " are not known yet; nothing is sent before")
		select {
		case <-ctx.Done():
		case <-time.After(startRetry):
		}
	}
}

// keepEvents is how long an event that is done stays in its stream.
const keepEvents = 7 * 24 * time.Hour

// keep is how long events are kept: for ever while nobody can tell how old they
// are. For want of room those that are done are removed all the same.
func (s *service) keep() time.Duration {
	if s.clock.Trusted() != nil {
		return 100 * 365 * 24 * time.Hour
	}
	return keepEvents
}

// trim removes old events that are done, now and then, until ctx ends. What it
// could not remove it tries again.
func (s *service) trim(ctx context.Context) error {
	for {
		for _, lane := range s.lanes() {
			if s.holds(lane) != "" {
				continue // what is there may be needed to tell what was done
			}
			err := s.broker.Trim(ctx, lane, s.keep())
			if err == nil && s.clock.Trusted() == nil {
				err = s.prune(ctx, lane, time.Now())
			}
			if err != nil && ctx.Err() == nil {
				s.lg.Warn().Err(err).Str("lane", lane).Msg("what is old was not removed")
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(10 * time.Minute):
		}
	}
}

// prune removes what the ledger need not remember any more. It comes after the
// lane's events were trimmed: an event that is still there, however old, was
// entered anew when it came (H20).
func (s *service) prune(ctx context.Context, lane string, now time.Time) error {
	n, err := s.ledger.Prune(ctx, lane, now.Add(-s.cfg.Ledger.Keep), s.guard.Remove)
	if n > 0 {
		s.lg.Info().Str("lane", lane).Int("entries", n).Msg("old entries of the ledger removed")
	}
	return err
}

// ready reports whether the service may send, on every lane, has room for new
// events, and can rely on the time of day.
func (s *service) ready() error {
	return errors.Join(s.lease.Held(), s.room.lacking(), s.clock.Trusted(), s.heldError())
}

// observe enters a look at the broker's clock.
func (s *service) observe(look consumer.Sample) { s.clock.Observe(consumer.BrokerClock, look) }

// pause translates a stored pause.
func pause(p *broker.PauseRecord) *consumer.Pause {
	if p == nil {
		return nil
	}
	return &consumer.Pause{By: p.By, Reason: p.Reason, At: p.At}
}

// close gives the lease back and ends the connection and the embedded broker.
func (s *service) close() error {
	var err error
	if s.renewal != nil {
		_ = s.renewal.stop() // run has said why it ended
	}
	if s.broker != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = s.broker.Close(ctx)
	}
	if s.guard != nil {
		err = errors.Join(err, s.guard.Close())
	}
	if s.embedded != nil {
		err = errors.Join(err, s.embedded.Shutdown())
	}
	return err
}

// brokerConfig translates the broker block.
func brokerConfig(cfg *config.Config) broker.Config {
	b := cfg.Broker
	return broker.Config{
		URL: strings.Join(b.URLs, ","), Creds: b.Creds, NKey: b.NKey,
		User: b.User, Password: b.Password, Token: b.Token,
		CA: b.TLS.CA, Cert: b.TLS.Cert, Key: b.TLS.Key,
		Domain: b.Domain, Replicas: b.Replicas, AckWait: b.AckWait,
	}
}

// connect reaches the broker that a running weir serve uses, for the commands
// that only talk to it.
func connect(ctx context.Context, lg zerolog.Logger, cfg *config.Config) (*broker.Broker, error) {
	if cfg.Embedded == nil {
		return broker.Connect(ctx, lg, brokerConfig(cfg))
	}
	url, token, err := broker.ReadEndpoint(cfg.Embedded.Dir)
	if err != nil {
		return nil, err
	}
	return broker.Connect(ctx, lg, broker.Config{URL: url, Token: token})
}

// status asks the engine what a lane is doing.
func (s *service) status(ctx context.Context, lane string) consumer.LaneStatus {
	var reply consumer.Reply
	request, _ := json.Marshal(consumer.Command{Verb: consumer.VerbStatus})
	if err := json.Unmarshal(s.engine.Control(ctx, lane, request), &reply); err != nil || reply.Status == nil {
		return consumer.LaneStatus{Lane: lane}
	}
	return *reply.Status
}
