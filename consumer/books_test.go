package consumer_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/schema"
)

// books hold the invariants of a world against each step that is made in it: I1
// to I9 of the design, and that two owners never send at once. A nil books holds
// nothing. All is under world.mu; only post takes it itself.
type books struct {
	w        *world
	broken   []string
	heard    map[string]bool     // outcomes, by intent and kind
	accounts map[string]*account // what the outcomes tell, by intent
	released map[string]int      // how often a named person had a doubt sent again
	refused  map[string]bool     // the provider rejected it
	robbed   map[string]bool     // the broker lost its schedule: the sweep brings it back
	most     int                 // messages that one process may hold
	stopped  time.Time           // since when a person has stopped the lane; zero: not
	lease    lease
	writer   map[string]*process // who wrote an entry last
	redials  int                 // how often an unanswered call is made again

	withdrawn map[string]bool // intents of which somebody was told that they are cancelled
}

// lease says which process may send.
type lease struct {
	holder  *process
	arrived time.Time // its last renewal
}

func newBooks(w *world) *books {
	return &books{
		w: w, heard: make(map[string]bool), accounts: make(map[string]*account), released: make(map[string]int), robbed: make(map[string]bool),
		refused: make(map[string]bool), writer: make(map[string]*process), withdrawn: make(map[string]bool),
	}
}

// fail notes that a promise is broken.
func (b *books) fail(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	b.w.note("BROKEN %s", line)
	b.broken = append(b.broken, line)
}

// post is asked when the first byte of a request goes out.
func (b *books) post(p *process, batch consumer.Batch) {
	if b == nil {
		return
	}
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	if p.dry {
		b.fail("a byte of a process that only rehearses")
	}
	for _, it := range batch.Items {
		s := b.w.entries["l."+it.Intent]
		if b.withdrawn[it.Intent] {
			b.fail("a byte for %s, which was withdrawn", s.intent.ID)
		}
		if of := s.intent.RedialOf; of != "" && b.withdrawn[consumer.Key("l", "/crm", of)] {
			b.fail("a byte for %s, and %s was withdrawn", s.intent.ID, of)
		}
		if in := s.intent; in.State != consumer.Started || in.Claims != it.Attempt || b.writer[it.Intent] != p {
			b.fail("I3: a byte for %s, attempt %d, without a claim of this process: %s, claim %d", in.ID, it.Attempt, in.State, in.Claims)
		}
	}
	for _, it := range batch.Items {
		if h := b.w.hours; h != nil && h.Judge(it.Intent, time.Now()).Verdict != consumer.ContactNow {
			b.fail("a byte for %s, whom nobody may contact now", it.Intent)
		}
	}
	for _, it := range batch.Items {
		if b.w.blockedFor(it.Intent) > claimAge {
			b.fail("a byte for %s, whose person was blocked %v ago", it.Intent, b.w.blockedFor(it.Intent))
		}
		if life := b.w.lives[it.Intent]; !life.includes(time.Now()) {
			b.fail("a byte for %s outside its lifetime, %v", it.Intent, life)
		}
	}
	if b.lease.holder != p {
		b.fail("H12: a byte of a process that is not the owner")
	}
	if !b.stopped.IsZero() && b.stopped.Before(time.Now()) {
		b.fail("a byte while the lane is paused")
	}
}

// create is asked when a conversation was made.
func (b *books) create(it consumer.Item) {
	if b == nil {
		return
	}
	most := 1
	if !b.w.ids {
		most += b.released[it.Intent]
	}
	if n := len(b.w.made[it.Intent]); n > most {
		b.fail("I2: %s has %d conversations, %d allowed", it.Intent, n, most)
	}
	if n := b.w.alive(); n > b.w.limit {
		b.fail("I5: %d conversations live, limit %d", n, b.w.limit)
	}
}

// store is asked when the ledger takes an entry.
func (b *books) store(p *process, old, next consumer.Intent) {
	if b == nil {
		return
	}
	id := next.ID
	if next.N == old.N && next.State == old.State && len(next.History) == len(old.History) && old.N > 0 {
		return // something to show to a person, and no change
	}
	b.writer[next.Key] = p
	last := next.History[len(next.History)-1]
	if next.N != old.N+1 || last.N != next.N || last.State != next.State {
		b.fail("I8: %s went from n %d to n %d, with n %d in its history", id, old.N, next.N, last.N)
	}
	if n := len(next.History); n > 1 && n < consumer.HistoryLimit && (n != len(old.History)+1 || next.History[n-2].N != old.N) {
		b.fail("I8: %s lost a line of its history", id)
	}
	switch {
	case old.State == consumer.Ended && next.State != consumer.Ended, old.State == consumer.Created && next.State != consumer.Created && next.State != consumer.Ended:
		b.fail("%s was %s and is %s", id, old.State, next.State)
	case old.State == consumer.Started && next.State == consumer.Started && len(next.Others) == len(old.Others):
		b.fail("I3: a claim of %s over a claim", id)
	}
	switch next.State {
	case consumer.Started:
		if p.dry {
			b.fail("a claim of %s by a process that only rehearses", id)
		}
		b.claim(old, next, last)
	case consumer.Suppressed:
		forbidden := next.Class == string(schema.ClassContact) && (b.w.hours != nil && b.w.hours.forbids(next.Key) || b.w.blocked(next.Key))
		if !forbidden && (!p.dry || next.Class != consumer.ClassDryRun || old.State != consumer.Absent && old.State != consumer.Waiting) {
			b.fail("%s is suppressed out of %q, class %q, by a process that sends", id, old.State, next.Class)
		}
		if len(b.w.made[next.Key]) > 0 {
			b.fail("%s was sent, and the ledger says that it was not", id)
		}
	case consumer.Expired:
		if life := b.w.lives[next.Key]; !life.over(time.Now()) {
			b.fail("%s is expired, and is not over: %v", id, life)
		}
		if len(b.w.made[next.Key]) > 0 {
			b.fail("%s was sent, and the ledger says that it was not", id)
		}
	case consumer.Ended:
		if !b.heard[next.Key+" ended"] {
			b.fail("I8: the end of %s is written before it is told", id)
		}
	case consumer.Cancelled:
		if sent := len(b.w.made[next.Key]) > 0; sent && b.released[next.Key] == 0 && !b.w.ids && (old.State == consumer.Absent || old.State == consumer.Waiting) {
			b.fail("%s has a conversation and is withdrawn", id)
		}
	case consumer.Waiting, consumer.Dead:
		if len(b.w.made[next.Key]) > 0 && b.released[next.Key] == 0 && !b.w.ids {
			b.fail("I2: %s has a conversation and is %s", id, next.State)
		}
	}
}

// claim is store for a permission to send.
func (b *books) claim(old, next consumer.Intent, last consumer.Transition) {
	if last.By == "" && old.NotBefore.After(time.Now()) {
		b.fail("I6: %s is claimed %v before its time", next.ID, time.Until(old.NotBefore))
	}
	if old.State == consumer.Doubt {
		switch {
		case last.By != "":
			b.released[next.Key]++
		case !b.w.ids:
			b.fail("I2: the doubt of %s is sent again by itself", next.ID)
		}
	}
}

func (b *books) publish(kind string, ev event.Event) {
	if b == nil {
		return
	}
	var data consumer.OutcomeData
	if err := ev.DataAs(&data); err != nil {
		b.fail("an outcome that cannot be read: %v", err)
	}
	if kind == "ended" && !b.heard[data.Intent+" created"] {
		b.fail("the end of %s is told before its beginning", data.EventID)
	}
	b.heard[data.Intent+" "+kind] = true
	if b.accounts[data.Intent] == nil {
		b.accounts[data.Intent] = newAccount()
	}
	b.accounts[data.Intent].hear(ev.ID(), data)
}

// ack is asked when the broker takes an acknowledgement: another message stands
// for the event, or its state is durable and told.
func (b *books) ack(r *record) {
	if b == nil || r.key == "" || r.acked {
		return
	}
	if slices.ContainsFunc(b.w.due.msgs, func(o *record) bool { return o != r && o.key == r.key && !o.acked }) ||
		slices.ContainsFunc(b.w.events.msgs, func(o *record) bool { return o != r && o.key == r.key && !o.acked }) {
		return
	}
	if in := b.w.entries["l."+r.key].intent; !b.durable(in) {
		b.fail("I4: the last message of %s is acknowledged, which is %q", r.key, in.State)
	}
}

// durable reports whether all that an entry's state promises was done.
func (b *books) durable(in consumer.Intent) bool {
	_, kept := b.w.letters[in.Key]
	heard := func(kind string) bool { return b.heard[in.Key+" "+kind] }
	switch in.State {
	case consumer.Created:
		return heard("created")
	case consumer.Ended:
		return heard("created") && heard("ended")
	case consumer.Dead:
		return kept && heard("rejected")
	case consumer.Doubt:
		return in.Settled() && kept && heard("doubt")
	case consumer.Suppressed:
		return heard("suppressed")
	case consumer.Expired:
		return heard("expired")
	case consumer.Cancelled:
		dropped := len(in.History) > 1 && in.History[len(in.History)-2].State != consumer.Waiting
		return heard("cancelled") || in.Claims > 0 || dropped // of a drop: told after it, by whoever decided
	case consumer.Waiting:
		return in.Later && (b.w.stillDue(in.Key) || b.robbed[in.Key])
	default:
		return false
	}
}

// hold is asked when a process has fetched.
func (b *books) hold(p *process) {
	if b == nil {
		return
	}
	n, now := 0, time.Now()
	for _, s := range []*stream{b.w.events, b.w.due} {
		for _, r := range s.msgs {
			if r.holder == p && !r.acked && r.ready.After(now) {
				n++
			}
		}
	}
	if n > b.most {
		b.fail("I9: one process holds %d messages, %d allowed", n, b.most)
	}
}

// lead is one event of a storm, and what may become of it.
type lead struct {
	key, id string
	bad     bool // it cannot be sent
	mended  bool // a person tried to correct it
}

// close holds the books against the ledger and the provider at the end, when
// nothing runs any more: I1, I7.
func (b *books) close(leads []*lead) {
	w := b.w
	leads = b.closeRedials(leads)
	if n := w.unacked(); n != 0 {
		b.fail("I7: messages left: %d", n)
	}
	if len(w.entries) != len(leads) {
		b.fail("I1: %d entries for %d events", len(w.entries), len(leads))
	}
	for _, l := range leads {
		in := w.entries["l."+l.key].intent
		made := len(w.made[l.key])
		told := b.accounts[l.key].state()
		// A fact is told before it is written down. If the process dies between the
		// two, and no webhook comes again, the ledger stays behind: in doubt, or as a
		// person who was not told of it ended the doubt.
		ahead := (in.State == consumer.Doubt || in.State == consumer.Cancelled) && told == "created" && made > 0
		if told != consumer.OutcomeKind(in.State) && !ahead {
			b.fail("I1: %s is %s, and its outcomes tell that it is %q: %v", l.id, in.State, told, b.accounts[l.key])
		}
		switch {
		case !in.Settled():
			b.fail("I7: %s is %q in the end: %s", l.id, in.State, in.Reason)
		case !b.durable(in), in.State == consumer.Cancelled && !b.heard[in.Key+" cancelled"]:
			b.fail("I1: %s is %s, and that is not told or kept", l.id, in.State)
		case in.State == consumer.Ended && (l.bad && !l.mended || made == 0):
			b.fail("I8: %s is ended with %d conversations", l.id, made)
		case in.State == consumer.Dead && !l.bad && !b.refused[l.key]:
			b.fail("I1: %s is dead without a reason: %s", l.id, in.Reason)
		case in.State == consumer.Dead && made > 0 && b.released[l.key] == 0:
			b.fail("I2: %s is dead and was called", l.id)
		case in.State == consumer.Doubt && w.ids && !strings.Contains(in.Reason, "cannot be looked up") && !strings.HasPrefix(in.Reason, "dry run"):
			b.fail("I7: %s is in doubt although its provider takes our id: %s", l.id, in.Reason)
		}
	}
}

// findings are the first few.
func (b *books) findings() string {
	return strings.Join(b.broken[:min(len(b.broken), 10)], "\n")
}
