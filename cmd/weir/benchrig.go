package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/internal/bench"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/ledger"
)

// benchRig is the processes of one cell, and what talks to them.
type benchRig struct {
	c     *benchCmd
	a     *app
	dir   string
	lanes []string
	next  int // number of the next event
	admin string
	file  string // weir.yaml

	server, yardServer, provider, weir *bench.Child

	asker  *bench.Asker
	broker *broker.Broker // Weir's
	js     jetstream.JetStream
	yards  *broker.Broker // that of the yardsticks
	yard   *bench.Yard
	base   string // of the provider's API

	watches sync.WaitGroup
	failed  context.CancelCauseFunc // ends the run because a process has ended
}

const (
	benchShortLane = "short" // whose calls end at once
	benchPairLane  = "pair"  // nobody's
)

// withBench starts the processes, does the work and stops them. The work's context
// ends when one of them does.
func (c *benchCmd) withBench(a *app, cell bench.Cell, work func(context.Context, *benchRig) error) (err error) {
	dir, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	r := &benchRig{c: c, a: a, dir: dir}
	for i := range cell.Lanes {
		r.lanes = append(r.lanes, fmt.Sprintf("bench-%d", i+1))
	}
	ctx, cancel := context.WithCancelCause(a.ctx)
	defer cancel(nil)
	r.failed = cancel
	defer r.watches.Wait()
	defer func() { err = errors.Join(err, r.stop()) }()
	if err := r.start(ctx, cell); err != nil {
		return err
	}
	if err := work(ctx, r); err != nil {
		if cause := context.Cause(ctx); cause != nil && a.ctx.Err() == nil {
			return cause // a process that ended says more than what failed because of it
		}
		return err
	}
	return nil
}

// watch ends the run if a process ends that nobody has stopped.
func (r *benchRig) watch(child *bench.Child) {
	r.watches.Go(func() {
		if err := child.Await(); err != nil {
			r.failed(err)
		}
	})
}

// children are those that were started.
func (r *benchRig) children() (all []*bench.Child) {
	for _, child := range []*bench.Child{r.weir, r.provider, r.server, r.yardServer} {
		if child != nil {
			all = append(all, child)
		}
	}
	return all
}

// start starts everything but weir serve, whose streams are made first, and then
// that.
func (r *benchRig) start(ctx context.Context, cell bench.Cell) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	part := func(name string, args ...string) (*bench.Child, string, error) {
		child, said, err := bench.StartPart(ctx, name, r.dir, self, args...)
		if err == nil {
			r.watch(child)
		}
		return child, said, err
	}
	var url, yardURL, address string
	if r.server, url, err = part("broker", "bench-broker", filepath.Join(r.dir, "broker"), cell.Sync); err != nil {
		return err
	}
	if r.yardServer, yardURL, err = part("yardsticks-broker", "bench-broker", filepath.Join(r.dir, "yard"), cell.Sync); err != nil {
		return err
	}
	if r.provider, address, err = part("provider", "bench-provider", r.c.Latency.String()); err != nil {
		return err
	}
	r.asker, r.base = &bench.Asker{Address: address}, "http://"+address+"/api/v2"
	if r.broker, err = r.provision(ctx, url); err != nil {
		return err
	}
	r.js = r.broker.JetStream()
	if r.yards, err = r.provision(ctx, yardURL); err != nil {
		return err
	}
	if r.admin, err = freeAddress(ctx); err != nil {
		return err
	}
	if r.file, err = r.configure(url, address, cell); err != nil {
		return err
	}
	r.weir, err = r.serve("serve")
	return err
}

// serve starts weir serve, or a command that is like it.
func (r *benchRig) serve(command string) (*bench.Child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	child, err := bench.StartChild(command, r.dir, self, command, "-c", r.file, "--log-level", "error", "--log-format", "json")
	if err == nil {
		r.watch(child)
	}
	return child, err
}

// provision connects to a broker and makes Weir's streams there.
func (r *benchRig) provision(ctx context.Context, url string) (*broker.Broker, error) {
	b, err := broker.Connect(ctx, r.a.quiet(), broker.Config{URL: url, Name: "weir bench"})
	if err != nil {
		return nil, err
	}
	if _, err := ledger.Open(ctx, b.JetStream(), ledger.Config{}); err != nil {
		return b, err
	}
	return b, b.Provision(ctx)
}

// freeAddress is one of loopback that nobody listens on.
func freeAddress(ctx context.Context) (string, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

// configure writes the weir.yaml of the cell.
func (r *benchRig) configure(url, provider string, cell bench.Cell) (file string, err error) {
	var y strings.Builder
	fmt.Fprintf(&y, "broker: {url: %q}\nadmin: {listen: %q}\nlanes:\n", url, r.admin)
	lane := func(name, base, mean, most string) {
		fmt.Fprintf(&y, `  - name: %s
    provider: oration
    url: http://%s/api/v2
    auth: {api_key: {file: %s}, workspace_id: {file: %s}}
    limit: %d
    batch: %d
    pacing: {mean_call: %s}
    max_call: %s
    routes:
      - type: %s
        request:
          agentId: %s
          conversationType: telephony
          toPhoneNumber: ${ data.phone }
          dynamicVariables: {firstName: "${ data.first_name ?? 'there' }", %s: "${ data.id }"}
`, name, provider+base, name, name, benchMostLane, cell.Batch, mean, most, bench.Type, bench.Agent, bench.Mark)
	}
	names := []string{benchShortLane}
	lane(benchShortLane, benchShort, "100ms", "1h")
	for _, name := range r.lanes {
		lane(name, "", "4h", "24h")
		names = append(names, name)
	}
	for _, name := range names { // each lane has a workspace of its own
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(name), 0o600); err != nil {
			return "", err
		}
	}
	file = filepath.Join(r.dir, "weir.yaml")
	if err := os.WriteFile(file, []byte(y.String()), 0o600); err != nil {
		return "", err
	}
	if _, err := config.Load(file, r.a.getenv); err != nil {
		return "", fmt.Errorf("the configuration that weir bench wrote: %w", err)
	}
	return file, nil
}

// stop stops what was started, weir serve first.
func (r *benchRig) stop() error {
	if r.yard != nil {
		r.yard.Close()
	}
	var errs []error
	if r.weir != nil { // before the broker that it uses
		errs = append(errs, r.weir.Stop())
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.a.ctx), 5*time.Second)
	defer cancel()
	for _, b := range []*broker.Broker{r.broker, r.yards} {
		if b != nil {
			errs = append(errs, b.Close(ctx))
		}
	}
	for _, child := range r.children() {
		errs = append(errs, child.Stop())
	}
	return errors.Join(errs...)
}

// say tells how far the run is.
func (r *benchRig) say(format string, v ...any) {
	fmt.Fprintf(r.a.stderr, format+"\n", v...)
}
