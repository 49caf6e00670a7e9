package broker

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/consumer"
)

// drift is how far two clocks may be apart before a person should know.
const drift = 2 * time.Second

// JudgeClock compares this host's clock with another's, of which "name's" can
// be said.
func JudgeClock(check, name string, s consumer.Sample) Finding {
	var f findings
	const next = "set both clocks by NTP"
	switch off := s.Off(); {
	case s.Shown.IsZero():
		f.warn(check, "", "%s does not tell its time", name)
	case off.Abs() > consumer.Tolerance:
		f.problem(check, next, "this machine's clock is %s; what depends on the time of day waits", consumer.Apart(off, name))
	case off.Abs() > drift:
		f.warn(check, next, "this machine's clock is %s", consumer.Apart(off, name))
	default:
		f.ok(check, "this machine's clock agrees with %s's", name)
	}
	return f[0]
}

// Time looks at the broker's clock: the one of the server that it is connected
// to, or of that which leads a stream.
func (b *Broker) Time(ctx context.Context) (consumer.Sample, error) {
	var s consumer.Sample
	err := once(ctx, func(ctx context.Context) (err error) {
		s, err = b.serverTime(ctx)
		return err
	})
	if err == nil {
		return s, nil
	}
	err = once(ctx, func(ctx context.Context) (err error) { // a user may be denied the first way
		s, err = b.streamTime(ctx)
		return err
	})
	return s, err
}

// serverTime asks what every user may ask about himself: the answer says when it
// was given.
func (b *Broker) serverTime(ctx context.Context) (consumer.Sample, error) {
	s := consumer.Sample{Sent: time.Now()}
	m, err := b.nc.RequestWithContext(ctx, "$SYS.REQ.USER.INFO", nil)
	if err != nil {
		return s, err
	}
	s.Received = time.Now()
	var reply struct {
		Server struct {
			Time time.Time `json:"time"`
		} `json:"server"`
	}
	if err := json.Unmarshal(m.Data, &reply); err != nil {
		return s, err
	}
	if s.Shown = reply.Server.Time; s.Shown.IsZero() {
		return s, errUntold
	}
	return s, nil
}

// errUntold is a broker that does not tell its time.
var errUntold = errors.New("the broker does not tell its time")

// streamTime asks a stream's leader, whichever stream is there.
func (b *Broker) streamTime(ctx context.Context) (consumer.Sample, error) {
	for _, plan := range b.plans() {
		s := consumer.Sample{Sent: time.Now()}
		stream, err := b.js.Stream(ctx, plan.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return s, err
		}
		s.Received, s.Shown = time.Now(), stream.CachedInfo().TimeStamp
		return s, nil
	}
	return consumer.Sample{}, errUntold
}
