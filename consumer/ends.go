package consumer

import (
	"context"
	"errors"
	"slices"
	"time"
)

// mostPolls is how many GETs for the ends of calls may be under way at once in
// one account.
const mostPolls = 4

// enough conversations that are due at once are asked for by one list, where
// the provider has one.
const enough = 4

// gap is the shortest time between two GETs of the account: an eighth of the
// mean call shared by all slots, at most 1 s.
func (a *account) gap() time.Duration {
	return min(max(a.mean()/time.Duration(8*a.limit()), 5*time.Millisecond), time.Second)
}

// pollEnds starts the GETs that are due and returns when the next one is. The
// caller holds mu.
func (a *account) pollEnds(ctx context.Context, now time.Time) time.Time {
	for a.polling < mostPolls {
		s := a.mostOverdue(now)
		if s == nil {
			return time.Time{}
		}
		if due := later(s.poll, a.nextPoll); due.After(now) {
			return due
		}
		a.polling++
		a.nextPoll = now.Add(a.gap())
		if all, since := a.listable(now); len(all) > 0 {
			a.listing = true
			for _, s := range all {
				s.polling = true
				s.sort()
			}
			a.e.work.Go(func() { a.survey(ctx, all, since) })
			continue
		}
		s.polling = true
		s.sort()
		id := s.conversation
		a.e.work.Go(func() { a.inquire(ctx, s, id) })
	}
	return time.Time{}
}

// mostOverdue is the slot to ask for first: of those that are due one that is
// watched before one that is not. The caller holds mu.
func (a *account) mostOverdue(now time.Time) *slot {
	first := a.watched.asks.first()
	if first == nil || first.poll.After(now) {
		if s := a.others.asks.first(); s != nil && !s.poll.After(a.gone) {
			return s
		}
	}
	return first
}

// listable returns the conversations that a list may show, and since when they
// were made, if the provider has a list, none is under way and enough of them are
// due: those that are held, or else those that webhooks told of and what was made
// since the first of them, or else the others that are due. The caller holds mu.
func (a *account) listable(now time.Time) (all []*slot, since time.Time) {
	if !a.lists(now) {
		return nil, now
	}
	unlisted := func(s *slot) bool { return s.doubt || s.single }
	due := slices.DeleteFunc(a.watched.asks.until(a.instant(now, now)), unlisted)
	if len(due) >= enough || slices.ContainsFunc(due, func(s *slot) bool { return s.early }) {
		all = slices.DeleteFunc(a.watched.asks.slots(), unlisted)
	}
	if len(due) >= enough {
		return all, oldest(all, now)
	}
	if early := slices.DeleteFunc(slices.Clone(all), func(s *slot) bool { return !s.early }); len(early) >= enough {
		first := oldest(early, now)
		all = slices.DeleteFunc(all, func(s *slot) bool { return s.since.Before(first) })
		return all, oldest(all, now)
	}
	all = slices.DeleteFunc(a.others.asks.until(a.instant(a.gone, now)), unlisted)
	if len(all) < enough {
		return nil, now
	}
	return all, oldest(all, now)
}

// lists reports whether many conversations can be asked for at once.
func (a *account) lists(now time.Time) bool {
	_, ok := a.cfg.Provider.(Lister)
	return ok && !a.listing && !now.Before(a.nextList)
}

// oldest is when the first of these conversations was made.
func oldest(all []*slot, now time.Time) time.Time {
	first := now
	for _, s := range all {
		first = earlier(first, s.since)
	}
	return first
}

// clockSkew is how far the provider's clock may be behind ours before a list of
// what was made since then leaves something out; what it leaves out is asked for
// by itself.
const clockSkew = time.Minute

// survey asks for many conversations at once. The list tells which ones still
// live, and of those that are over how they ended. One of which it does not tell
// all, that is not there, or that lives although a webhook said otherwise, is asked
// for by itself: a list may show part of it only, and be late.
func (a *account) survey(ctx context.Context, all []*slot, since time.Time) {
	began := time.Now()
	list, err := a.conversations(ctx, since.Add(-clockSkew))
	shown := make(map[string]Conversation, len(list))
	for _, conv := range list {
		shown[conv.ID] = conv
	}
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.polling--
	a.listing = false
	for _, s := range all {
		s.polling = false
		conv, there := shown[s.conversation]
		switch {
		case s.doubt:
		case there && conv.Ended && conv.whole():
			told, id, announced := s.learned(conv, began, now), s.conversation, s.announced
			a.e.work.Go(func() { answer(told, s.ln.end(ctx, s.key, id, conv, announced)) })
		case there && !conv.Ended && s.rung.IsZero():
			s.next(now)
		case there || err == nil:
			s.single = true
			if there || s.early {
				s.poll = now
			}
		}
		s.sort()
	}
	if err != nil { // what it did not show is asked for by itself meanwhile
		a.nextList = now.Add(time.Minute)
	}
	a.wake()
	if err != nil && ctx.Err() == nil {
		a.lg.Warn().Err(err).Msg("list conversations")
	}
}

// whole reports whether a row of a list surely tells all that is told of an end:
// lists may leave out what was said, and where nothing was said that is all.
func (c Conversation) whole() bool {
	switch c.Result {
	case "completed", "transferred":
		return c.Summary != ""
	default:
		return c.Result != ""
	}
}

// follow begins to ask for the end of a conversation, whose slot may be free
// again already. Announced: this process has told that it exists.
func (a *account) follow(ln *lane, in Intent, announced bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := a.keyOf(in, in.made())
	s := a.slots[key]
	if s == nil {
		s = a.enter(ln, a.pool(in.Channel), key, in.Claimed, false)
		s.until = time.Now()
		s.next(s.until)
	}
	s.conversation, s.doubt = in.Conversation, false
	s.announced = s.announced || announced
	a.file(s)
	a.wake()
}

// discover follows a conversation that is in the ledger and not in our books: a
// former owner of the account, which stood still for long, wrote it down after
// this one had counted the slots in use, and acknowledged its message. It reports
// whether that was so.
func (a *account) discover(ln *lane, in Intent) bool {
	a.mu.Lock()
	s := a.slots[a.keyOf(in, in.made())]
	known := s != nil && s.conversation != "" && !s.doubt
	a.mu.Unlock()
	if !known {
		a.follow(ln, in, false)
	}
	return !known
}

// emergedAfter reports whether a conversation was written down after t of an event
// that was in doubt or over, so that its message may have been acknowledged before.
func (in Intent) emergedAfter(t time.Time) bool {
	for i, line := range in.History {
		if line.State != Created || !line.At.After(t) {
			continue
		}
		if i == 0 {
			return in.N > len(in.History) // what was before is not known any more
		}
		switch in.History[i-1].State {
		case Started, Waiting:
		default:
			return true
		}
	}
	return false
}

// retell tells again that conversations exist: who wrote them down may have died
// before it told, and no message stands behind them.
func (ln *lane) retell(ctx context.Context, emerged []Intent) {
	for _, in := range emerged {
		err := ln.e.persist(ctx, func(ctx context.Context) error {
			return errors.Join(ln.publish(ctx, in, Created, nil), ln.discard(ctx, in))
		})
		if err != nil {
			ln.lg.Error().Err(err).Str("intent", in.Key).Msg("the outcome of a conversation that was found late could not be published")
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// relook looks once more, when their requests are over, at the events that were
// under way when the slots in use were counted: a former owner of the account,
// which stood still meanwhile, may have written a conversation down and
// acknowledged its message.
func (ln *lane) relook(ctx context.Context, started []string) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(ln.e.cfg.ClaimAge + ln.a.cfg.Timeout + ln.e.cfg.Margin):
	}
	for _, key := range started {
		in, _, err := ln.e.cfg.Ledger.Load(ctx, ln.cfg.Name, key)
		if err != nil {
			ln.lg.Warn().Err(err).Str("intent", key).Msg("look at an event that was under way at the take-over; the sweep does it")
			continue
		}
		if in.State == Created && ln.a.discover(ln, in) {
			ln.retell(ctx, []Intent{in})
		}
	}
}

// inquire asks the provider about one conversation, and frees its slot at once
// if it is over, or if it is a doubt's and certainly does not exist.
func (a *account) inquire(ctx context.Context, s *slot, id string) {
	began := time.Now()
	conv, err := a.look(ctx, s.pool, id)
	now := time.Now()
	a.mu.Lock()
	doubt, pair, announced := s.doubt, s.pair, s.announced
	a.mu.Unlock()
	if err == nil && doubt && !foreign(conv, pair) {
		err = s.ln.witness(ctx, s, conv)
	}
	a.mu.Lock()
	known := err == nil && !s.doubt
	ended := known && conv.Ended
	absent := errors.Is(err, ErrNotFound) && s.doubt && !began.Before(s.absent)
	missed := errors.Is(err, ErrNotFound) && !s.doubt && !s.missed && now.Sub(s.since) > a.e.cfg.ClaimAge+a.cfg.Timeout+a.cfg.VisibleAfter
	s.missed = s.missed || missed
	a.polling--
	s.polling, s.single = false, false
	var told []chan<- error
	if known {
		told = s.learned(conv, began, now)
	} else {
		s.next(now)
	}
	if absent && a.slots[s.key] == s {
		a.drop(s)
	}
	a.wake()
	a.mu.Unlock()
	switch {
	case missed:
		a.lg.Error().Str("lane", s.ln.cfg.Name).Str("intent", s.key.intent).Str("conversation", id).Msg("the provider does not know a conversation that it took")
		s.ln.complain(errors.New("the provider does not know a conversation that it took: " + id))
	case ended:
		answer(told, s.ln.end(ctx, s.key, id, conv, announced))
		return
	case err != nil && !errors.Is(err, ErrNotFound) && ctx.Err() == nil:
		a.lg.Warn().Err(err).Str("conversation", id).Msg("ask for a conversation")
	}
	answer(told, ErrLater)
}

// learned enters the provider's word on a conversation, which it was asked for when
// that began, and returns who waits for it. One that is over has no slot any more.
// The caller holds mu.
func (s *slot) learned(conv Conversation, began, now time.Time) (told []chan<- error) {
	switch {
	case conv.Ended:
		s.ended(conv)
		s.next(now)
		if s.pool.a.slots[s.key] == s {
			s.pool.a.drop(s)
		}
	case s.rung.IsZero():
		s.next(now)
		return nil
	case s.rung.After(began): // said while the answer was under way
		s.next(now)
		s.poll = now
		s.sort()
		return nil
	default:
		s.denied(now)
		s.next(now)
	}
	told, s.told = s.told, nil
	return told
}

// end makes the end of a conversation known and then writes it down. No message
// stands behind it: if this process dies between the two, the next one finds
// the conversation live in the ledger, asks again and repeats both. Nobody is told
// of an end before the beginning: who wrote that down may have died before it told,
// and its message comes again when it likes. The error is ErrLater.
//
// Announced: this process has told that the conversation exists.
func (ln *lane) end(ctx context.Context, key slotKey, id string, conv Conversation, announced bool) error {
	last := Intent{Lane: ln.cfg.Name, Key: key.intent, Made: key.attempt, Conversation: id, Claimed: time.Now()} // if the ledger cannot even be read
	var again *Redial
	err := ln.e.persist(ctx, func(ctx context.Context) error {
		in, rev, err := ln.e.cfg.Ledger.Load(ctx, ln.cfg.Name, key.intent)
		if err != nil {
			return err
		}
		last = in
		step := Step{Kind: StepEnd, Conversation: id, Reason: conv.Result}
		switch _, effect := Next(in, step, time.Now()); effect {
		case Absorbed:
			return ln.discard(ctx, in)
		case Denied, Alarm:
			return nil
		}
		if again, err = ln.redial(ctx, &in, conv); err != nil {
			return err
		}
		if again != nil {
			step.Next, step.NextAt = again.ID, again.At
		}
		if !announced {
			if err := ln.publish(ctx, in, Created, nil); err != nil {
				return err
			}
		}
		next, _ := Next(in, step, time.Now())
		if err := ln.publish(ctx, next, Ended, &ending{conv, again}); err != nil {
			return err
		}
		if in, _, _, err = ln.e.applyFor(ctx, in, rev, step, occasion{facts: &conv}); err != nil {
			return err
		}
		return ln.discard(ctx, in)
	})
	if err != nil {
		ln.lg.Error().Err(err).Str("intent", key.intent).Msg("the end of a conversation could not be recorded; it will be asked for again")
		ln.a.follow(ln, last, announced)
		return ErrLater
	}
	switch {
	case again == nil:
	case again.ID == "":
		ln.lg.Info().Str("intent", key.intent).Str("reason", again.Reason).Msg("nobody is called again")
	default:
		ln.lg.Info().Str("intent", key.intent).Str("redial", again.Intent).Int("attempt", again.Attempt).Time("at", again.At).Msg("to be called again")
	}
	return nil
}
