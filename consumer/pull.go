package consumer

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// pull holds at most one open request for one message on a queue. It ends with a
// message, after PullWait, when it begins anew, or with the engine's context.
type pull struct {
	queue Queue
	begin chan struct{}  // a token opens the pull
	came  chan<- arrival // what it brought
	open  bool           // the lane loop's alone
}

// arrival is a message that a pull brought.
type arrival struct {
	pull *pull
	msg  Message
}

// taken returns the message; the pull is not open any more.
func (a arrival) taken() Message {
	a.pull.open = false
	return a.msg
}

// hold opens the pull, unless it is open. It is for the lane's loop.
func (p *pull) hold() {
	if !p.open {
		p.open = true
		p.begin <- struct{}{}
	}
}

// run serves the pull until ctx ends.
func (p *pull) run(ctx context.Context, lg zerolog.Logger, wait time.Duration) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.begin:
		}
		for ctx.Err() == nil {
			msg, err := p.queue.Await(ctx, wait)
			if msg != nil {
				p.came <- arrival{p, msg}
				break
			}
			if err != nil {
				lg.Warn().Err(err).Msg("fetch")
				select {
				case <-ctx.Done():
				case <-time.After(time.Second):
				}
			}
		}
	}
}

// pulls are a lane's, one on each queue.
type pulls struct {
	due    *pull
	events []*pull      // those of high priority first
	came   chan arrival // buffered: each pull's one message
}

func newPulls(cfg LaneConfig) *pulls {
	ps := &pulls{came: make(chan arrival, 3)}
	on := func(q Queue) *pull { return &pull{queue: q, begin: make(chan struct{}, 1), came: ps.came} }
	ps.due = on(cfg.Due)
	if cfg.High != nil {
		ps.events = append(ps.events, on(cfg.High))
	}
	ps.events = append(ps.events, on(cfg.Events))
	return ps
}

// run serves the pulls until ctx ends, in goroutines of wg.
func (ps *pulls) run(ctx context.Context, wg *sync.WaitGroup, lg zerolog.Logger, wait time.Duration) {
	for _, p := range ps.order(false) {
		wg.Go(func() { p.run(ctx, lg, wait) })
	}
}

// order returns the queues as they are to be fetched: what is due first, or last.
func (ps *pulls) order(dueFirst bool) []*pull {
	if dueFirst {
		return append([]*pull{ps.due}, ps.events...)
	}
	return append(slices.Clone(ps.events), ps.due)
}

// arrived returns what has come already, in the order of its coming. It is for the
// lane's loop, as idle is.
func (ps *pulls) arrived() (msgs []Message) {
	for {
		select {
		case a := <-ps.came:
			msgs = append(msgs, a.taken())
		default:
			return msgs
		}
	}
}

// byPriority sorts messages of high priority before others.
func byPriority(a, b Message) int {
	rank := func(m Message) int {
		if m.Origin().High {
			return 0
		}
		return 1
	}
	return cmp.Compare(rank(a), rank(b))
}

// roomPoll is how long a lane that takes no new events waits before it asks
// again whether it may.
const roomPoll = time.Second

// idle opens all pulls and waits for the first message. Where there is no room
// for new events only that of the due queue is opened: what is due has its entry,
// and may even make room. Nil: it is time to look again.
func (ln *lane) idle(ctx context.Context, ps *pulls) Message {
	wanted := ps.order(true)
	var look <-chan time.Time
	if ln.e.cfg.Room() != nil {
		wanted = wanted[:1]
		look = time.After(roomPoll)
	}
	for _, p := range wanted {
		p.hold()
	}
	select {
	case a := <-ps.came:
		return a.taken()
	case <-look:
		return nil
	case <-ctx.Done():
		return nil
	}
}
