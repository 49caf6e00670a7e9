package consumer_test

import (
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/weirhq/weir/consumer"
)

// chance is what goes wrong in a world by itself, from a seed, until it is calm.
// All is under world.mu.
type chance struct {
	rand *rand.Rand
	calm bool
	met  map[fault]int
	late sync.WaitGroup // writes that may be stored late

	stalled    time.Time // until when the broker answers nothing
	bottomless bool      // the provider takes whatever comes, and never says that it is full
	granted    int       // the provider's own limit, where it has one
	deniedTo   time.Time // until when it refuses the credentials
}

// fault is a kind of thing that goes wrong. Each has its number in the summary of
// tools/storm, and one that no world met fails it.
type fault string

// What the models do of themselves. The number says how often: once in so many
// occasions.
const (
	ackForgotten      fault = "broker: an ack is forgotten"
	nakForgotten      fault = "broker: a delay is forgotten"
	nakLost           fault = "broker: a nak is lost"
	nakLate           fault = "broker: a delay ends late"
	beatLost          fault = "broker: a sign of life is lost"
	deliveredTwice    fault = "broker: delivered again while at work"
	deliveredEarly    fault = "broker: delivered before its time"
	writeLost         fault = "broker: a write is lost"
	answerOfWriteLost fault = "broker: a write is stored, its answer lost"
	writeStoredLate   fault = "broker: a write is stored after it was given up"
	readFailed        fault = "broker: a read fails"
	scanFailed        fault = "broker: a scan breaks off"

	orphanRequest fault = "provider: it obeys a process that died meanwhile"
	slowAnswer    fault = "provider: it answers late"
	lateAnswer    fault = "provider: its answer is too late"
	answerLost    fault = "provider: it obeys, its answer is lost"
	requestLost   fault = "provider: the request is lost on the way"
	notReached    fault = "provider: no connection"
	saysFull      fault = "provider: 429"
	saysLater     fault = "provider: 429 with Retry-After"
	createsSome   fault = "provider: it creates some of a batch"
	itemError     fault = "provider: an item error"
	rejects       fault = "provider: a rejection"
	denies        fault = "provider: the credentials are refused"
	wrongURL      fault = "provider: an answer of something else"
	clientPanics  fault = "provider: the client panics"
	endsEarly     fault = "provider: a call ends at once"
	endsLate      fault = "provider: a call is long"
	lookFails     fault = "provider: a look fails"
	lookHides     fault = "provider: a look does not show a conversation"
	listFails     fault = "provider: a list fails"
	listHides     fault = "provider: a list leaves one out"
	unseen        fault = "provider: a new conversation is not seen yet"
)

// What the story does (see storm).
const (
	killedAt      fault = "process: killed"
	standsStill   fault = "process: stands still and goes on"
	twoAlive      fault = "process: a second one takes over while the first still runs"
	rehearses     fault = "process: its file says that nothing is sent"
	election      fault = "broker: no leader for seconds"
	noQuorum      fault = "broker: no quorum for minutes"
	reset         fault = "broker: the consumer is reset"
	scheduleLost  fault = "broker: a schedule is lost"
	limitFalls    fault = "provider: its limit falls"
	replayed      fault = "person: a replay"
	replayedTwice fault = "person: two replays at once"
	replayedLate  fault = "person: a replay of what was seen before"
	corrected     fault = "person: a replay with a corrected event"
	retried       fault = "person: a doubt is sent again"
	settled       fault = "person: a doubt is settled as created"
	dropped       fault = "person: a drop"
	paused        fault = "person: a pause"
	withdrawn     fault = "person: an event is withdrawn"
	withdrawnSoon fault = "person: an event is withdrawn before it is published"
	withdrawnLate fault = "person: an event is to be withdrawn that was sent"
	twice         fault = "publisher: an event comes twice"
	conflicts     fault = "publisher: one id with two contents"
	unreadable    fault = "publisher: an event that cannot be read"
	impossible    fault = "publisher: an event without a number"
)

// odds are those of the faults that the models decide about.
var odds = map[fault]int{
	ackForgotten: 15, nakForgotten: 15, nakLost: 30, nakLate: 20, beatLost: 20, deliveredTwice: 120, deliveredEarly: 60,
	writeLost: 30, answerOfWriteLost: 30, writeStoredLate: 2, readFailed: 40, scanFailed: 5,
	orphanRequest: 2, slowAnswer: 15, lateAnswer: 2,
	answerLost: 12, requestLost: 20, notReached: 14, saysFull: 20, saysLater: 20, createsSome: 3, itemError: 30, rejects: 25,
	denies: 80, wrongURL: 150, clientPanics: 80, endsEarly: 4, endsLate: 12,
	lookFails: 25, lookHides: 25, listFails: 2, listHides: 2, unseen: 2,
}

// acts are the others.
var storyFaults = []fault{
	killedAt, standsStill, twoAlive, rehearses, election, noQuorum, reset, scheduleLost, limitFalls, replayed, replayedTwice, replayedLate,
	corrected, retried, settled, dropped, paused, withdrawn, withdrawnSoon, withdrawnLate, twice, conflicts, unreadable, impossible,
}

// strikes reports whether a fault happens now. The caller holds mu.
func (w *world) strikes(f fault) bool {
	c := w.chance
	if c == nil || c.calm || c.rand.IntN(odds[f]) > 0 {
		return false
	}
	w.meet(f)
	return true
}

// meet counts a fault. The caller holds mu.
func (w *world) meet(f fault) {
	w.chance.met[f]++
	w.note("-- %s", f)
}

// upTo is a part of d. The caller holds world.mu.
func (c *chance) upTo(d time.Duration) time.Duration { return time.Duration(c.rand.Int64N(int64(d))) }

var errSilent = errors.New("the broker does not answer")

// reach waits while the broker has no leader, as long as a client does.
func (w *world) reach(patience time.Duration) error {
	var left time.Duration
	w.do(func() {
		if w.chance != nil {
			left = time.Until(w.chance.stalled)
		}
	})
	if left <= 0 {
		return nil
	}
	if time.Sleep(min(left, patience)); left > patience {
		return errSilent
	}
	return nil
}

// storeLate gives a write that was given up a chance of being stored when the
// broker has a leader again.
func (w *world) storeLate(p *process, what string, apply func(seen bool) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.dead || w.chance.rand.IntN(odds[writeStoredLate]) > 0 {
		return
	}
	until := w.chance.stalled
	w.chance.late.Go(func() {
		time.Sleep(time.Until(until))
		w.mu.Lock()
		defer w.mu.Unlock()
		w.meet(writeStoredLate)
		err := apply(false)
		w.note("a late %s of an earlier time: %v", what, err)
	})
}

// tooSoon reports whether a message that may not be delivered yet is all the same.
// The caller holds mu.
func (w *world) tooSoon(r *record) bool {
	switch {
	case w.chance == nil || r.delivered == 0:
		return false
	case r.holder != nil:
		return w.strikes(deliveredTwice)
	default:
		return w.strikes(deliveredEarly)
	}
}

// slow is how much later than usual an answer comes.
func (w *world) slow() (d time.Duration) {
	w.do(func() {
		if w.strikes(slowAnswer) {
			d = w.chance.upTo(12 * time.Second)
		}
	})
	return d
}

// callLength is that of a new call. The caller holds mu.
func (w *world) callLength() time.Duration {
	switch {
	case w.strikes(endsEarly):
		return w.chance.upTo(time.Second)
	case w.strikes(endsLate):
		return w.chance.upTo(9 * time.Minute)
	case w.lengths != nil:
		return w.lengths()
	default:
		return w.length
	}
}

// grants is how many conversations the provider lets live. The caller holds mu.
func (w *world) grants() int {
	switch c := w.chance; {
	case c == nil:
		return w.limit
	case c.bottomless:
		return 1 << 20
	default:
		return c.granted
	}
}

// badLook is a look at a conversation that does not tell the truth. The caller
// holds mu.
func (w *world) badLook(id string) (consumer.Conversation, error, bool) {
	c := w.chance
	switch {
	case c == nil || c.calm:
	case time.Now().Before(c.deniedTo):
		return consumer.Conversation{}, consumer.ErrUnauthorized, true
	case w.strikes(lookFails):
		return consumer.Conversation{}, errors.New("502"), true
	case w.live[id].IsZero() || w.ids && w.entries["l."+id].intent.State != consumer.Created:
	case w.strikes(lookHides):
		return consumer.Conversation{}, consumer.ErrNotFound, true
	}
	return consumer.Conversation{}, nil, false
}

// moody answers as badly as a provider may. The caller holds mu.
func (w *world) moody(b consumer.Batch) consumer.Answer {
	c := w.chance
	if !c.calm && time.Now().Before(c.deniedTo) {
		return w.denies(b)
	}
	switch {
	case w.strikes(answerLost):
		if w.alive()+len(b.Items) <= w.grants() {
			for _, it := range b.Items {
				w.create(it)
			}
		}
		a := all(b, consumer.VerdictDoubt, "cut")
		a.Status = []int{-1, 500, 200}[c.rand.IntN(3)]
		return a
	case w.strikes(requestLost):
		return always(consumer.VerdictDoubt, "reset", []int{-1, 0, 502}[c.rand.IntN(3)])(w, b)
	case w.strikes(notReached):
		return always(consumer.VerdictUnsent, "connection refused", 0)(w, b)
	case w.strikes(saysFull):
		return w.refuses(b, "")
	case w.strikes(saysLater):
		return w.refuses(b, []string{"7", "7", "60", "400", "4000", "soon", "-5", "1.5", time.Now().Add(30 * time.Second).UTC().Format(time.RFC1123)}[c.rand.IntN(9)])
	case w.strikes(denies):
		c.deniedTo = time.Now().Add(c.upTo(2 * time.Minute))
		return w.denies(b)
	case w.strikes(wrongURL):
		a := always(consumer.VerdictUnsent, "not the API", 404)(w, b)
		a.Stop = "the URL is wrong"
		return a
	case w.strikes(clientPanics):
		w.accept(b)
		return consumer.Answer{Status: -2, Results: all(b, consumer.VerdictDoubt, "panic").Results}
	case w.strikes(rejects):
		return w.rejectsOne(b)
	case len(b.Items) == 1 && w.strikes(itemError):
		w.books.refused[b.Items[0].Intent] = true // the second one in a row is a rejection
		a := all(b, consumer.VerdictFull, "no capacity")
		a.Status, a.Full, a.Results[0].ItemError = 200, true, true
		return a
	case len(b.Items) > 1 && w.strikes(createsSome):
		return w.acceptsSome(b)
	}
	return w.accept(b)
}

// denies refuses the credentials. To an event that meets that twice, with another
// one created between, it is a rejection.
func (w *world) denies(b consumer.Batch) consumer.Answer {
	for _, it := range b.Items {
		w.books.refused[it.Intent] = true
	}
	return always(consumer.VerdictUnauthorized, "the key is not known", 401)(w, b)
}

func (w *world) refuses(b consumer.Batch, later string) consumer.Answer {
	a := always(consumer.VerdictFull, "full", 429)(w, b)
	a.Full = true
	if later != "" {
		a.Header = map[string][]string{"Retry-After": {later}}
	}
	return a
}

// rejectsOne rejects the first item and creates the others.
func (w *world) rejectsOne(b consumer.Batch) consumer.Answer {
	first := b.Items[0].Intent
	if len(w.made[first]) > 0 {
		return w.accept(b)
	}
	w.books.refused[first] = true
	a := consumer.Answer{Status: 422, Results: []consumer.Result{{Verdict: consumer.VerdictRejected, Reason: "no such person " + first}}}
	for _, it := range b.Items[1:] {
		a.Results = append(a.Results, consumer.Result{Verdict: consumer.VerdictCreated, Conversation: w.create(it)})
	}
	return a
}

// acceptsSome creates all but the last, which must go alone.
func (w *world) acceptsSome(b consumer.Batch) consumer.Answer {
	last := len(b.Items) - 1
	a := w.accept(consumer.Batch{Items: b.Items[:last]})
	r := consumer.Result{Verdict: consumer.VerdictFull, Alone: true, Reason: "?"}
	a.Results = append(a.Results, r)
	return a
}
