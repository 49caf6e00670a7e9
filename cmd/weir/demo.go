package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/simulator"
)

// demoCmd is weir demo.
type demoCmd struct {
	Seed     uint64        `default:"7" help:"Of the simulated providers' faults and call lengths."`
	Duration time.Duration `default:"75s" help:"Give up after this long."`
}

// Run shows the whole job on temporary state and fails if anything was lost,
// doubled or over the limit.
func (c *demoCmd) Run(a *app) (err error) {
	dir, err := os.MkdirTemp("", "weir-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ctx, cancel := context.WithTimeout(a.ctx, c.Duration)
	defer cancel()
	d := &demo{app: a, lanes: demoLanes(c.Seed), began: time.Now(), leave: func() {}}
	if s, whole := a.screenOn(a.stderr); whole {
		d.page = &demoPage{brush: a.brushFor(a.stderr), began: d.began}
		d.leave = d.page.showOn(ctx, s, a.stderr)
		defer d.leave()
	}
	return d.run(ctx, dir)
}

// demo is one run of the demo.
type demo struct {
	app   *app
	lanes []*demoLane
	began time.Time
	svc   *service
	page  *demoPage  // nil: lines are printed as they come
	leave func()     // the page; what is printed after that is seen
	mu    sync.Mutex // one line at a time
}

// run starts everything, plays the story and draws the balance.
func (d *demo) run(ctx context.Context, dir string) (err error) {
	var wg sync.WaitGroup
	defer wg.Wait()
	around, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	cfg, err := d.configure(around, dir, &wg)
	if err != nil {
		return err
	}
	if d.svc, err = startService(ctx, zerolog.Nop(), cfg); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.svc.close()) }()
	served := make(chan error, 1)
	serving, finish := context.WithCancel(around)
	go func() { served <- d.svc.run(serving) }()
	wg.Go(func() { d.tell(around) })

	d.say("", "Three lanes, a simulated provider behind each, an embedded broker in %s.", dir)
	d.say("", "Calls run %d times faster than in life; each provider takes so many at once.", demoScale)
	err = d.play(ctx)
	if err == nil {
		err = d.settled(ctx)
	}
	finish()
	err = errors.Join(err, <-served)
	stop()
	if errors.Is(err, context.DeadlineExceeded) {
		d.say("", "Time is up; the balance shows what is left.")
		err = nil
	}
	if err != nil {
		return err
	}
	d.leave()
	return d.balance(context.WithoutCancel(ctx))
}

// configure starts the providers and writes the weir.yaml that the demo runs
// on, as an operator would.
func (d *demo) configure(ctx context.Context, dir string, wg *sync.WaitGroup) (*config.Config, error) {
	var y strings.Builder
	fmt.Fprintf(&y, "embedded: {dir: %q}\nlanes:\n", filepath.Join(dir, "store"))
	for i, ln := range d.lanes {
		ln.sent = make(map[string]string)
		var err error
		if ln.provider, err = ln.simulate(); err != nil {
			return nil, err
		}
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		wg.Go(func() { _ = ln.provider.Serve(ctx, l) }) // ends with ctx; its requests would fail loudly
		fmt.Fprintf(&y, ln.yaml, ln.name, l.Addr(), ln.provider.MaxCall()+time.Second, i)
	}
	return config.Parse("weir.yaml", []byte(y.String()), func(name string) string { return name }) // any credential is taken
}

// play publishes the leads, the good ones and the bad, and breaks the first
// provider for a while.
func (d *demo) play(ctx context.Context) error {
	for _, ln := range d.lanes {
		d.say(ln.name, "%d leads arrive, some of them twice, some of them not usable.", ln.leads)
		for i := range ln.leads {
			if err := d.publish(ctx, ln, i); err != nil {
				return err
			}
		}
	}
	if err := sleep(ctx, 5*time.Second); err != nil {
		return err
	}
	broken := d.lanes[0]
	d.say(broken.name, "The provider goes down: 503 for four seconds.")
	if err := broken.provider.SetOutage(simulator.Outage503, time.Now().Add(4*time.Second)); err != nil {
		return err
	}
	if err := sleep(ctx, 4*time.Second); err != nil {
		return err
	}
	d.say(broken.name, "The provider is well again.")
	return nil
}

func sleep(ctx context.Context, dur time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(dur):
		return nil
	}
}

// settled waits until no event is waiting and no call is live.
func (d *demo) settled(ctx context.Context) error {
	for {
		busy := false
		for _, ln := range d.lanes {
			pending, unacked, err := d.svc.broker.Backlog(ctx, ln.name)
			if err != nil {
				return err
			}
			count, err := d.count(ctx, ln)
			if err != nil {
				return err
			}
			busy = busy || pending+unacked > 0 || count.live > 0
		}
		if !busy {
			return nil
		}
		if err := sleep(ctx, 250*time.Millisecond); err != nil {
			return err
		}
	}
}

// say prints one line of the story.
func (d *demo) say(lane, format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	line := fmt.Sprintf("%5.1fs  %-15s %s", time.Since(d.began).Seconds(), lane, fmt.Sprintf(format, args...))
	if d.page != nil {
		d.page.tell(line)
		return
	}
	fmt.Fprintln(d.app.stderr, line)
}

// tell reports what the lanes do, a line a lane each second, and each new dead
// letter and doubt with its reason, until ctx ends.
func (d *demo) tell(ctx context.Context) {
	seen := make(map[string]bool)
	for sleep(ctx, time.Second) == nil {
		for _, ln := range d.lanes {
			d.tellKept(ctx, ln, seen)
			d.tellStatus(ctx, ln)
		}
	}
}

// tellKept prints the dead letters and doubts that are new.
func (d *demo) tellKept(ctx context.Context, ln *demoLane, seen map[string]bool) {
	for _, state := range []consumer.State{consumer.Dead, consumer.Doubt} {
		for l, err := range d.svc.broker.Letters(ctx, state, ln.name) {
			if err != nil {
				return // the broker is closing
			}
			if !seen[l.Intent] {
				seen[l.Intent] = true
				what := "dead letter"
				if state == consumer.Doubt {
					what = "in doubt (the call may be live: its slot stays taken)"
				}
				d.say(ln.name, "%s: %s: %s", what, cmp.Or(l.ID, "event without id"), l.Reason)
			}
		}
	}
}

// tellStatus prints a line that shows the slots in use.
func (d *demo) tellStatus(ctx context.Context, ln *demoLane) {
	pending, unacked, err := d.svc.broker.Backlog(ctx, ln.name)
	if err != nil {
		return // the broker is closing
	}
	r := ln.provider.Report()
	now := demoNow{
		lane: ln.name, live: r.Live, limit: r.Limit, made: r.Conversations, full: r.Full,
		waiting: pending + unacked, status: d.svc.status(ctx, ln.name),
	}
	if d.page != nil {
		d.page.look(now)
		return
	}
	d.say(ln.name, "%s", now.line())
}
