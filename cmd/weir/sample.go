package main

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/ledger"
	"github.com/weirhq/weir/internal/metrics"
	"github.com/weirhq/weir/internal/owner"
)

// How often the broker is asked for what it alone knows, and for how long after the
// last scrape. A lane takes some six requests, so that many lanes are asked about
// more seldom: at most some sixty requests a second.
const (
	sampleEvery = 10 * time.Second
	sampleLane  = 100 * time.Millisecond
	sampleFor   = 5 * time.Minute
	sampleWait  = 30 * time.Second // that one sample may take, and as much again for each hundred lanes
)

// sampled are the streams whose room is shown.
var sampled = []string{
	ledger.Stream, broker.StreamEvents, broker.StreamOutcomes, broker.StreamDead, broker.StreamLater,
	broker.StreamLanes, broker.StreamContact, broker.StreamUndelivered,
}

// sampleBroker asks the broker for what the metrics show of it, until ctx ends, as
// long as somebody reads them.
func (s *service) sampleBroker(ctx context.Context) error {
	smp := &sampler{s: s}
	var wanted time.Time // until then
	for {
		if time.Now().Before(wanted) {
			s.figures.setSample(smp.take(ctx))
		}
		timer := time.NewTimer(s.sampleEach())
		for first := true; first; {
			first = false
			select {
			case <-ctx.Done():
				timer.Stop()
				return nil
			case <-s.figures.scraped:
				first = time.Now().Before(wanted) // else it is the first in a while: at once
				wanted = time.Now().Add(sampleFor)
			case <-timer.C:
			}
		}
		timer.Stop()
	}
}

// sampleEach is the pause between two samples.
func (s *service) sampleEach() time.Duration {
	return max(s.figures.every, sampleLane*time.Duration(len(s.lanes())-1))
}

// sampler takes samples, one after the other.
type sampler struct {
	s       *service
	letters *broker.LetterCount
	failed  bool // said once
}

// take takes one sample. What cannot be had is left out.
func (p *sampler) take(ctx context.Context) *metrics.Sample {
	lanes := len(p.s.lanes())
	ctx, cancel := context.WithTimeout(ctx, sampleWait+sampleWait*time.Duration(lanes/100))
	defer cancel()
	sample := &metrics.Sample{Lanes: make(map[string]metrics.LaneSample)}
	errs := []error{p.connection(ctx, sample), p.everybody(ctx, sample)}
	owned := p.s.figures.owned()
	for _, ac := range p.s.cfg.Accounts {
		_, mine := owned[ac.Name]
		for _, lc := range ac.Lanes {
			if !mine && !sample.Lanes[lc.Name].Unowned {
				continue
			}
			ls, err := p.lane(ctx, lc)
			if err != nil {
				errs = append(errs, err)
				delete(sample.Lanes, lc.Name)
				continue
			}
			ls.Unowned = !mine
			sample.Lanes[lc.Name] = ls
		}
	}
	err := errors.Join(errs...)
	if err != nil && !p.failed && ctx.Err() == nil {
		p.s.lg.Warn().Err(err).Msg("the broker does not tell all that the metrics show")
	}
	p.failed = err != nil
	sample.At, sample.Failed = time.Now(), err != nil
	return sample
}

// connection measures the way to the broker.
func (p *sampler) connection(ctx context.Context, sample *metrics.Sample) (err error) {
	sample.RoundTrip, err = p.s.broker.RoundTrip(ctx)
	return err
}

// everybody looks at what is everybody's, if this replica looks after the state, and
// marks the lanes that nobody owns.
func (p *sampler) everybody(ctx context.Context, sample *metrics.Sample) error {
	if !p.s.figures.keeping() {
		return nil
	}
	fills, err := p.s.broker.Fills(ctx, sampled)
	sample.Streams = make(map[string]metrics.Fill)
	for stream, f := range fills {
		sample.Streams[stream] = metrics.Fill{Used: f.Used, Limit: f.Room}
	}
	count, countErr := p.s.broker.CountLetters(ctx, p.letters)
	if countErr == nil {
		p.letters, sample.Letters = count, make(map[string]metrics.Letters)
		for _, lane := range p.s.lanes() {
			sample.Letters[lane] = metrics.Letters{Dead: count.Dead[lane], Doubts: count.Doubts[lane]}
		}
	}
	standings, ownErr := owner.Standings(ctx, p.s.broker)
	if ownErr == nil {
		for _, ac := range p.s.cfg.Accounts {
			for _, lc := range ac.Lanes {
				if st := standings[accountPrefix+ac.Name]; !st.Alive {
					sample.Lanes[lc.Name] = metrics.LaneSample{Unowned: true}
				}
			}
		}
	}
	return errors.Join(err, countErr, ownErr)
}

// lane looks at what waits in a lane's streams.
func (p *sampler) lane(ctx context.Context, lc config.Lane) (ls metrics.LaneSample, err error) {
	ls.Pending, ls.Unacked, err = p.s.broker.Backlog(ctx, lc.Name)
	if errors.Is(err, jetstream.ErrConsumerNotFound) { // it never ran
		return ls, nil
	}
	if err != nil {
		return ls, err
	}
	if ls.Oldest, err = p.s.broker.Oldest(ctx, lc.Name); err != nil {
		return ls, err
	}
	row, err := (&desk{cfg: p.s.cfg, broker: p.s.broker}).delivery(ctx, lc)
	if err != nil {
		return ls, err
	}
	if row != nil {
		ls.Told = &metrics.Told{Waiting: row.Waiting, Undelivered: row.Undelivered, Failing: !row.Since.IsZero()}
	}
	return ls, nil
}
