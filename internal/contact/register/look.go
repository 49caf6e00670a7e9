package register

import (
	"context"
	"time"

	"github.com/weirhq/weir/consumer"
)

// Look tells how Admit would rule on an approach now, for a person who asks, and
// enters nothing: blocked is what the list says, often what the limits say. What
// another event of the person becomes it knows from the ledger alone, and may take
// one that was given back a moment ago for one that is about to be sent.
func (r *Register) Look(ctx context.Context, a consumer.Approach) (blocked, often consumer.Ruling, err error) {
	often = consumer.Ruling{Verdict: consumer.ContactNow}
	whom := people(a.To)
	if blocked, err = r.blocked(ctx, whom, a.Lane); err == nil {
		err = r.present(ctx)
	}
	limits, counted := r.cfg.Lanes[a.Lane]
	if err != nil || !counted {
		return blocked, often, err
	}
	for _, p := range whom {
		ruling, err := r.would(ctx, p, limits, a)
		if err != nil || ruling.Verdict != consumer.ContactNow {
			return blocked, ruling, err
		}
	}
	return blocked, often, nil
}

// would is enter without an entry.
func (r *Register) would(ctx context.Context, p Person, l Limits, a consumer.Approach) (consumer.Ruling, error) {
	rec, _, err := r.record(ctx, recordPrefix+l.Purpose+"."+r.hash(string(p)))
	if err != nil {
		return strange(err)
	}
	now := time.Now()
	others, err := r.others(ctx, rec, l, a, now)
	if err != nil {
		return strange(err)
	}
	return l.judge(others, a, now), nil
}
