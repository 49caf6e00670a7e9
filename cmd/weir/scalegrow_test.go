//go:build chaos && linux

package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weirhq/weir/internal/chaos"
	"github.com/weirhq/weir/internal/simulator"
)

// backlogGoal is how much more memory a million events that wait may cost than a
// thousand.
const backlogGoal = 0.20

// backlog measures a lane that works while so many events wait behind a slow
// provider.
func (s *scaleBench) backlog() (string, error) {
	const limit = 20
	r, err := newScaleRig(s.ctx, filepath.Join(s.dir, "backlog"), 1, simulator.Config{Limit: limit, Scale: 100, Seed: 1}, s.say)
	if err != nil {
		return "", err
	}
	defer r.close()
	r.limit, r.batch = limit, limit
	if _, err := r.startBroker(); err != nil {
		return "", err
	}
	if _, err := r.provision(); err != nil {
		return "", err
	}
	t := newScaleTable("events that wait", "memory MiB", "at its peak", "heap MiB", "goroutines", "files", "ms of CPU an event", "first call after s", "calls/s")
	there := 0
	var memory []int64
	for _, size := range s.sizes([]int{1000, 10_000, 100_000, 1_000_000}, []int{100, 1000}) {
		made := r.sim.Report().Conversations
		if err := r.fill(laneName(0), there, min(size+made, 1_000_000)-there); err != nil {
			return "", err
		}
		there = min(size+made, 1_000_000) // a lane's quota
		s.say("backlog: %d events wait", there-made)
		row, v, err := s.backlogRow(r, made)
		if err != nil {
			return "", err
		}
		t.add(size, row...)
		memory = append(memory, v.RSS)
	}
	more := float64(slices.Max(memory))/float64(memory[0]) - 1
	return fmt.Sprintf(`## A backlog

One lane, events of 250 bytes, a provider of %d slots, whose calls run a hundred times faster than in life, so that weir is at work all the time; it is started anew for each size, and looked at after %v. The slots are the limit, not weir: a little more than a call a second and slot.

%s
Goal, with a million events weir's memory is within 20 %% of that with a thousand: %s.
`, limit, s.span()*3/2, t, met(more <= backlogGoal, fmt.Sprintf("%+.1f %% at the largest of all sizes", 100*more))), nil
}

func (s *scaleBench) backlogRow(r *scaleRig, made int) ([]scaleCell, chaos.Vitals, error) {
	w, err := r.startWeir()
	if err != nil {
		return nil, chaos.Vitals{}, err
	}
	defer r.stopWeirs()
	if err := r.awaiting("the first call", 10*time.Millisecond, func() bool { return r.sim.Report().Conversations > made }); err != nil {
		return nil, chaos.Vitals{}, err
	}
	first := time.Since(w.began)
	began, from := time.Now(), r.sim.Report().Conversations
	atFirst, err := chaos.VitalsOf(w.PID())
	if err != nil {
		return nil, atFirst, err
	}
	sleepFor(s.ctx, s.span()*3/2)
	v, err := chaos.VitalsOf(w.PID())
	if err != nil {
		return nil, v, err
	}
	calls := float64(r.sim.Report().Conversations - from)
	took := time.Since(began)
	heap, err := w.metric("go_memstats_heap_alloc_bytes")
	if err != nil {
		return nil, v, err
	}
	goroutines, err := w.metric("go_goroutines")
	return []scaleCell{
		mib("memory", v.RSS), mib("", v.Peak), mib("heap", int64(heap)), figure("goroutines", goroutines), figure("", float64(v.Files)),
		figure("CPU an event", (v.CPU-atFirst.CPU).Seconds()*1000/calls), seconds("first call", first), figure("calls/s", calls/took.Seconds()),
	}, v, err
}

// fleet starts 2,000 lanes over four replicas, and lets each make a call.
func (s *scaleBench) fleet() (string, error) {
	lanes, replicas := s.sizes([]int{2000}, []int{40})[0], 4
	r, err := newScaleRig(s.ctx, filepath.Join(s.dir, "fleet"), lanes, simulator.Config{Limit: lanes, Scale: 100, Seed: 1}, s.say)
	if err != nil {
		return "", err
	}
	defer r.close()
	if _, err := r.startBroker(); err != nil {
		return "", err
	}
	if _, err := r.provision(); err != nil {
		return "", err
	}
	began := time.Now()
	for range replicas {
		if _, err := r.startWeir(); err != nil {
			return "", err
		}
	}
	var spread []int
	err = r.awaiting("all lanes to be owned", 500*time.Millisecond, func() bool {
		spread = sorted(r.owned())
		return allOf(spread) == lanes && len(spread) == replicas
	})
	if err != nil {
		return "", err
	}
	balanced := time.Since(began)
	s.say("fleet: %d lanes are owned after %v: %v", lanes, balanced.Round(time.Millisecond), spread)
	if err := r.awaiting("all lanes to pull", time.Second, func() bool { return r.pulling(lanes) }); err != nil {
		return "", err
	}
	pulling := time.Since(began)
	begun := time.Now()
	for i := range lanes {
		if err := r.fillOne(laneName(i), i); err != nil {
			return "", err
		}
	}
	if err := r.awaiting("a call on each lane", 100*time.Millisecond, func() bool { return r.sim.Report().Conversations >= lanes }); err != nil {
		return "", err
	}
	called := time.Since(begun)
	after := sorted(r.owned())
	var cpu time.Duration
	var rss []string
	for _, w := range r.weirs {
		v, err := chaos.VitalsOf(w.PID())
		if err != nil {
			return "", err
		}
		cpu += v.CPU
		rss = append(rss, fmt.Sprintf("%.0f", float64(v.RSS)/(1<<20)))
	}
	broker, err := chaos.VitalsOf(r.proc.PID())
	if err != nil {
		return "", err
	}
	idle, err := r.using(s.span(), append([]*chaos.Process{r.proc}, processes(r.weirs)...)...)
	if err != nil {
		return "", err
	}
	var cores float64
	for _, u := range idle[1:] {
		cores += u.cores
	}
	report := r.sim.Report()
	return fmt.Sprintf(`## %s lanes over %d replicas

All started at once, with a broker that had none of the %s consumers; then one event on each lane, which became %s calls, %d of them twice.

| | |
|---|---|
| until each lane had its owner | %.1f s |
| until each lane's pull was open | %.1f s |
| lanes of each replica then | %s |
| and after the calls | %s |
| from the first event to the last call | %.1f s |
| CPU time of all replicas until then | %.1f s |
| of the broker | %.1f s |
| memory of each replica, MiB | %s |
| memory of the broker, MiB | %.0f |
| %% of a core of all replicas, afterwards | %.1f |
| of the broker | %.1f |
`, thousands(lanes), replicas, thousands(3*lanes), thousands(report.Conversations), len(report.Doubled),
		balanced.Seconds(), pulling.Seconds(), join(spread), join(after), called.Seconds(), cpu.Seconds(), broker.CPU.Seconds(),
		strings.Join(rss, ", "), float64(broker.RSS)/(1<<20), 100*cores, 100*idle[0].cores), nil
}

func (r *scaleRig) fillOne(lane string, id int) error {
	body := fmt.Sprintf(`{"specversion":"1.0","id":"%d","source":"/crm","type":"lead.created","datacontenttype":"application/json","data":{"id":%d,"phone":"+1415%07d"}}`, id, id, id)
	_, err := r.b.PublishEvent(r.ctx, lane, map[string][]string{"Content-Type": {"application/cloudevents+json"}}, []byte(body), fmt.Sprint(lane, "-", id))
	return err
}

func processes(weirs []*scaleWeir) (all []*chaos.Process) {
	for _, w := range weirs {
		all = append(all, w.Process)
	}
	return all
}

func sorted(owned map[string]int) (n []int) {
	for _, lanes := range owned {
		n = append(n, lanes)
	}
	slices.Sort(n)
	return n
}

func allOf(n []int) (sum int) {
	for _, v := range n {
		sum += v
	}
	return sum
}

func join(n []int) string { return strings.Trim(fmt.Sprint(n), "[]") }

// replicas measures what it costs that more of them share the same lanes.
func (s *scaleBench) replicas() (string, error) {
	const lanes = 200
	t := newScaleTable("replicas", "balanced after s", "lanes of each", "memory of all MiB", "% of a core, all", "broker %", "writes/s")
	for _, n := range s.sizes([]int{1, 2, 4, 8}, []int{1, 2}) {
		r, err := newScaleRig(s.ctx, filepath.Join(s.dir, "replicas"), lanes, simulator.Config{}, s.say)
		if err != nil {
			return "", err
		}
		row, err := s.replicasRow(r, n, lanes)
		r.close()
		if err != nil {
			return "", err
		}
		t.add(n, row...)
	}
	return fmt.Sprintf(`## Replicas

%d idle lanes, shared by more and more replicas that are started at once. Each renews its lease once a second and looks at the others' four times.

%s`, lanes, t), nil
}

func (s *scaleBench) replicasRow(r *scaleRig, n, lanes int) ([]scaleCell, error) {
	if _, err := r.startBroker(); err != nil {
		return nil, err
	}
	if _, err := r.provision(); err != nil {
		return nil, err
	}
	began := time.Now()
	for range n {
		if _, err := r.startWeir(); err != nil {
			return nil, err
		}
	}
	var spread []int
	err := r.awaiting("all lanes to be owned", 100*time.Millisecond, func() bool {
		spread = sorted(r.owned())
		return allOf(spread) == lanes && len(spread) == n && r.pulling(lanes)
	})
	if err != nil {
		return nil, err
	}
	balanced := time.Since(began)
	sleepFor(s.ctx, s.span()/2)
	before, err := r.writes()
	if err != nil {
		return nil, err
	}
	u, err := r.using(s.span(), append([]*chaos.Process{r.proc}, processes(r.weirs)...)...)
	if err != nil {
		return nil, err
	}
	after, err := r.writes()
	var rss int64
	var cores float64
	for _, w := range u[1:] {
		rss += w.rss
		cores += w.cores
	}
	s.say("replicas: %d balanced after %v", n, balanced.Round(time.Millisecond))
	return []scaleCell{
		seconds("balance", balanced), {text: join(spread)}, mib("memory", rss), percent("CPU of all", cores), percent("the broker's CPU", u[0].cores),
		figure("writes", float64(after-before)/s.span().Seconds()),
	}, err
}

// batches measures what an event costs in larger and larger requests.
func (s *scaleBench) batches() (string, error) {
	t := newScaleTable("batch", "requests an event", "ms of weir's CPU an event", "of the broker's", "writes an event", "events/s")
	for _, n := range s.sizes([]int{1, 2, 5, 10, 20}, []int{1, 5}) {
		r, err := newScaleRig(s.ctx, filepath.Join(s.dir, "batch"), 1, simulator.Config{Limit: 10_000, Scale: 1, Seed: 1, Latency: 5 * time.Millisecond}, s.say)
		if err != nil {
			return "", err
		}
		row, err := s.batchRow(r, n)
		r.close()
		if err != nil {
			return "", err
		}
		t.add(n, row...)
	}
	return fmt.Sprintf(`## The size of a batch

One lane and 3,000 events that wait, a provider without a limit that answers after 5 ms; until each is acknowledged. The calls' ends are not part of it.

%s`, t), nil
}

func (s *scaleBench) batchRow(r *scaleRig, n int) ([]scaleCell, error) {
	events := 3000
	if s.small {
		events = 100
	}
	r.batch, r.limit = n, 10_000
	if _, err := r.startBroker(); err != nil {
		return nil, err
	}
	if _, err := r.provision(); err != nil {
		return nil, err
	}
	if err := r.fill(laneName(0), 0, events); err != nil {
		return nil, err
	}
	before, err := r.writes()
	if err != nil {
		return nil, err
	}
	brokerBefore, err := chaos.VitalsOf(r.proc.PID())
	if err != nil {
		return nil, err
	}
	w, err := r.startWeir()
	if err != nil {
		return nil, err
	}
	if err := r.awaiting("the first call", time.Millisecond, func() bool { return r.sim.Report().Conversations > 0 }); err != nil {
		return nil, err
	}
	began := time.Now()
	atFirst, err := chaos.VitalsOf(w.PID())
	if err != nil {
		return nil, err
	}
	err = r.awaiting("all events to be acknowledged", 5*time.Millisecond, func() bool {
		pending, unacked, err := r.b.Backlog(s.ctx, laneName(0))
		return err == nil && pending+unacked == 0
	})
	took := time.Since(began)
	v, e1 := chaos.VitalsOf(w.PID())
	brokers, e2 := chaos.VitalsOf(r.proc.PID())
	after, e3 := r.writes()
	report := r.sim.Report()
	each := func(v float64) float64 { return v / float64(events) }
	return []scaleCell{
		figure("requests", each(float64(report.Requests["create"]))), figure("weir's CPU", each((v.CPU-atFirst.CPU).Seconds()*1000)),
		figure("the broker's CPU", each((brokers.CPU-brokerBefore.CPU).Seconds()*1000)),
		figure("writes", each(float64(after-before))), figure("events/s", float64(events)/took.Seconds()),
	}, errors.Join(err, e1, e2, e3)
}
