package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirhq/weir/internal/simulator"
)

// simulateCmd is weir simulate: both providers behind one address.
type simulateCmd struct {
	Listen       string        `default:"127.0.0.1:8077" placeholder:"ADDRESS" help:"Loopback address, or any with --tls (${default})."`
	TLS          string        `name:"tls" type:"path" placeholder:"DIR" help:"Serve https. The certificate is made in this folder; simulator.pem there is what clients must trust."`
	TLSName      []string      `name:"tls-name" default:"localhost,127.0.0.1" placeholder:"NAME" help:"Names and IP addresses that the certificate is for (${default})."`
	Alive        bool          `help:"Start nothing: ask whether the simulator at --listen answers."`
	Limit        int           `default:"20" help:"Slots of the Oration workspace (${default})."`
	CallLimit    int           `default:"10" help:"Telephone calls at once of the Anyreach organization (${default})."`
	Scale        float64       `default:"20" help:"How many times faster than life conversations run (${default})."`
	Seed         uint64        `default:"1" help:"Of faults and call lengths (${default})."`
	Shape        string        `enum:"wrapped,flat,mixed" default:"mixed" help:"Shape of Oration's answers: ${enum} (${default})."`
	Overflow     string        `enum:"whole,partial,multi,mixed" default:"mixed" help:"Oration's answer to more than fits: ${enum} (${default})."`
	Headers      string        `enum:"x-ratelimit,ietf,none" default:"x-ratelimit" help:"Oration's limit headers: ${enum} (${default})."`
	VisibleAfter time.Duration `default:"1s" placeholder:"DURATION" help:"How long half of Anyreach's new calls cannot be found yet (${default})."`
	Faults       string        `enum:"none,some,worst" default:"none" help:"How often requests go wrong: ${enum} (${default}); some is 5 %, worst 25 %."`
	RetryAfter   time.Duration `placeholder:"DURATION" help:"Retry-After on each 429, in whole seconds; default: none."`
	Webhooks     string        `placeholder:"URL" help:"Where Oration's webhooks go, on loopback: http://127.0.0.1:8090/hooks/provider/LANE/SECRET. With faults some are late, twice, early or never."`
	Log          string        `type:"path" placeholder:"FILE" help:"Append a line of JSON for each conversation made and ended."`
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

// webhooksTo are webhooks as unreliable as the word says. Half of those that go
// wrong never come.
func webhooksTo(url, word string) simulator.Webhooks {
	share := map[string]float64{"some": 0.05, "worst": 0.25}[word]
	return simulator.Webhooks{
		URL: url, Never: share / 2, Late: share / 2, Twice: share, Disorder: share, Early: share / 4, Prefixed: share,
	}
}

// Run serves the simulated provider until the process is asked to stop.
func (c *simulateCmd) Run(a *app) (err error) {
	if c.Alive {
		return c.ask(a)
	}
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
	sims, err := c.providers(a, log)
	if err != nil {
		return usageError{err}
	}
	group, err := simulator.Join(sims...)
	if err != nil {
		return err
	}
	cert, err := c.certificate()
	if err != nil {
		return err
	}
	ln, err := listen(a.ctx, c.Listen, cert != nil)
	if err != nil {
		return err
	}
	c.introduce(a, sims, c.base(ln.Addr()))
	if cert == nil {
		err = group.Serve(a.ctx, ln)
	} else {
		err = group.ServeTLS(a.ctx, ln, *cert)
	}
	if err != nil {
		return err
	}
	return a.printBalance(sims)
}

// providers are the simulated providers, in the order of the balance.
func (c *simulateCmd) providers(a *app, log io.Writer) ([]*simulator.Simulator, error) {
	oration, errOration := simulator.New(a.lg, simulator.Config{
		Limit: c.Limit, Scale: c.Scale, Seed: c.Seed, Shape: c.Shape, Overflow: c.Overflow, Headers: c.Headers,
		RetryAfter: c.RetryAfter, Faults: faults(c.Faults), Webhooks: webhooksTo(c.Webhooks, c.Faults), Log: log,
	})
	anyreach, errAnyreach := simulator.NewAnyreach(a.lg, simulator.AnyreachConfig{
		Limit: c.CallLimit, Scale: c.Scale, Seed: c.Seed, VisibleAfter: c.VisibleAfter, VisibleShare: .5,
		Accepted: simulator.Mixed, Detail: simulator.Mixed,
		RetryAfter: c.RetryAfter, Faults: faults(c.Faults), Log: log,
	})
	return []*simulator.Simulator{oration, anyreach}, cmp.Or(errOration, errAnyreach)
}

// listen listens, and refuses before it does so an address that others could
// reach, unless open: the simulator's credentials protect nothing.
func listen(ctx context.Context, address string, open bool) (net.Listener, error) {
	addr, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, usageError{fmt.Errorf("--listen: %w", err)}
	}
	if !addr.IP.IsLoopback() && !open {
		return nil, usageError{fmt.Errorf("--listen: %s is not a loopback address; use 127.0.0.1:%d, or --tls too where nobody else reaches it", address, addr.Port)}
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
func (c *simulateCmd) introduce(a *app, sims []*simulator.Simulator, url string) {
	w := a.stdout
	if a.flags.Output == "json" {
		w = a.stderr
	}
	var longest time.Duration
	for _, s := range sims {
		longest = max(longest, s.MaxCall())
	}
	fmt.Fprintf(w, "simulated providers on %s, conversations %v times faster than in life, faults: %s\n", url, c.Scale, c.Faults)
	fmt.Fprintf(w, "Oration, %d slots: in weir.yaml url: %s/api/v2, with any api_key and workspace_id\n", c.Limit, url)
	fmt.Fprintf(w, "Anyreach, %d calls at once: in weir.yaml url: %s, with any token\n", c.CallLimit, url)
	fmt.Fprintf(w, "the longest call takes %v at this scale: set max_call above it\n", longest.Round(time.Millisecond))
	fmt.Fprintf(w, "stop it with Ctrl-C\n")
}

// balance is a simulator's report with what a reader asks first.
type balance struct {
	Provider string `json:"provider"`
	simulator.Report
	Hidden int `json:"hidden"` // conversations whose answer does not show them
}

// printBalance prints what happened, a column for each provider.
func (a *app) printBalance(sims []*simulator.Simulator) error {
	balances := make([]balance, len(sims))
	struck := make(map[string]bool)
	var gaps error
	for i, s := range sims {
		b := balance{Provider: s.Provider(), Report: s.Report()}
		for _, conv := range s.Conversations() {
			if conv.Hidden {
				b.Hidden++
			}
		}
		for name := range b.Faults {
			struck[name] = true
		}
		if b.LogError != "" {
			gaps = errors.Join(gaps, fmt.Errorf("the log of %s has a gap: %s", b.Provider, b.LogError))
		}
		balances[i] = b
	}
	err := a.print(balances, func(w io.Writer) {
		row := func(name string, value func(b balance) string) {
			fmt.Fprint(w, name)
			for _, b := range balances {
				fmt.Fprint(w, "\t", value(b))
			}
			fmt.Fprintln(w)
		}
		count := func(name string, n func(b balance) int) {
			row(name, func(b balance) string { return strconv.Itoa(n(b)) })
		}
		row("", func(b balance) string { return strings.ToUpper(b.Provider) })
		count("conversations made", func(b balance) int { return b.Conversations })
		count("hidden answers", func(b balance) int { return b.Hidden })
		count("doubled", func(b balance) int { return len(b.Doubled) })
		row("highest slots in use", func(b balance) string { return fmt.Sprintf("%d of %d", b.Highest, b.Limit) })
		count("most that waited there", func(b balance) int { return b.QueuedMost })
		count("answers 429", func(b balance) int { return b.Full })
		if slices.ContainsFunc(balances, func(b balance) bool { return b.Webhooks != nil }) {
			count("webhooks sent", func(b balance) int { return b.Webhooks["sent"] })
			count("webhooks taken", func(b balance) int { return b.Webhooks["taken"] })
		}
		for _, name := range slices.Sorted(maps.Keys(struck)) {
			count("fault "+strings.ReplaceAll(name, "_", " "), func(b balance) int { return b.Faults[name] })
		}
	})
	return errors.Join(err, gaps)
}
