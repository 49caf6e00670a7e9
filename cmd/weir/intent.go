package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/ledger"
)

// How long a command waits before it tells the user that nobody answers.
const (
	reachFor  = 10 * time.Second // for the broker, or one read of the ledger: longer than an election
	probeFor  = 2 * time.Second  // for the ledger, after a read of it has failed
	answerFor = 15 * time.Second // for the owner of a lane
)

// notRunningError is an embedded broker that nobody has started.
type notRunningError struct{ dir string }

func (e notRunningError) Error() string {
	return fmt.Sprintf("the embedded broker in %s is not running; start weir serve and try again", e.dir)
}

// errNeverServed is a broker without Weir's streams.
var errNeverServed = errors.New("weir serve has never run on this broker; start it once and try again")

// desk is what a command works with that talks to the broker of a weir serve.
// It writes no ledger entry: only the lane's owner does.
type desk struct {
	cfg    *config.Config
	broker *broker.Broker
	ledger *ledger.Ledger // nil if weir serve has never run on this broker
}

// atDesk connects, does the work and closes the connection.
func (a *app) atDesk(work func(*desk) error) (err error) {
	cfg, err := a.brokerConfig()
	if err != nil {
		return err
	}
	return a.atDeskOf(cfg, work)
}

// atDeskOf is atDesk with a configuration that was read already.
func (a *app) atDeskOf(cfg *config.Config, work func(*desk) error) error {
	return a.withBroker(cfg, func(b *broker.Broker) error {
		d := &desk{cfg: cfg, broker: b}
		var err error
		if d.ledger, err = openLedger(a.ctx, b.JetStream(), reachFor); err != nil {
			return err
		}
		return work(d)
	})
}

// withBroker connects, does the work and closes the connection.
func (a *app) withBroker(cfg *config.Config, work func(*broker.Broker) error) error {
	b, err := reach(a.ctx, a.quiet(), cfg)
	if err != nil {
		return err
	}
	return a.lend(b, work)
}

// lend does the work with a connection and closes it.
func (a *app) lend(b *broker.Broker, work func(*broker.Broker) error) (err error) {
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(a.ctx), reachFor)
		defer cancel()
		err = errors.Join(err, b.Close(ctx))
	}()
	return work(b)
}

// quiet is the logger of a command whose result is what it prints: that it
// connected is no news.
func (a *app) quiet() zerolog.Logger {
	if a.lg.GetLevel() == zerolog.InfoLevel {
		return a.lg.Level(zerolog.WarnLevel)
	}
	return a.lg
}

// reach connects to the broker that weir serve uses, if it answers soon.
func reach(ctx context.Context, lg zerolog.Logger, cfg *config.Config) (*broker.Broker, error) {
	ctx, cancel := context.WithTimeout(ctx, reachFor)
	defer cancel()
	if cfg.Embedded != nil {
		if err := knock(ctx, cfg.Embedded.Dir); err != nil {
			return nil, err
		}
	}
	return connect(ctx, lg, cfg)
}

// knock fails if nobody listens where the embedded broker's endpoint file says.
// The file outlives the broker.
func knock(ctx context.Context, dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return notRunningError{dir}
	}
	address, _, err := broker.ReadEndpoint(dir)
	if err != nil {
		return err
	}
	u, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("address of the embedded broker: %w", err)
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return notRunningError{dir}
	}
	return conn.Close()
}

// openLedger opens the ledger for reading. One that does not exist is not made
// here, and an existing one keeps its room. budget is how long one read may take:
// somebody waits for it.
func openLedger(ctx context.Context, js jetstream.JetStream, budget time.Duration) (*ledger.Ledger, error) {
	s, err := js.Stream(ctx, ledger.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil //nolint:nilnil // weir serve has never run here
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", ledger.Stream, err)
	}
	return ledger.Open(ctx, js, ledger.Config{MaxBytes: s.CachedInfo().Config.MaxBytes, Budget: budget})
}

// lanes yields each lane with its account, in the configuration's order.
func (d *desk) lanes() iter.Seq2[config.Account, config.Lane] {
	return func(yield func(config.Account, config.Lane) bool) {
		for _, ac := range d.cfg.Accounts {
			for _, lc := range ac.Lanes {
				if !yield(ac, lc) {
					return
				}
			}
		}
	}
}

// laneNames returns the names of all lanes.
func (d *desk) laneNames() []string {
	var names []string
	for _, lc := range d.lanes() {
		names = append(names, lc.Name)
	}
	return names
}

// checkLane refuses a lane that the configuration does not have.
func (d *desk) checkLane(name string) error {
	if names := d.laneNames(); !slices.Contains(names, name) {
		return usageError{fmt.Errorf("no lane is called %q; the lanes are: %s", name, strings.Join(names, ", "))}
	}
	return nil
}

// command asks the owner of a lane to act.
func (d *desk) command(ctx context.Context, lane string, c consumer.Command) (consumer.Reply, error) {
	var reply consumer.Reply
	request, err := json.Marshal(c)
	if err != nil {
		return reply, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerFor)
	defer cancel()
	answer, err := d.broker.Control(ctx, lane, request)
	if err != nil {
		return reply, err
	}
	if err := json.Unmarshal(answer, &reply); err != nil {
		return reply, fmt.Errorf("the answer of weir serve is not readable: %w", err)
	}
	if reply.Error != "" {
		return reply, errors.New(reply.Error)
	}
	return reply, nil
}

// statusFor is how long the owner of a lane may take to say what it does.
const statusFor = 5 * time.Second

// status asks the owner of a lane what it does; nil if it does not say.
func (d *desk) status(ctx context.Context, lane string) (*consumer.LaneStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, statusFor)
	defer cancel()
	reply, err := d.command(ctx, lane, consumer.Command{Verb: consumer.VerbStatus})
	return reply.Status, err
}

// kept is a letter with what the ledger says of its event now.
type kept struct {
	consumer.Letter
	now consumer.Intent
}

// stays reports whether the event is still in the letter's state.
func (k kept) stays() bool { return k.now.State == k.State }

// letters yields the kept letters in a state, also those whose event has left
// it since, each intent's once: a letter that is replaced while they are read
// would come again. One that cannot be read is yielded as an error. So is, without
// an intent and as the last, that no more can be read.
func (d *desk) letters(ctx context.Context, state consumer.State, lane string) iter.Seq2[kept, error] {
	return func(yield func(kept, error) bool) {
		if d.ledger == nil {
			return
		}
		seen := make(map[string]bool)
		for l, err := range d.broker.Letters(ctx, state, lane) {
			if errors.Is(err, jetstream.ErrStreamNotFound) {
				return
			}
			if seen[l.Intent] {
				continue
			}
			seen[l.Intent] = l.Intent != ""
			k := kept{Letter: l}
			if err == nil {
				k.now, _, err = d.ledger.Load(ctx, l.Lane, l.Intent)
				if err != nil && !d.ledgerAnswers(ctx) { // each letter would wait as long
					yield(kept{}, fmt.Errorf("%w; neither this letter nor any after it was read", err))
					return
				}
			}
			if !yield(k, err) {
				return
			}
		}
	}
}

// ledgerAnswers reports whether the ledger can be read at all, so that a read that
// failed is the fault of the one entry. It asks for an entry that cannot exist.
func (d *desk) ledgerAnswers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, probeFor)
	defer cancel()
	_, _, err := d.ledger.Load(ctx, "none", uuid.Nil.String())
	return err == nil
}

// pick returns the letters whose event is still in the state and that the
// filter takes, without their contents. What could not be read is an error
// beside the rest.
func (d *desk) pick(ctx context.Context, state consumer.State, lane string, take func(kept) bool) ([]kept, error) {
	var picked []kept
	var errs []error
	for k, err := range d.letters(ctx, state, lane) {
		switch {
		case err != nil:
			errs = append(errs, err)
		case k.stays() && take(k):
			k.Header, k.Data, k.now.History = nil, nil, nil
			picked = append(picked, k)
		}
	}
	return picked, errors.Join(errs...)
}

// minPrefix is how much of an intent's key must be given at least.
const minPrefix = 4

// named reports whether a person's word means this letter: the intent's key,
// the beginning of it, or the event's id.
func named(l consumer.Letter, word string) bool {
	if word == "" {
		return false // else it would mean each event without an id
	}
	return l.ID == word || len(word) >= minPrefix && strings.HasPrefix(l.Intent, strings.ToLower(word))
}

// find returns the letter that each word means. An event that has left the
// state and whose letter is gone is found by its whole key.
func (d *desk) find(ctx context.Context, state consumer.State, lane string, words []string) ([]kept, error) {
	found := make([][]kept, len(words))
	for k, err := range d.letters(ctx, state, lane) {
		if err != nil && k.Intent == "" {
			return nil, err
		}
		for i, word := range words {
			if !named(k.Letter, word) {
				continue
			}
			if err != nil {
				return nil, err
			}
			found[i] = append(found[i], k)
		}
	}
	one := make([]kept, len(words))
	var errs []error
	for i, word := range words {
		var err error
		if one[i], err = d.single(ctx, state, lane, word, found[i]); err != nil {
			errs = append(errs, err)
		}
	}
	return one, errors.Join(errs...)
}

// single returns the one letter that a word means.
func (d *desk) single(ctx context.Context, state consumer.State, lane, word string, found []kept) (kept, error) {
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return d.elsewhere(ctx, state, lane, word)
	}
	var names []string
	for _, k := range found[:min(len(found), 5)] {
		names = append(names, k.Lane+" "+k.Intent)
	}
	if len(found) > len(names) {
		names = append(names, "…")
	}
	return kept{}, fmt.Errorf("%q means %d events; name one by its key, or give --lane: %s", word, len(found), strings.Join(names, ", "))
}

// elsewhere looks in the ledger for an event without a letter.
func (d *desk) elsewhere(ctx context.Context, state consumer.State, lane, word string) (kept, error) {
	none := fmt.Errorf("no event in state %s is called %q; look with weir %s list", state, word, state)
	id, err := uuid.Parse(word)
	if err != nil || d.ledger == nil {
		return kept{}, none
	}
	for _, name := range d.laneNames() {
		if lane != "" && lane != name {
			continue
		}
		in, _, err := d.ledger.Load(ctx, name, id.String())
		if err != nil {
			return kept{}, err
		}
		if in.State != consumer.Absent {
			return kept{Letter: consumer.Letter{
				Lane: name, Intent: in.Key, State: state, ID: in.ID, Source: in.Source, Type: in.Type,
			}, now: in}, nil
		}
	}
	return kept{}, none
}

// told is a state in the words of an answer to "send it again".
func told(s consumer.State) string {
	switch s {
	case consumer.Created, consumer.Ended:
		return "already created"
	case consumer.Started:
		return "being sent"
	case consumer.Waiting:
		return "waiting to be sent"
	case consumer.Doubt:
		return "in doubt; see weir doubt list"
	case consumer.Absent:
		return "not in the ledger"
	default:
		return "already " + string(s)
	}
}

// decision is what every act of a person carries.
type decision struct {
	Reason string `placeholder:"TEXT" help:"Why; kept with the event or lane."`
	By     string `placeholder:"NAME" help:"Who decides; default: the environment's USER."`
}

// signed returns the decision with its name filled in.
func (c decision) signed(a *app) (decision, error) {
	c.Reason = strings.TrimSpace(c.Reason)
	c.By = strings.TrimSpace(cmp.Or(c.By, a.getenv("USER")))
	if c.Reason == "" {
		return c, usageError{errors.New("why? give --reason TEXT")}
	}
	if c.By == "" {
		return c, usageError{errors.New("who decides? give --by NAME")}
	}
	return c, nil
}

// signedUnless is signed, but for a look alone, which nobody has to answer for.
func (c decision) signedUnless(look bool, a *app) (decision, error) {
	if look {
		return c, nil
	}
	return c.signed(a)
}
