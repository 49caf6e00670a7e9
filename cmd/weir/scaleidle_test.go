//go:build chaos && linux

package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/weirhq/weir/internal/simulator"
)

// idleGoals are those of 1,000 idle lanes above the bare loop.
const (
	idleMemory = 100 << 20
	idleCores  = 0.02
)

// idle measures lanes that have nothing to do, beside a bare loop over the same
// consumers.
func (s *scaleBench) idle() (string, error) {
	t := newScaleTable("lanes", "weir MiB", "bare MiB", "weir % of a core", "bare %", "broker % with weir", "with bare", "goroutines", "writes/s", "start s")
	said := ""
	for _, lanes := range s.sizes([]int{30, 100, 300, 1000}, []int{5, 20}) {
		r, err := newScaleRig(s.ctx, filepath.Join(s.dir, "idle"), lanes, simulator.Config{}, s.say)
		if err != nil {
			return "", err
		}
		row, goal, err := s.idleRow(r, lanes)
		r.close()
		if err != nil {
			return "", err
		}
		t.add(lanes, row...)
		if lanes == 1000 {
			said = goal
		}
	}
	return fmt.Sprintf(`## Idle lanes

Lanes that wait for an event, each with its three consumers, after 25 s of rest, and 150 s at the largest size, since Go collects what the start needed after two minutes of rest; measured for %v. Nobody scrapes. The bare loop is nats.go alone: a pull of half a minute on each of the same consumers. Start is until each account is owned and its first pull is open.

%s
%s`, s.span(), t, said), nil
}

func (s *scaleBench) idleRow(r *scaleRig, lanes int) (row []scaleCell, goal string, err error) {
	if _, err = r.startBroker(); err != nil {
		return nil, "", err
	}
	if _, err = r.provision(); err != nil {
		return nil, "", err
	}
	w, err := r.startWeir()
	if err != nil {
		return nil, "", err
	}
	if err := r.awaiting("the lanes to run", 200*time.Millisecond, func() bool { return r.running(lanes) }); err != nil {
		return nil, "", err
	}
	start := time.Since(w.began)
	s.say("idle: %d lanes run after %v", lanes, start.Round(time.Millisecond))
	settle := 25 * time.Second
	if lanes >= 1000 {
		settle = 150 * time.Second // after two minutes of rest Go collects what the start needed
	}
	if s.small {
		settle = time.Second
	}
	sleepFor(s.ctx, settle)
	wrote, err := r.writes()
	if err != nil {
		return nil, "", err
	}
	with, err := r.using(s.span(), w.Process, r.proc)
	if err != nil {
		return nil, "", err
	}
	now, err := r.writes()
	if err != nil {
		return nil, "", err
	}
	goroutines, err := w.metric("go_goroutines")
	if err != nil {
		return nil, "", err
	}
	r.stopWeirs()
	bare, err := r.startBare()
	if err != nil {
		return nil, "", err
	}
	defer stopProcess(bare)
	if err := r.awaiting("the bare loop's pulls", 200*time.Millisecond, func() bool { return r.pulling(lanes) }); err != nil {
		return nil, "", err
	}
	sleepFor(s.ctx, settle)
	alone, err := r.using(s.span(), bare, r.proc)
	if err != nil {
		return nil, "", err
	}
	memory, cores := with[0].rss-alone[0].rss, with[0].cores-alone[0].cores
	goal = fmt.Sprintf("Goal, 1,000 idle lanes cost at most 100 MiB and 2 %% of a core more than the bare loop: %s; %s.\n",
		met(memory <= idleMemory, fmt.Sprintf("%.1f MiB more", float64(memory)/(1<<20))), met(cores <= idleCores, fmt.Sprintf("%.2f %% more", 100*cores)))
	s.say("%d lanes: %s", lanes, goal)
	return []scaleCell{
		mib("weir's memory", with[0].rss), mib("the bare loop's", alone[0].rss), percent("weir's CPU", with[0].cores), percent("the bare loop's CPU", alone[0].cores),
		percent("the broker's CPU", with[1].cores), percent("with the bare loop", alone[1].cores),
		figure("goroutines", goroutines), figure("", float64(now-wrote)/s.span().Seconds()), seconds("start", start),
	}, goal, nil
}

// running reports whether each lane has its owner, and a pull is open on the
// consumers of the last ones.
func (r *scaleRig) running(lanes int) bool {
	n := 0
	for _, owned := range r.owned() {
		n += owned
	}
	return n == lanes && r.pulling(lanes)
}

// pulling reports whether a pull is open on each lane's queue of events. It asks for
// the consumers one by one, those first that were not seen to have one.
func (r *scaleRig) pulling(lanes int) bool {
	if r.pulled == nil {
		r.pulled = make(map[int]bool)
	}
	for i := range lanes {
		if r.pulled[i] {
			continue
		}
		c, err := r.b.JetStream().Consumer(r.ctx, "WEIR_EVENTS", "weir-"+laneName(i))
		if err != nil || c.CachedInfo().NumWaiting == 0 {
			return false
		}
		r.pulled[i] = true
	}
	r.pulled = nil
	return true
}

func laneName(i int) string { return fmt.Sprint("lane-", i) }
