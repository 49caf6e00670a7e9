package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/metrics"
	"github.com/weirhq/weir/internal/owner"
	"github.com/weirhq/weir/internal/scale"
)

// How the replicas' load is asked for.
const (
	scaleSlots   = 500                     // calls at a time that one replica is for, unless the request says
	scaleMost    = 1_000_000               // of these
	scaleFor     = 5 * time.Second         // an answer, or a failure, is good for so long
	scaleWait    = 2500 * time.Millisecond // that it may take: KEDA waits for three seconds
	scaleAnswers = 10_000                  // of replicas that are listened to, at one time
)

// scaler answers how many replicas there is work for, of the whole cluster. However
// often it is asked, the broker is once in scaleFor.
type scaler struct {
	ask func(context.Context) (map[string]scale.Load, error)

	turn     chan struct{} // of one: who has its token may use what follows
	at       time.Time
	accounts map[string]scale.Load
	err      error
}

func newScaler(ask func(context.Context) (map[string]scale.Load, error)) *scaler {
	return &scaler{ask: ask, turn: make(chan struct{}, 1)}
}

// loads returns the load of each account that somebody owns, and when it was asked
// for.
func (c *scaler) loads(ctx context.Context) (map[string]scale.Load, time.Time, error) {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, time.Time{}, ctx.Err()
	}
	defer func() { <-c.turn }()
	if c.at.IsZero() || time.Since(c.at) >= scaleFor {
		// Whoever else waits for the answer has not gone when this one has.
		c.accounts, c.err = c.ask(context.WithoutCancel(ctx))
		c.at = time.Now()
	}
	return c.accounts, c.at, c.err
}

// scaling is the answer of /scale.
type scaling struct {
	scale.Sum
	Slots int       `json:"slots"` // that one replica is for
	At    time.Time `json:"at"`
}

// scale answers how many replicas there is work for; 503 while that is not known, so
// that nothing is changed.
func (h *admin) scale(w http.ResponseWriter, r *http.Request) {
	slots := scaleSlots
	if text := r.URL.Query().Get("slots"); text != "" {
		var err error
		if slots, err = strconv.Atoi(text); err != nil || slots < 1 || slots > scaleMost {
			problem(w, http.StatusBadRequest, fmt.Sprintf("slots is how many calls at a time one replica is for: a number from 1 to %d", scaleMost))
			return
		}
	}
	s := h.service.Load()
	if s == nil {
		problem(w, http.StatusServiceUnavailable, "weir serve is starting: it waits for the broker")
		return
	}
	accounts, at, err := s.scaler.loads(r.Context())
	if err != nil {
		problem(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	told := scaling{Sum: scale.Add(accounts, slots), Slots: slots, At: at.UTC()}
	if s.embedded != nil { // its store is this process's
		told.Wanted = 1
	}
	reply(w, "application/json", http.StatusOK, told)
}

// problem answers with a problem document (RFC 9457).
func problem(w http.ResponseWriter, status int, detail string) {
	reply(w, "application/problem+json", status, map[string]any{
		"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": detail,
	})
}

// askLoads asks all replicas, and returns the load of each account that somebody
// owns. It is an error if one of them is not told.
func (s *service) askLoads(ctx context.Context) (map[string]scale.Load, error) {
	ctx, cancel := context.WithTimeout(ctx, scaleWait)
	defer cancel()
	standings, err := owner.Standings(ctx, s.broker)
	if err != nil {
		return nil, err
	}
	owners := make(map[string]string) // the holder, by account
	for duty, st := range standings {
		if account, ok := strings.CutPrefix(duty, accountPrefix); ok && st.Alive {
			owners[account] = st.Holder
		}
	}
	heard := make(map[string]*scale.Load) // nil: its owner does not know yet
	answers := 0
	if len(owners) > 0 {
		err = s.broker.AskLoad(ctx, func(answer []byte) bool {
			var r scale.Report
			if json.Unmarshal(answer, &r) == nil && r.V == scale.Format {
				for account, l := range r.Accounts {
					if owners[account] != "" && heard[account] == nil {
						heard[account] = l
					}
				}
			}
			answers++
			return len(heard) == len(owners) || answers >= scaleAnswers
		})
	}
	accounts := make(map[string]scale.Load)
	for account, l := range heard {
		if l != nil {
			accounts[account] = *l
		}
	}
	for _, account := range slices.Sorted(maps.Keys(owners)) {
		l, answered := heard[account]
		switch {
		case !answered:
			return nil, fmt.Errorf("%s, which owns account %s, does not answer, or is of an older version (%d of %d accounts are told): %w",
				owners[account], account, len(accounts), len(owners), cmp.Or(err, context.DeadlineExceeded))
		case l == nil:
			return nil, fmt.Errorf("what waits for account %s is not known yet (%d of %d accounts are told); ask again in some seconds",
				account, len(accounts), len(owners))
		}
	}
	return accounts, nil
}

// serveLoad tells other replicas of this one's accounts, until ctx ends. It is for
// the autoscaler alone, and without it calls go on.
func (s *service) serveLoad(ctx context.Context) error {
	if err := s.broker.ServeLoad(ctx, s.report); err != nil {
		s.lg.Warn().Err(err).Msg("other replicas are not told of this one's load any more; /scale answers 503")
	}
	return nil
}

// report is what this replica says of its accounts, as far as it is known. All of it
// is in memory; that it was asked for has the broker's share sampled.
func (s *service) report() []byte {
	s.figures.wish()
	now := s.snapshot()
	r := scale.Report{V: scale.Format, Accounts: make(map[string]*scale.Load)}
	fresh := now.Sample != nil && time.Since(now.Sample.At) < 3*s.sampleEach()+sampleWait
	for _, a := range now.Accounts {
		r.Accounts[a.Account] = nil
		if fresh {
			r.Accounts[a.Account] = accountLoad(a, now.Sample.Lanes)
		}
	}
	data, err := json.Marshal(r)
	if err != nil {
		panic("weir: a report does not encode: " + err.Error())
	}
	return data
}

// accountLoad is the load of an account; nil if one of its lanes was not sampled.
func accountLoad(a consumer.AccountStatus, sampled map[string]metrics.LaneSample) *scale.Load {
	free, used := 0, 0
	for _, p := range a.Pools {
		free += p.Free
		used += p.Used
	}
	lanes := make([]scale.Lane, 0, len(a.Lanes))
	for _, v := range a.Lanes {
		s, known := sampled[v.Lane]
		if !known || s.Unowned {
			return nil
		}
		waiting := metrics.Waiting(v, s)
		lanes = append(lanes, scale.Lane{
			Ready:   waiting[consumer.CauseQueue] + waiting[consumer.CauseSlot],
			Open:    v.Cause == "",
			Limited: v.Limit > 0,
		})
	}
	l := scale.Of(lanes, free, used)
	return &l
}
