package consumer

import (
	"context"
	"time"

	"github.com/rs/zerolog"
)

// pull holds at most one open request for one message on a queue. An open pull
// is never cancelled: it ends with a message or after PullWait.
type pull struct {
	queue Queue
	begin chan struct{} // a token opens the pull
	out   chan Message  // buffered: what it brought
	open  bool          // the lane loop's alone
}

func newPull(q Queue) *pull {
	return &pull{queue: q, begin: make(chan struct{}, 1), out: make(chan Message, 1)}
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
			msgs, err := p.queue.Fetch(1, wait)
			if len(msgs) > 0 {
				p.out <- msgs[0]
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

// roomPoll is how long a lane that takes no new events waits before it asks
// again whether it may.
const roomPoll = time.Second

// idle opens both pulls and waits for the first message. Where there is no room
// for new events only that of the due queue is opened: what is due has its entry,
// and may even make room. Nil: it is time to look again.
func (ln *lane) idle(ctx context.Context, due, events *pull) Message {
	pulls := []*pull{due, events}
	var look <-chan time.Time
	if ln.e.cfg.Room() != nil {
		pulls = pulls[:1]
		look = time.After(roomPoll)
	}
	for _, p := range pulls {
		if !p.open {
			p.open = true
			p.begin <- struct{}{}
		}
	}
	select {
	case m := <-due.out:
		due.open = false
		return m
	case m := <-events.out:
		events.open = false
		return m
	case <-look:
		return nil
	case <-ctx.Done():
		return nil
	}
}
