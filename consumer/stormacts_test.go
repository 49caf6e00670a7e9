package consumer_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/weirhq/weir/consumer"
)

// leaseTTL is that of a cluster's lease; it is renewed each fifth of it, and its
// holder sends in the first four fifths.
const leaseTTL = 20 * time.Second

// launch adds a process: it waits for the lease, then it runs, until it is dead
// or another one has the lease.
func (s *storm) launch() {
	p := &process{w: s.w, dry: s.rehearses()}
	s.w.do(func() {
		if !s.w.chance.calm {
			p.dieAt, p.dieLate = 1+s.r.IntN(120), s.r.IntN(2) == 0
			p.stopAt, p.stopFor = 1+s.r.IntN(80), s.standstill()
		}
	})
	p.early = func() {
		if why := s.w.pauses["l"]; why != "" {
			p.engine.SetPause("l", &consumer.Pause{By: "weir", Reason: why})
		}
	}
	s.procs = append(s.procs, p)
	s.wg.Go(func() {
		for has, _ := p.renew(); !has; has, _ = p.renew() {
			time.Sleep(leaseTTL / 5)
			if p.isDead() {
				return
			}
		}
		s.w.start(s.t, p, func(c *consumer.Config) {
			s.edit(c)
			c.Fence = p.mayStillSend
			c.Accounts[0].Lanes[0].Dry = p.dry
		})
		s.w.do(func() { p.runs = true })
		s.keep(p)
	})
}

// rehearses says whether the next process only rehearses. In one world of four the
// file is changed now and then; in some of those it is so from first to last.
func (s *storm) rehearses() bool {
	if s.seed%4 != 3 || s.seed%16 != 3 && s.r.IntN(3) > 0 {
		return false
	}
	s.met(rehearses)
	return true
}

// keep renews the lease of a process until it ends, or has to.
func (s *storm) keep(p *process) {
	for {
		select {
		case err := <-p.done:
			s.w.do(func() { p.dead = true; s.w.note("run ends: %v", err) })
			return
		case <-time.After(leaseTTL / 5):
		}
		if _, lost := p.renew(); lost {
			s.w.do(func() { p.lost = true; s.w.note("a process is dead, or its lease lost") })
			p.cancel()
			<-p.done
			return
		}
	}
}

// renew renews the lease, or takes it if nobody has it, and reports whether the
// process has it, and whether it surely has not.
func (p *process) renew() (has, lost bool) {
	p.stand()
	sent := time.Now()
	if p.w.reach(3*time.Second) != nil {
		return false, false
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	l := &p.w.books.lease
	switch {
	case p.dead:
		return false, true
	case l.holder != p && !p.renewed.IsZero(): // another one had it meanwhile
		return false, true
	case l.holder != p && l.holder != nil && time.Since(l.arrived) <= leaseTTL:
		return false, false
	}
	if l.holder != p && l.holder != nil && !l.holder.dead {
		p.w.meet(twoAlive)
	}
	l.holder, l.arrived, p.renewed = p, time.Now(), sent
	return true, false
}

// mayStillSend is the fence.
func (p *process) mayStillSend() (err error) {
	p.w.do(func() {
		if p.w.books.lease.holder != p || time.Since(p.renewed) >= leaseTTL*4/5 {
			err = fmt.Errorf("the lease is too old")
		}
	})
	return err
}

func (p *process) isDead() (dead bool) {
	p.w.do(func() { dead = p.dead })
	return dead
}

// owner is the process that has the lease and works, if any.
func (s *storm) owner() (owner *process) {
	s.w.do(func() {
		for _, p := range s.procs {
			if s.w.books.lease.holder == p && p.runs && !p.dead && !p.lost && !p.stands.After(time.Now()) {
				owner = p
			}
		}
	})
	return owner
}

// tend launches a process where none is left that works, and buries the dead.
func (s *storm) tend() {
	alive := 0
	for _, p := range slices.Clone(s.procs) {
		var dead, lost, runs bool
		s.w.do(func() {
			dead, lost, runs = p.dead, p.lost, p.runs
			if !dead && !lost && !p.stands.After(time.Now()) {
				alive++
			}
			if dead && p.dieAt > 0 {
				s.w.meet(killedAt)
			}
		})
		if dead || lost {
			if runs {
				p.cancel()
			}
			s.procs = slices.DeleteFunc(s.procs, func(o *process) bool { return o == p })
		}
	}
	if alive == 0 {
		s.launch()
	}
}

// end stops a process, which lives.
func (s *storm) end(p *process) {
	runs := false
	s.w.do(func() {
		runs = p.runs
		if !runs {
			p.dead = true
		}
	})
	if runs {
		p.cancel()
	}
}

// act does one thing to the world.
func (s *storm) act() {
	acts := []func(){
		s.stop, s.stop, s.elect, s.elect, s.loseQuorum, s.resetConsumer, s.loseSchedules, s.lowerLimit,
		s.person, s.person, s.person, s.person, s.pause, s.withdraw, s.withdraw, s.withdrawSoon,
	}
	acts[s.r.IntN(len(acts))]()
}

func (s *storm) met(f fault) { s.w.do(func() { s.w.meet(f) }) }

// stop makes a process stand still, for a moment or for longer than its lease.
func (s *storm) stop() {
	if p := s.owner(); p != nil {
		d := s.standstill()
		s.w.do(func() { s.w.meet(standsStill); p.stands = time.Now().Add(d) })
		s.sleep(time.Minute)
	}
}

func (s *storm) standstill() time.Duration {
	return []time.Duration{3 * time.Second, 8 * time.Second, 12 * time.Second, 40 * time.Second, 3 * time.Minute}[s.r.IntN(5)]
}

func (s *storm) elect() {
	s.met(election)
	s.w.do(func() { s.w.chance.stalled = time.Now().Add(4*time.Second + time.Duration(s.r.IntN(5))*time.Second) })
}

func (s *storm) loseQuorum() {
	s.met(noQuorum)
	s.w.do(func() { s.w.chance.stalled = time.Now().Add(time.Minute + time.Duration(s.r.IntN(240))*time.Second) })
}

// resetConsumer makes everything come again from the first event on.
func (s *storm) resetConsumer() {
	s.met(reset)
	s.w.do(func() {
		for _, r := range s.w.events.msgs {
			r.acked, r.delivered, r.ready = false, 0, time.Now()
		}
		s.w.events.stir()
	})
}

// loseSchedules removes what is postponed, where the lane's stream still has the
// event: as nobody corrected it, nor replayed a letter of another id's.
func (s *storm) loseSchedules() {
	s.w.do(func() {
		n := len(s.w.due.msgs)
		s.w.due.msgs = slices.DeleteFunc(s.w.due.msgs, func(r *record) bool {
			in := s.w.entries["l."+r.key].intent
			lost := r.replay == nil && r.delivered == 0 && r.ready.After(time.Now()) && in.Sequence != 0 && in.Former == ""
			if lost && s.w.books != nil {
				s.w.books.robbed[r.key] = true // also where its first message is still to be acknowledged
			}
			return lost
		})
		if len(s.w.due.msgs) < n {
			s.w.meet(scheduleLost)
		}
	})
}

// lowerLimit lets the provider have another limit of its own, never above ours.
func (s *storm) lowerLimit() {
	s.w.do(func() {
		c := s.w.chance
		n := 1 + s.r.IntN(s.w.limit)
		if n < c.granted && !c.bottomless {
			s.w.meet(limitFalls)
		}
		c.granted = n
	})
}

// pause is a person's, for a while.
func (s *storm) pause() {
	s.met(paused)
	s.w.do(func() { s.w.pauses["l"] = "a person wants it" })
	s.each(func(p *process) { p.engine.SetPause("l", &consumer.Pause{By: "ana", Reason: "a person wants it"}) })
	s.w.do(func() { s.w.books.stopped = time.Now() })
	s.sleep(time.Minute)
	s.resume()
}

// resume lets the lane go on, whoever stopped it.
func (s *storm) resume() {
	s.w.do(func() { delete(s.w.pauses, "l"); s.w.books.stopped = time.Time{} })
	s.each(func(p *process) { p.engine.SetPause("l", nil) })
}

func (s *storm) each(f func(*process)) {
	for _, p := range s.procs {
		runs := false
		if s.w.do(func() { runs = p.runs }); runs {
			f(p)
		}
	}
}

// publish publishes the i-th event, and now and then one more that is none, or a
// copy of an earlier one.
func (s *storm) publish(i int) {
	s.publishOwed()
	data := map[string]any{"id": fmt.Sprint(i), "channel": []string{"telephone", "email", "text"}[i%3], "phone": fmt.Sprintf("+1415555%04d", i)}
	l := &lead{id: fmt.Sprintf("%04d", i), bad: s.r.IntN(8) == 0}
	if l.bad {
		delete(data, "phone")
		s.met(impossible)
	}
	l.key = consumer.Key("l", "/crm", l.id)
	var life map[string]any
	if s.brief {
		life = s.limitLife(l.key)
	}
	s.w.leadUntil(l.id, data, i%4 == 3, life)
	s.w.do(func() { s.w.last().key = l.key })
	s.leads = append(s.leads, l)
	switch s.r.IntN(12) {
	case 0:
		s.again(s.leads[s.r.IntN(len(s.leads))])
	case 1:
		s.conflict(s.leads[s.r.IntN(len(s.leads))])
	case 2:
		s.met(unreadable)
		r := s.w.events.publish(map[string][]string{"Content-Type": {"application/cloudevents+json"}}, []byte(`{"specversion":"1.0","id":`))
		s.w.do(func() {
			r.key = consumer.Key("l", fmt.Sprintf("stream:EVENTS@%d", time.Unix(1, 0).UnixNano()), fmt.Sprint(r.seq))
			s.leads = append(s.leads, &lead{key: r.key, id: fmt.Sprint("unreadable ", r.seq), bad: true})
		})
	}
}

// conflict publishes the id of an event that is in the ledger with another
// content.
func (s *storm) conflict(l *lead) {
	known := false
	s.w.do(func() { known = s.w.entries["l."+l.key].intent.Digest != "" }) // else it was withdrawn, whatever it is
	if l.bad || !known || !strings.HasPrefix(l.id, "0") {
		return
	}
	s.met(conflicts)
	s.w.leadWith(l.id, map[string]any{"id": l.id, "phone": "+14155559999", "channel": "telephone"})
	digest := s.w.digest(s.t, slices.Index(s.w.events.msgs, s.w.last()))
	other := &lead{id: "another " + l.id, bad: true, key: uuid.NewSHA1(uuid.MustParse("5f2f6e0e-5f3a-5d0b-9c53-1d8a2f8e7b11"), []byte(l.key+"\n"+digest)).String()}
	s.w.do(func() { s.w.last().key = other.key })
	if s.leadOf(other.key) == nil {
		s.leads = append(s.leads, other)
	}
}

// last is the event that was published last. The caller holds mu.
func (w *world) last() *record {
	for _, r := range slices.Backward(w.events.msgs) {
		if !r.redial {
			return r
		}
	}
	return nil
}

// again publishes an event a second time.
func (s *storm) again(l *lead) {
	if strings.HasPrefix(l.id, "unreadable") {
		return // its place in the stream is its key
	}
	s.met(twice)
	s.w.do(func() {
		for _, r := range s.w.events.msgs {
			if r.key == l.key {
				s.w.events.msgs = append(s.w.events.msgs, &record{
					seq: uint64(len(s.w.events.msgs) + 1), header: r.header, data: r.data, key: r.key, ready: time.Now(),
				})
				s.w.events.stir()
				return
			}
		}
	})
}

// person settles, drops or repeats something that waits for a person.
func (s *storm) person() {
	var in consumer.Intent
	s.w.do(func() {
		var all []consumer.Intent
		for _, key := range slices.Sorted(maps.Keys(s.w.entries)) {
			if e := s.w.entries[key].intent; e.State == consumer.Dead || e.State == consumer.Doubt {
				all = append(all, e)
			}
		}
		if len(all) > 0 {
			in = all[s.r.IntN(len(all))]
		}
	})
	if in.Key == "" {
		return
	}
	switch n := s.r.IntN(8); {
	case n < 5:
		s.replay(in)
	case n < 7 && in.State == consumer.Doubt:
		s.settle(in)
	default:
		s.command(dropped, consumer.Command{Verb: consumer.VerbDrop, Intent: in.Key, Expect: in.N})
	}
}

// settle says of a doubt what the provider knows.
func (s *storm) settle(in consumer.Intent) {
	var made []string
	s.w.do(func() { made = s.w.made[in.Key] })
	if len(made) > 0 {
		s.command(settled, consumer.Command{Verb: consumer.VerbSettle, Intent: in.Key, Expect: in.N, Conversation: made[len(made)-1]})
	}
}

func (s *storm) command(f fault, c consumer.Command) {
	p := s.owner()
	if p == nil {
		return
	}
	c.By, c.Reason = "ana", "a person looked"
	if r := command(s.t, p, c); r.Error == "" {
		s.met(f)
	} else {
		s.w.do(func() { s.w.note("a command fails: %s", r.Error) })
	}
}

// replay orders an event to be sent again: once or twice, for the state that the
// person saw or for one before it, unchanged or corrected.
func (s *storm) replay(in consumer.Intent) {
	n := s.r.IntN(6)
	s.w.do(func() {
		letter, ok := s.w.letters[in.Key]
		if !ok {
			return
		}
		order := &consumer.Replay{Expect: in.N, By: "ana", Reason: "please"}
		data := letter.Data
		s.w.meet(replayed)
		if in.State == consumer.Doubt {
			s.w.meet(retried)
		}
		switch l := s.leadOf(in.Key); {
		case n == 0:
			s.w.meet(replayedLate)
			order.Expect--
		case l != nil && strings.HasPrefix(l.id, "another"):
			l.mended = true // it is good, under an id that was taken
		case l != nil && l.bad && strings.HasPrefix(l.id, "0"):
			s.w.meet(corrected)
			l.mended = true
			data = []byte(strings.Replace(string(data), `"data":{`, `"data":{"phone":"+14155550000",`, 1))
		}
		for range 1 + n/5 {
			s.w.addDue(&record{header: letter.Header, data: data, intent: in.Key, replay: order, ready: time.Now()})
		}
		if n == 5 {
			s.w.meet(replayedTwice)
		}
	})
}

func (s *storm) leadOf(key string) *lead {
	for _, l := range s.leads {
		if l.key == key {
			return l
		}
	}
	return nil
}
