package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/schema"
)

// Store is where outcomes lie and where a lane's place is kept. Its errors are for
// the log; each call may be made again.
type Store interface {
	// Stream tells when the stream of the outcomes was made, and its last sequence.
	Stream(ctx context.Context) (created time.Time, last uint64, err error)
	// Next returns a lane's first outcome at or behind a sequence; nil if there is
	// none yet.
	Next(ctx context.Context, lane string, from uint64) (*Stored, error)
	// Place returns a lane's place, nil if it has none, and its revision.
	Place(ctx context.Context, lane string) (data []byte, revision uint64, err error)
	// SavePlace stores it if it still has the revision.
	SavePlace(ctx context.Context, lane string, data []byte, revision uint64) (uint64, error)
	// Keep copies an outcome that was given up, over an earlier copy; if it says
	// which, over that one alone, or consumer.ErrConflict.
	Keep(ctx context.Context, u Undelivered) error
	// Ordered returns a lane's first copy at or behind a sequence that a person
	// ordered to be sent again, and where to look next; nil if there is none.
	Ordered(ctx context.Context, lane string, from uint64) (u *Undelivered, next uint64, err error)
	// Discard removes a copy, if it is still the one of that sequence.
	Discard(ctx context.Context, lane, id string, sequence uint64) error
	// Hint returns a channel that says when a lane may have a new outcome, and what
	// ends that. Nothing depends on it but the haste.
	Hint(lane string) (news <-chan struct{}, stop func())
}

// Undelivered is an outcome that was given up.
type Undelivered struct {
	Sequence  uint64 // of the copy
	Lane, ID  string
	Kind      string
	Intent    string
	EventID   string // of the event, as far as it had one
	Source    string
	Published time.Time
	First     time.Time // since when it failed
	Last      time.Time // when it was given up
	Tries     int       // with a fault of its own
	Reason    string
	By        string // who ordered it to be sent again; empty: nobody
	Body      []byte // the CloudEvent as JSON
}

// Config is where a lane's outcomes go.
type Config struct {
	Lane    string
	URL     string
	Keys    func() ([]schema.Secret, error) // one or two
	Kinds   []string                        // nil: all
	Timeout time.Duration                   // of one try
	GiveUp  time.Duration
	Poll    time.Duration // for what nothing hints at; default 1 s
	Tried   func(Fault)   // hears of each answer, and returns at once; nil: nobody does
	// Transport carries the requests; nil: one of its own.
	Transport http.RoundTripper
}

// Bounds of the loop.
const (
	pollEach = time.Second            // by default
	saveEach = 500 * time.Millisecond // a place that changed
	keysFor  = 5 * time.Second        // keys that were read
	grace    = time.Second            // of requests at the end
	keepRest = time.Minute            // after a copy that could not be made
	readEach = 32                     // outcomes, until the answers are looked at
)

// Begin gives a lane a place, if it has none: it begins with what is published from
// now on.
func Begin(ctx context.Context, store Store, lane string) error {
	data, revision, err := store.Place(ctx, lane)
	if err != nil || data != nil {
		return err
	}
	created, last, err := store.Stream(ctx)
	if err != nil {
		return err
	}
	_, err = store.SavePlace(ctx, lane, Place{Stream: created, Floor: last}.encode(), revision)
	return err
}

// Deliverer delivers one lane's outcomes.
type Deliverer struct {
	lg    zerolog.Logger
	cfg   Config
	store Store
	post  *poster

	keys   []Key
	keysAt time.Time

	line     *line
	more     bool // is to be read at once
	revision uint64
	saved    int       // changes of line that are stored
	saveAt   time.Time // not before
	orders   uint64    // where to look for the next one
	ordersAt time.Time // not before
	ordering bool      // one is being sent
	answers  chan answer
	out      int // requests without an answer
}

// answer is what became of one request.
type answer struct {
	it    *item
	order *Undelivered // instead of it
	Verdict
}

// New returns the deliverer of a lane. Nothing happens before Run.
func New(lg zerolog.Logger, store Store, cfg Config) *Deliverer {
	cfg.Poll = cmp.Or(cfg.Poll, pollEach)
	if cfg.Tried == nil {
		cfg.Tried = func(Fault) {}
	}
	return &Deliverer{
		lg: lg.With().Str("lane", cfg.Lane).Logger(), cfg: cfg, store: store, post: newPoster(cfg),
		answers: make(chan answer),
	}
}

// Run delivers until ctx ends, and then for a second at most. An error is the
// store's; Run may be called again, and goes on where it is stored to be.
func (d *Deliverer) Run(ctx context.Context) error {
	defer d.post.client.CloseIdleConnections()
	if err := d.load(ctx); err != nil {
		return err
	}
	news, stop := d.store.Hint(d.cfg.Lane)
	defer stop()
	sending, stopSending := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSending()
	err := d.loop(ctx, sending, news)
	late := time.AfterFunc(grace, stopSending)
	defer late.Stop()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*grace)
	defer cancel()
	for d.out > 0 {
		a := <-d.answers
		if sending.Err() == nil { // else it says nothing of the endpoint
			err = errors.Join(err, d.take(last, a))
		} else {
			d.out--
		}
	}
	return errors.Join(err, d.save(last))
}

// load reads the place anew.
func (d *Deliverer) load(ctx context.Context) error {
	data, revision, err := d.store.Place(ctx, d.cfg.Lane)
	if err != nil {
		return err
	}
	if data == nil {
		return errors.New("the place of the lane's outcomes is gone")
	}
	p, err := ReadPlace(data)
	if err != nil {
		return err
	}
	created, last, err := d.store.Stream(ctx)
	if err != nil {
		return err
	}
	d.line = newLine(p.in(created, last), d.cfg.GiveUp)
	d.revision, d.saved, d.orders, d.ordering = revision, d.line.changes, 0, false
	// It is written before anything is posted: a former owner can write it no more,
	// and where nobody can, nothing is posted time and again.
	d.line.changes++
	return d.save(ctx)
}

func (d *Deliverer) loop(ctx, sending context.Context, news <-chan struct{}) error {
	for ctx.Err() == nil {
		for _, step := range []func(context.Context) error{d.read, d.drop, d.maybeSave} {
			if err := step(ctx); err != nil {
				return ended(ctx, err)
			}
		}
		if err := d.obey(ctx, sending); err != nil {
			return ended(ctx, err)
		}
		now := time.Now()
		send, wake := d.line.pick(now)
		for _, it := range send {
			if err := d.send(ctx, sending, it); err != nil {
				return ended(ctx, err)
			}
		}
		rest := d.cfg.Poll
		if d.more {
			rest = 0
		}
		if !wake.IsZero() {
			rest = min(rest, max(0, wake.Sub(now)))
		}
		if d.line.changes != d.saved {
			rest = min(rest, max(0, time.Until(d.saveAt)))
		}
		timer := time.NewTimer(rest)
		select {
		case a := <-d.answers:
			if err := d.take(ctx, a); err != nil {
				timer.Stop()
				return ended(ctx, err)
			}
		case <-news:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	return nil
}

// ended is err, unless it comes of the end.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // that is what it is for
	}
	return err
}

// read takes in what was published, not all at once: answers wait meanwhile.
func (d *Deliverer) read(ctx context.Context) error {
	d.more = false
	for range readEach {
		if !d.line.hungry() {
			return nil
		}
		s, err := d.store.Next(ctx, d.cfg.Lane, d.line.read+1)
		if err != nil || s == nil {
			return err
		}
		it := &item{Held: Held{Sequence: s.Sequence, Published: s.Published}, kind: s.Kind, body: s.Body}
		skip := d.cfg.Kinds != nil && !slices.Contains(d.cfg.Kinds, s.Kind)
		if !skip {
			p, err := pack(s.Body)
			if err != nil { // Weir wrote it: only a stranger's message is none
				d.lg.Error().Err(err).Uint64("sequence", s.Sequence).Msg("an outcome cannot be read, and is left out")
				skip = true
			}
			it.ID, it.Intent = p.id, p.intent
		}
		d.line.add(it, skip)
	}
	d.more = true
	return nil
}

// send begins one try. What was tried before is read again.
func (d *Deliverer) send(ctx, sending context.Context, it *item) error {
	if there, err := d.fill(ctx, it); err != nil || !there {
		it.busy = false
		return err
	}
	p, err := pack(it.body)
	if err != nil {
		return err
	}
	keys := d.signers()
	d.out++
	go func() { d.answers <- answer{it: it, Verdict: d.post.post(sending, p, keys)} }()
	return nil
}

// fill reads an item's body if it is not here, and reports whether it is there
// still: the stream forgets after outcomes.keep, and when it is full.
func (d *Deliverer) fill(ctx context.Context, it *item) (bool, error) {
	if it.body != nil {
		return true, nil
	}
	s, err := d.store.Next(ctx, d.cfg.Lane, it.Sequence)
	if err != nil {
		return false, err
	}
	if s == nil || s.Sequence != it.Sequence {
		d.lg.Error().Str("outcome", it.ID).Time("since", it.First).Str("reason", it.Reason).
			Msg("an outcome that could not be delivered has left its stream and is lost")
		d.line.done(it)
		return false, nil
	}
	it.kind, it.body = s.Kind, s.Body
	return true, nil
}

// take notes what a try has shown.
func (d *Deliverer) take(ctx context.Context, a answer) error {
	d.out--
	d.cfg.Tried(a.Fault)
	if a.order != nil {
		d.obeyed(ctx, a)
		return nil
	}
	failed, now := d.line.failing(), time.Now()
	over := d.line.settle(a.it, a.Verdict, now)
	d.tell(failed)
	switch {
	case !over:
		d.lg.Debug().Str("outcome", a.it.ID).Str("reason", a.Reason).Msg("an outcome was not delivered")
		return nil
	case a.Fault == Delivered:
		d.line.done(a.it)
		return nil
	}
	return d.abandon(ctx, a.it)
}

// tell says when an endpoint begins to fail, and when it ends.
func (d *Deliverer) tell(failed bool) {
	switch {
	case d.line.failing() && !failed:
		d.lg.Warn().Str("reason", d.line.reason).Msg("outcomes cannot be delivered")
	case !d.line.failing() && failed:
		d.lg.Info().Msg("outcomes are delivered again")
	}
}

// drop gives up what need not be tried any more.
func (d *Deliverer) drop(ctx context.Context) error {
	for _, it := range d.line.lost(time.Now()) {
		if it.rests(time.Now()) { // its copy could not be made just now
			continue
		}
		if err := d.abandon(ctx, it); err != nil {
			return err
		}
	}
	return nil
}

// abandon copies an outcome for a person. One that cannot be copied stays.
func (d *Deliverer) abandon(ctx context.Context, it *item) error {
	there, err := d.fill(ctx, it)
	if err != nil || !there {
		return err
	}
	u, err := undelivered(d.cfg.Lane, it, time.Now())
	if err != nil {
		return err
	}
	if err := d.store.Keep(ctx, u); err != nil {
		d.lg.Error().Err(err).Str("outcome", it.ID).Msg("an outcome that is given up cannot be kept; it is tried on")
		it.unkept, it.body, it.Next = true, nil, time.Now().Add(keepRest)
		it.First = or(it.First, time.Now())
		return nil
	}
	d.lg.Error().Str("outcome", it.ID).Str("kind", it.kind).Str("intent", it.Intent).Str("reason", it.Reason).
		Msg("an outcome was given up: see weir undelivered list")
	d.line.done(it)
	d.saveAt = time.Time{} // soon
	return nil
}

// maybeSave stores the place if it has changed and it is time.
func (d *Deliverer) maybeSave(ctx context.Context) error {
	if time.Now().Before(d.saveAt) {
		return nil
	}
	return d.save(ctx)
}

// save stores the place if it has changed.
func (d *Deliverer) save(ctx context.Context) error {
	changes := d.line.changes
	if changes == d.saved {
		return nil
	}
	data := d.line.place().encode()
	revision, err := d.store.SavePlace(ctx, d.cfg.Lane, data, d.revision)
	if err != nil {
		return fmt.Errorf("store the place: %w", err)
	}
	d.revision, d.saved, d.saveAt = revision, changes, time.Now().Add(saveEach)
	return nil
}

// signers are the keys that are valid now. While their file cannot be read they are
// those that it had.
func (d *Deliverer) signers() []Key {
	if d.keys != nil && time.Since(d.keysAt) < keysFor {
		return d.keys
	}
	d.keysAt = time.Now()
	secrets, err := d.cfg.Keys()
	keys := make([]Key, len(secrets))
	for i, s := range secrets {
		k, e := ParseKey(s)
		keys[i], err = k, cmp.Or(err, e)
	}
	if err != nil {
		d.lg.Warn().Err(err).Msg("the secret that outcomes are signed with cannot be read again; the earlier one stays")
		return d.keys
	}
	d.keys = keys
	return keys
}
