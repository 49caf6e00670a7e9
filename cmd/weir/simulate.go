package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/weirhq/weir/internal/simulator"
)

// simulateCmd is weir simulate.
type simulateCmd struct {
	Listen     string        `default:"127.0.0.1:8077" placeholder:"ADDRESS" help:"Loopback address (${default})."`
	Limit      int           `default:"20" help:"Slots of the workspace (${default})."`
	Scale      float64       `default:"20" help:"How many times faster than life calls run (${default})."`
	Seed       uint64        `default:"1" help:"Of faults and call lengths (${default})."`
	Shape      string        `enum:"wrapped,flat,mixed" default:"mixed" help:"Shape of answers: ${enum} (${default})."`
	Overflow   string        `enum:"whole,partial,multi,mixed" default:"mixed" help:"Answer to more than fits: ${enum} (${default})."`
	Headers    string        `enum:"x-ratelimit,ietf,none" default:"x-ratelimit" help:"Limit headers: ${enum} (${default})."`
	Faults     string        `enum:"none,some,worst" default:"none" help:"How often requests go wrong: ${enum} (${default}); some is 5 %, worst 25 %."`
	RetryAfter time.Duration `placeholder:"DURATION" help:"Retry-After on each 429, in whole seconds; default: none."`
	Log        string        `type:"path" placeholder:"FILE" help:"Append a line of JSON for each conversation made and ended."`
}

// faults are the fault rates behind a word, in all 5 % and 25 %. Half of them
// make a conversation and hide it.
func faults(word string) simulator.Faults {
	share := map[string]float64{"some": 0.05, "worst": 0.25}[word] / 10
	return simulator.Faults{
		Refuse503: share, HTML502: share, ResetEarly: share,
		Accepted500: share, AcceptedHang: share, Cut: share, Reset: share,
		DropResult: share, ItemError: share, Slow: share,
		Shuffle: share * 10, // no fault to a client that reads what it gets
	}
}

// Run serves the simulated provider until the process is asked to stop.
func (c *simulateCmd) Run(a *app) (err error) {
	if c.Log == "" {
		return c.serve(a, nil)
	}
	log, err := os.OpenFile(c.Log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	return c.serve(a, log)
}

func (c *simulateCmd) serve(a *app, log io.Writer) error {
	s, err := simulator.New(a.lg, simulator.Config{
		Limit: c.Limit, Scale: c.Scale, Seed: c.Seed, Shape: c.Shape, Overflow: c.Overflow, Headers: c.Headers,
		RetryAfter: c.RetryAfter, Faults: faults(c.Faults), Log: log,
	})
	if err != nil {
		return usageError{err}
	}
	ln, err := listenLoopback(a.ctx, c.Listen)
	if err != nil {
		return err
	}
	c.introduce(a, s, ln.Addr())
	if err := s.Serve(a.ctx, ln); err != nil {
		return err
	}
	return a.printBalance(s)
}

// listenLoopback listens, and refuses before it does so an address that others
// could reach: the simulator's credentials protect nothing.
func listenLoopback(ctx context.Context, address string) (net.Listener, error) {
	addr, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, usageError{fmt.Errorf("--listen: %w", err)}
	}
	if !addr.IP.IsLoopback() {
		return nil, usageError{fmt.Errorf("--listen: %s is not a loopback address; use 127.0.0.1:%d", address, addr.Port)}
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr.String())
	if err != nil {
		return nil, fmt.Errorf("%w; another program may have the port: choose another with --listen", err)
	}
	return ln, nil
}

// introduce says how to use the simulator: beside the result, so that JSON
// output stays one document.
func (c *simulateCmd) introduce(a *app, s *simulator.Simulator, addr net.Addr) {
	w := a.stdout
	if a.flags.Output == "json" {
		w = a.stderr
	}
	fmt.Fprintf(w, "simulated provider on http://%s, %d slots, calls %v times faster than in life, faults: %s\n", addr, c.Limit, c.Scale, c.Faults)
	fmt.Fprintf(w, "in weir.yaml: url: http://%s/api/v2, with any api_key and workspace_id\n", addr)
	fmt.Fprintf(w, "the longest call takes %v at this scale: set max_call above it\n", s.MaxCall().Round(time.Millisecond))
	fmt.Fprintf(w, "stop it with Ctrl-C\n")
}

// balance is the simulator's report with what a reader asks first.
type balance struct {
	simulator.Report
	Hidden int `json:"hidden"` // conversations whose answer does not show them
}

// printBalance prints what happened.
func (a *app) printBalance(s *simulator.Simulator) error {
	b := balance{Report: s.Report()}
	for _, conv := range s.Conversations() {
		if conv.Hidden {
			b.Hidden++
		}
	}
	err := a.print(b, func(w io.Writer) {
		fmt.Fprintf(w, "conversations made\t%d\n", b.Conversations)
		fmt.Fprintf(w, "hidden answers\t%d\n", b.Hidden)
		fmt.Fprintf(w, "doubled\t%d\n", len(b.Doubled))
		fmt.Fprintf(w, "highest slots in use\t%d of %d\n", b.Highest, b.Limit)
		fmt.Fprintf(w, "answers 429\t%d\n", b.Full)
		for _, name := range slices.Sorted(maps.Keys(b.Faults)) {
			fmt.Fprintf(w, "fault %s\t%d\n", strings.ReplaceAll(name, "_", " "), b.Faults[name])
		}
	})
	if b.LogError != "" {
		err = errors.Join(err, fmt.Errorf("the log has a gap: %s", b.LogError))
	}
	return err
}
