// Package register keeps who must not be contacted, and who was contacted when, in
// the bucket WEIR_CONTACT. It implements consumer.Register.
//
// # A person
//
// A person is a number in international form, or an e-mail address whose letters
// are all small. Keys hold no person but a hash: SHA-256, or HMAC-SHA-256 where
// there is a Config.Key, and then what is stored names nobody at all.
//
//	meta                  what the bucket is, see below
//	b.<hash>              a block: whom not to contact, and in which lanes
//	c.<purpose>.<hash>    an index of the intents that were about to contact somebody
//
// # Do not contact
//
// Admit reads a person's block from the leader, each time: there is no copy that
// could be old. So a block counts for each claim that begins after it was
// confirmed. What cannot be read, or was removed by another program (Weir removes
// nothing, it writes that somebody is allowed again), stops the event. And since a
// list that was lost looks like one that is empty, meta has a random id: it is
// read after the blocks, and another id than the one of before means that the
// bucket was made anew. Nothing is admitted then until Accept.
//
// # How often
//
// The record of a person and a purpose is an index: it names the intents that were
// given leave to contact this person. Only the ledger knows what became of them
// (consumer.Intent.Reach), so nothing need be written when a call is answered or
// ends, and there is nothing that could be out of step. An intent is entered by
// compare-and-set before it may be claimed, with N, its number of transitions.
// What a crash leaves, and what another event of the person makes of it:
//
//	entered, not claimed      the ledger has the same N: it may be about to be claimed.
//	                          The other waits until no claim that rests on this entry
//	                          could be sent any more, by its own clock, then it counts
//	                          for nothing. Its own redelivery enters it anew.
//	claimed                   started: the other waits. It becomes a doubt, and counts.
//	answered, not recorded    the same.
//	recorded                  created, ended or in doubt: it counts. Anything else under
//	                          another N: nobody was contacted, and it counts for nothing.
//
// An intent is never in its own way (H21).
package register

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/schema"
)

// Store is the bucket. internal/broker implements it.
type Store interface {
	// Contact returns the newest value of a key, as the leader has it, and its
	// revision: 0 if there is none, and nil with a revision if somebody removed it.
	Contact(ctx context.Context, key string) (data []byte, revision uint64, err error)
	// StoreContact writes a key if it still has the revision; consumer.ErrConflict
	// if not. It runs out after keep; 0 is never. After another error it may have
	// been written.
	StoreContact(ctx context.Context, key string, data []byte, revision uint64, keep time.Duration) error
	// Contacts calls seen with each key that begins with prefix, which ends in a
	// dot, until that returns an error. Data is nil if somebody removed it.
	Contacts(ctx context.Context, prefix string, seen func(key string, data []byte) error) error
}

// Config is how a register is kept. Zero fields get their defaults.
type Config struct {
	// Key makes the hashes; empty: whoever reads the bucket can read the people.
	Key schema.Secret
	// Lanes are those that count their contacts, by name.
	Lanes map[string]Limits
	// Ledger tells what became of an intent; needed if there are Lanes.
	Ledger consumer.Ledger
	// Trusted says why the time of day cannot be relied on; nil if it can. Default:
	// it can.
	Trusted func() error
	// ClaimAge is the engine's: the oldest claim that may be sent; 5 s.
	ClaimAge time.Duration
}

// Register implements consumer.Register. Its methods may be called concurrently.
type Register struct {
	store Store
	cfg   Config
	keep  map[string]time.Duration // of a purpose's records

	mu   sync.Mutex
	id   string               // of the bucket; empty: the next one is taken
	seen map[string]time.Time // when this process first saw an entry that may be claimed, by its nonce
}

var _ consumer.Register = (*Register)(nil)

// ErrKey is a register that was written with another key.
var ErrKey = errors.New("contact.key is not the one that the do-not-contact list was written with: give that one again, or else nobody on the list could be found")

// ErrAnew is a bucket that is not the one of before.
var ErrAnew = errors.New("the do-not-contact list (WEIR_CONTACT) is gone or was made anew")

// Open returns the register, which it begins if the bucket is empty.
func Open(ctx context.Context, store Store, cfg Config) (*Register, error) {
	cfg.ClaimAge = cmp.Or(cfg.ClaimAge, 5*time.Second)
	if cfg.Trusted == nil {
		cfg.Trusted = func() error { return nil }
	}
	r := &Register{store: store, cfg: cfg, keep: make(map[string]time.Duration), seen: make(map[string]time.Time)}
	for _, l := range cfg.Lanes {
		r.keep[l.Purpose] = max(r.keep[l.Purpose], l.remember())
	}
	if err := r.begin(ctx); err != nil {
		return nil, fmt.Errorf("open the do-not-contact list: %w", err)
	}
	return r, r.present(ctx)
}

// Accept takes the bucket as it is now for the one that must be there. Its lanes
// must be held.
func (r *Register) Accept() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.id = ""
}

// metaKey is where the bucket says what it is.
const metaKey = "meta"

// metaFormat is the major version of meta, and of all else in the bucket.
const metaFormat = 1

// meta is the stored form of what the bucket is.
type meta struct {
	V     int    `json:"v"`
	ID    string `json:"id"`    // random: of this bucket
	Check string `json:"check"` // of the key
}

// begin writes meta into a bucket that has none. Blocks without it are those of a
// bucket of which part is gone.
func (r *Register) begin(ctx context.Context) error {
	data, revision, err := r.store.Contact(ctx, metaKey)
	if err != nil || data != nil {
		return err
	}
	if err := r.store.Contacts(ctx, blockPrefix, func(string, []byte) error { return ErrAnew }); err != nil {
		return err
	}
	data, err = json.Marshal(meta{V: metaFormat, ID: rand.Text(), Check: r.check()})
	if err != nil {
		return err
	}
	err = r.store.StoreContact(ctx, metaKey, data, revision, 0)
	if errors.Is(err, consumer.ErrConflict) { // another one was faster
		return nil
	}
	return err
}

// check tells one key from another, and tells nothing of it.
func (r *Register) check() string {
	if r.cfg.Key == "" {
		return ""
	}
	return r.hash("weir: check of the key")[:16]
}

// present reports whether the bucket is the one of before, and the key its own.
func (r *Register) present(ctx context.Context) error {
	data, _, err := r.store.Contact(ctx, metaKey)
	if err != nil {
		return err
	}
	if data == nil {
		return ErrAnew
	}
	var m meta
	err = json.Unmarshal(data, &m)
	if m.V > metaFormat { // whatever else it has
		return fmt.Errorf("a newer Weir wrote WEIR_CONTACT (format %d, this one reads %d)", m.V, metaFormat)
	}
	if err != nil {
		return fmt.Errorf("what WEIR_CONTACT is cannot be read: %w", err)
	}
	if m.Check != r.check() {
		return ErrKey
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.id = cmp.Or(r.id, m.ID); r.id != m.ID {
		return ErrAnew
	}
	return nil
}

// hash is a person in a key.
func (r *Register) hash(text string) string {
	if r.cfg.Key == "" {
		sum := sha256.Sum256([]byte(text))
		return hex.EncodeToString(sum[:])
	}
	h := hmac.New(sha256.New, []byte(r.cfg.Key.Reveal()))
	h.Write([]byte(text))
	return hex.EncodeToString(h.Sum(nil))
}

// Admit implements consumer.Register.
func (r *Register) Admit(ctx context.Context, approaches []consumer.Approach) ([]consumer.Ruling, error) {
	rulings, whom := make([]consumer.Ruling, len(approaches)), make([][]Person, len(approaches))
	err := each(len(approaches), func(i int) (err error) {
		whom[i] = people(approaches[i].To)
		rulings[i], err = r.blocked(ctx, whom[i], approaches[i].Lane)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := r.present(ctx); err != nil { // after what it is to vouch for
		return nil, err
	}
	if len(r.cfg.Lanes) == 0 {
		return rulings, nil
	}
	err = each(len(approaches), func(i int) (err error) {
		a := approaches[i]
		if limits, ok := r.cfg.Lanes[a.Lane]; ok && rulings[i].Verdict == consumer.ContactNow {
			rulings[i], err = r.count(ctx, whom[i], limits, a)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return rulings, nil
}

// each does the same for all of n approaches at once.
func each(n int, do func(i int) error) error {
	if n == 1 {
		return do(0)
	}
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = do(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// blocked rules by the list on people whom a lane is about to contact.
func (r *Register) blocked(ctx context.Context, whom []Person, lane string) (consumer.Ruling, error) {
	for _, p := range whom {
		b, _, err := r.block(ctx, p)
		if err != nil {
			return strange(err)
		}
		if why := b.forbids(lane); why != "" {
			return consumer.Ruling{Verdict: consumer.ContactNever, Rule: consumer.RuleBlock, Reason: why}, nil
		}
	}
	return consumer.Ruling{Verdict: consumer.ContactNow}, nil
}

// count rules by how often, and enters the intent for each person whom its
// recipient is.
func (r *Register) count(ctx context.Context, whom []Person, l Limits, a consumer.Approach) (consumer.Ruling, error) {
	for _, p := range whom {
		ruling, err := r.enter(ctx, p, l, a)
		if err != nil || ruling.Verdict != consumer.ContactNow {
			return ruling, err
		}
	}
	return consumer.Ruling{Verdict: consumer.ContactNow}, nil
}

// unreadableWait is how long an event waits of whose person nobody can tell.
const unreadableWait = time.Minute

// errStrange is what cannot be read for good. It concerns one person alone.
var errStrange = errors.New("cannot be read")

// strange makes an error that concerns one person alone a ruling: the others need
// not wait for it.
func strange(err error) (consumer.Ruling, error) {
	if errors.Is(err, errStrange) || errors.Is(err, consumer.ErrStrange) {
		return consumer.Ruling{Verdict: consumer.ContactLater, Rule: consumer.RuleUnreadable, Until: time.Now().Add(unreadableWait), Reason: err.Error()}, nil
	}
	return consumer.Ruling{}, err
}
