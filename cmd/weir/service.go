package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/anyreach"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/contact/register"
	"github.com/weirhq/weir/internal/guard"
	"github.com/weirhq/weir/internal/ledger"
	"github.com/weirhq/weir/internal/oration"
	"github.com/weirhq/weir/internal/owner"
	"github.com/weirhq/weir/internal/tracing"
	"github.com/weirhq/weir/ratelimiter"
)

// service is a running weir: the broker, this process's part among the replicas,
// and the engines of the accounts that it owns.
type service struct {
	tracing    *tracing.Tracing // nil: off
	lg         zerolog.Logger
	cfg        *config.Config
	embedded   *broker.Embedded // nil with a broker of the user's own
	broker     *broker.Broker
	ledger     *ledger.Ledger
	register   *register.Register
	replica    *owner.Replica
	providers  map[string]consumer.Provider // by lane
	lost       chan guard.Finding           // what a write showed
	room       room
	clock      *consumer.Clock
	figures    *figures
	scaler     *scaler
	stopping   atomic.Bool           // no more events are to be brought here
	doorstep   atomic.Pointer[error] // why no event can be stored; nil: it can
	eventsPoll time.Duration         // how often that is looked at
	scrubLook  time.Duration         // how often it is looked whether the broker was started anew

	atGate   func() // for tests: between the comparison and its acceptance
	atSwitch func() // for tests: between the reading of the gates and its effect

	// What an engine that begins reads of the switches is obeyed before anything
	// that is told of them later: read-locked from the reading to its effect.
	switching sync.RWMutex

	mu      sync.Mutex
	guard   *guard.Guard                // nil while another one looks after the state
	engines map[string]*consumer.Engine // by lane
	held    map[string]string           // why, by lane
}

func newService(lg zerolog.Logger, cfg *config.Config) *service {
	s := &service{
		lg: lg, cfg: cfg, clock: &consumer.Clock{}, eventsPoll: eventsPoll, scrubLook: scrubLook, lost: make(chan guard.Finding, 1),
		providers: make(map[string]consumer.Provider), engines: make(map[string]*consumer.Engine),
	}
	s.figures = newFigures(cfg, s.snapshot)
	s.scaler = newScaler(s.askLoads)
	s.tracing = newTracing(lg, cfg)
	return s
}

// startBroker starts or finds the broker, with its streams in place. The ledger
// is made first: its room is reserved before anything else can take it.
func startBroker(ctx context.Context, lg zerolog.Logger, cfg *config.Config) (s *service, err error) {
	s = newService(lg, cfg)  //nolint:contextcheck // nothing is connected yet
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
		bc = broker.Config{URL: s.embedded.URL(), Token: s.embedded.Token(), KeepOutcomes: cfg.Outcomes.Keep}
		bc.Room, lc.MaxBytes = s.embedded.Room()
	} else {
		bc = brokerConfig(cfg)
		lc.Replicas = bc.Replicas
	}
	bc.Room.Undelivered = undeliveredRoom(cfg)
	if s.broker, err = broker.Connect(ctx, lg, bc); err != nil {
		return nil, err
	}
	lc.Stored, lc.Lost = s.stored, s.wentBack
	if s.ledger, err = ledger.Open(ctx, s.broker.JetStream(), lc); err != nil {
		return nil, err
	}
	if err := s.broker.Provision(ctx); err != nil {
		return nil, err
	}
	return s, s.openRegister(ctx)
}

// startService brings up everything but what run does.
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
	if why != "" {
		if err := s.holdAll(ctx, "it was started with --hold: "+why); err != nil {
			return nil, err
		}
	}
	if err := s.broker.Adopt(ctx, s.lanes()); err != nil {
		return nil, err
	}
	return s, s.arm()
}

// arm makes the accounts' clients, finds what is wrong with their routes, and makes
// this process a replica.
func (s *service) arm() error {
	var errs []error
	for _, ac := range s.cfg.Accounts {
		client, err := provider(s.lg, ac)
		if err == nil {
			err = checkRoutes(client, ac)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("account %s: %w", ac.Name, err))
			continue
		}
		for _, lc := range ac.Lanes {
			s.providers[lc.Name] = client
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return s.enlist()
}

// account wires one account: its client, its limits, its lanes' queues.
func (s *service) account(ctx context.Context, ac config.Account) (consumer.AccountConfig, error) {
	out := consumer.AccountConfig{
		Name: ac.Name, Kind: ac.Provider,
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
	for _, lc := range ac.Lanes {
		out.Provider = s.providers[lc.Name] // one for all
		rules, err := contactRules(lc)
		if err != nil {
			return out, fmt.Errorf("lane %s: %w", lc.Name, err)
		}
		queues, err := s.broker.Lane(ctx, lc.Name)
		if err != nil {
			return out, fmt.Errorf("lane %s: %w", lc.Name, err)
		}
		out.Lanes = append(out.Lanes, consumer.LaneConfig{
			Name: lc.Name, Label: lc.Label, Weight: lc.Weight, Batch: lc.Batch,
			MaxEvent: int(lc.MaxEvent), DoubtLimit: lc.DoubtLimit,
			Resend: lc.Doubt == config.Resend, Attempts: lc.Attempts, Fresh: lc.ExpireAfter, JoinToken: lc.JoinToken, Dry: !lc.Send, Hooked: lc.Webhook.Secret != "",
			Routes: lc.Routes, Contact: rules, Redials: redials(lc.Contact), Channels: lc.Channels,
			High: queues.High, Events: queues.Events, Due: queues.Due,
		})
	}
	return out, nil
}

// checkRoutes joins what is wrong with the routes' requests whatever event comes,
// as far as the provider's client can tell.
func checkRoutes(client consumer.Provider, ac config.Account) error {
	checker, ok := client.(interface {
		CheckRoute(request map[string]any, open bool) error
	})
	if !ok {
		return nil
	}
	var errs []error
	for _, lc := range ac.Lanes {
		for i, r := range lc.Sources {
			if err := checker.CheckRoute(r.Request, len(r.Passthrough) > 0); err != nil {
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

// keep is how long events are kept: for ever while nobody can tell how old they
// are. For want of room those that are done are removed all the same.
func (s *service) keep() time.Duration {
	if s.clock.Trusted() != nil {
		return 100 * 365 * 24 * time.Hour
	}
	return s.cfg.Events.Keep
}

// trim removes old events that are done, now and then, until ctx ends. What it
// could not remove it tries again.
func (s *service) trim(ctx context.Context) {
	for {
		if err := s.trimAll(ctx); err != nil && ctx.Err() == nil {
			s.lg.Warn().Err(err).Msg("what is old was not removed")
		}
		if sleep(ctx, 10*time.Minute) != nil {
			return
		}
	}
}

// trimAll removes what is old of every lane, also of those that only another
// replica's file has: there is nobody else who does.
func (s *service) trimAll(ctx context.Context) error {
	lanes, err := s.everyLane(ctx)
	if err != nil {
		return err
	}
	gates, err := s.broker.Gates(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, lane := range lanes {
		if gates[lane].Held || s.holds(lane) != "" {
			continue // what is there may be needed to tell what was done
		}
		err := s.broker.Trim(ctx, lane, s.keep())
		if err == nil && s.clock.Trusted() == nil {
			err = errors.Join(s.prune(ctx, lane, time.Now()), s.dropOld(ctx, lane, time.Now()))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("lane %s: %w", lane, err))
		}
	}
	return errors.Join(errs...)
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

// observe enters a look at the broker's clock.
func (s *service) observe(look consumer.Sample) { s.clock.Observe(consumer.BrokerClock, look) }

// pause translates a stored pause.
func pause(p *broker.PauseRecord) *consumer.Pause {
	if p == nil {
		return nil
	}
	return &consumer.Pause{By: p.By, Reason: p.Reason, At: p.At}
}

// close ends the connection and the embedded broker.
func (s *service) close() error {
	var err error
	if s.broker != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = s.broker.Close(ctx)
	}
	s.dismiss()
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
		Domain: b.Domain, Inbox: b.Inbox, Replicas: b.Replicas, AckWait: b.AckWait, KeepOutcomes: cfg.Outcomes.Keep,
	}
}

// connect reaches the broker that a running weir serve uses, for the commands
// that only talk to it.
func connect(ctx context.Context, lg zerolog.Logger, cfg *config.Config) (*broker.Broker, error) {
	if cfg.Embedded == nil {
		bc := brokerConfig(cfg)
		bc.Room.Undelivered = undeliveredRoom(cfg)
		return broker.Connect(ctx, lg, bc)
	}
	url, token, err := broker.ReadEndpoint(cfg.Embedded.Dir)
	if err != nil {
		return nil, err
	}
	return broker.Connect(ctx, lg, broker.Config{
		URL: url, Token: token, Room: broker.Room{Undelivered: undeliveredRoom(cfg)}, KeepOutcomes: cfg.Outcomes.Keep,
	})
}

// status asks the engine what a lane is doing.
func (s *service) status(ctx context.Context, lane string) consumer.LaneStatus {
	var reply consumer.Reply
	request, _ := json.Marshal(consumer.Command{Verb: consumer.VerbStatus})
	e := s.engine(lane)
	if e == nil || json.Unmarshal(e.Control(ctx, lane, request), &reply) != nil || reply.Status == nil {
		return consumer.LaneStatus{Lane: lane}
	}
	return *reply.Status
}
