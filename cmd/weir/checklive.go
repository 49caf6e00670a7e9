package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/ledger"
)

// live walks through an installation that runs, from the broker to the lanes, and
// says what keeps leads from being called. No call is placed, and nothing changed.
func (c *checklist) live(ctx context.Context, cfg *config.Config) {
	c.listeners(ctx, cfg)
	var b *broker.Broker
	err := c.away
	if err == nil {
		b, err = reach(ctx, c.app.quiet(), cfg)
	}
	if err != nil {
		next := "start it, or bring its broker back"
		if broker.Leaderless(err) {
			next = nextFor(err)
		}
		c.add(checkFail, "weir serve", next, "the broker cannot be asked: %v", leaderless(err))
		return
	}
	defer func() {
		if err := b.Close(context.WithoutCancel(ctx)); err != nil {
			c.app.lg.Debug().Err(err).Msg("close")
		}
	}()
	if !c.rooms(ctx, b) {
		return // whatever else is asked waits for the same leader
	}
	led, err := openLedger(ctx, b.JetStream(), reachFor)
	if err != nil {
		c.add(checkFail, "ledger", "see that the broker is well; nothing is sent before it can be read", "%v", err)
		return
	}
	d := &desk{cfg: cfg, broker: b, ledger: led}
	rows, err := (&laneView{desk: d}).rows(ctx)
	if err != nil {
		c.add(checkFail, "lanes", "see that the broker is well, and look at the log of weir serve", "they cannot be looked at: %v", err)
		return
	}
	for _, r := range rows {
		c.lines = append(c.lines, judgeLane(r)...)
	}
}

// roomsOf are the streams in the order in which an event passes them, with what
// happens without room in them.
var roomsOf = []struct{ stream, lack string }{
	{broker.StreamEvents, "publishers are refused when it is full"},
	{ledger.Stream, "no new event is begun above nine tenths"},
	{broker.StreamDead, "no new event is begun above nine tenths"},
	{broker.StreamLanes, "replicas cannot renew their leases without it"},
}

// leaderFor is how long a stream may take to say how it is: longer than an election.
const leaderFor = 8 * time.Second

// rooms looks at the streams that nothing goes without: whether somebody leads them,
// and what room is left. It reports whether all answered.
func (c *checklist) rooms(ctx context.Context, b *broker.Broker) bool {
	for _, r := range roomsOf {
		asking, cancel := context.WithTimeout(ctx, leaderFor)
		fill, err := b.Fill(asking, r.stream)
		cancel()
		switch {
		case unlessMissing(err) == nil && err != nil:
			c.add(checkFail, "stream "+r.stream, "start weir serve once", "it is not there: weir serve has never run on this broker")
			return false
		case err != nil:
			c.add(checkFail, "stream "+r.stream, "see that most servers of the cluster run and reach each other (nats server report jetstream); weir goes on by itself",
				"the broker has no leader for it, or does not answer: %v", err)
			return false // nor would the next one
		default:
			c.lines = append(c.lines, judgeRoom(r.stream, r.lack, fill))
		}
	}
	return true
}

// judgeRoom says how much room a stream has left.
func judgeRoom(stream, lack string, fill broker.Fill) checked {
	line := checked{Result: checkOK, Check: "stream " + stream, Detail: fmt.Sprintf("it answers; %v used", fill)}
	switch {
	case fill.Above(softLimit):
		line.Result = checkFail
	case fill.Above(nearLimit):
		line.Result = checkWarn
	default:
		return line
	}
	line.Detail = fmt.Sprintf("it is filling up: %v are used; %s", fill, lack)
	if line.Next = vital[stream]; line.Next == "" {
		line.Next = "raise the stream's max_bytes, or see why the lanes do not keep up"
	}
	return line
}

// listeners asks what others ask: the administrator's, the gateway's and the
// console's, and the gateway by its public address.
func (c *checklist) listeners(ctx context.Context, cfg *config.Config) {
	c.admin(ctx, cfg.Admin)
	if g := cfg.Gateway; g.Listen != "" {
		c.touched(ctx, "gateway", g.Listen)
		c.public(ctx, cfg)
	}
	if cfg.Console.Listen != "" {
		c.touched(ctx, "console", cfg.Console.Listen)
	}
}

// admin asks whether events may come to the process on this machine.
func (c *checklist) admin(ctx context.Context, cfg config.Admin) {
	base, err := adminURL(cfg.Listen)
	if err != nil {
		c.add(checkWarn, "health", "", "%v", err)
		return
	}
	asking, cancel := context.WithTimeout(ctx, reachAddress)
	defer cancel()
	told, err := askHealth(asking, base+"/readyz")
	switch {
	case err != nil:
		c.add(checkFail, "health", "start weir serve on this machine, or ask where it runs", "no weir serve answers at %s: %v", cfg.Listen, err)
	case told.Status != "ready":
		c.add(checkFail, "health", "events cannot be stored by this process; docs/health.md says what each reason means", "not ready: %s", told.Detail)
	default:
		c.add(checkOK, "health", "", "the weir serve of this machine is ready")
	}
}

// touched connects to a listener.
func (c *checklist) touched(ctx context.Context, name, listen string) {
	base, err := adminURL(listen) // where a process of this machine finds it
	if err == nil {
		_, err = touch(ctx, base)
	}
	if err != nil {
		c.add(checkFail, name, "see that weir serve runs on this machine with this file", "%s does not answer: %v", listen, err)
		return
	}
	c.add(checkOK, name, "", "%s answers", listen)
}

// public asks the gateway by the address that others have, under a path of webhooks
// that nobody has: only a gateway answers that with a problem document.
func (c *checklist) public(ctx context.Context, cfg *config.Config) {
	var hooked []string
	for _, ac := range cfg.Accounts {
		for _, lc := range ac.Lanes {
			if lc.Webhook.Secret != "" || lc.CRM != nil {
				hooked = append(hooked, lc.Name)
			}
		}
	}
	address := cfg.Gateway.PublicURL
	switch {
	case len(hooked) == 0:
		return
	case address == "":
		c.add(checkWarn, "webhooks", "set gateway.public_url", "whether they can reach this gateway is not known: its public address is not given; lanes that wait for some: %s", strings.Join(hooked, ", "))
		return
	}
	err := askGateway(ctx, strings.TrimSuffix(address, "/")+"/hooks/provider/none/none")
	if err != nil {
		c.add(checkFail, "webhooks", "see that the proxy and the name lead to the gateway; without webhooks slots are free later",
			"they cannot reach this gateway at %s: %v", address, err)
		return
	}
	c.add(checkOK, "webhooks", "", "this gateway answers at %s; nothing was sent there that counts", address)
}

// askGateway is nil if a gateway answers. A proxy's own page is none.
func askGateway(ctx context.Context, url string) (err error) {
	asking, cancel := context.WithTimeout(ctx, reachAddress)
	defer cancel()
	req, err := http.NewRequestWithContext(asking, http.MethodGet, url, http.NoBody)
	if err != nil {
		return errors.New("it is no URL")
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{}).DialContext},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	if kind := resp.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/problem+json") {
		return fmt.Errorf("somebody else answers there, with %s", resp.Status)
	}
	return nil
}

// byWeir begins the reason of a pause that no person ordered.
const byWeir = "by weir: "

// verdictOf says how bad the cause is for which a lane does not send, and what to do.
func verdictOf(r laneRow) (result, next string) {
	switch r.Cause {
	case consumer.CauseHeld:
		return checkFail, "read docs/restore.md, then weir release"
	case consumer.CausePaused:
		if strings.HasPrefix(r.Why, byWeir) {
			return checkFail, "mend what the reason names, then weir lane resume " + r.Lane
		}
		return checkWarn, "weir lane resume " + r.Lane + " lets it go on"
	case consumer.CauseOwner:
		return checkFail, "see that the machine of its owner and the way to the broker are fast enough; it goes on when the lease is renewed"
	case consumer.CauseRoom:
		return checkFail, "make room as the reason says; it goes on by itself"
	case consumer.CauseUnauthorized:
		return checkFail, "put credentials that are good into the configuration (auth), and start weir serve again"
	case consumer.CauseBreaker:
		return checkFail, "ask the provider; weir tries again by itself"
	case consumer.CauseClock:
		return checkFail, "set the clocks by NTP; it goes on by itself"
	case consumer.CauseUnexplained:
		return checkFail, "see who else uses the account, and keep slots for them with reserve"
	case consumer.CauseBroker:
		return checkFail, "look at the log of weir serve, and at the broker"
	case consumer.CausePacing:
		return checkWarn, "nothing: it goes on by itself"
	case consumer.CauseSlot:
		if strings.Contains(r.Why, "somebody else") { // a lane with a reserve is full below its limit
			return checkWarn, "see who else uses the account, and keep slots for them with reserve"
		}
		return checkOK, ""
	default:
		return checkOK, ""
	}
}

// judgeLane says how a lane is: a line for what it does, and one for each thing that
// is to be said besides.
func judgeLane(r laneRow) []checked {
	name := "lane " + r.Lane
	var lines []checked
	add := func(result, next, format string, args ...any) {
		lines = append(lines, checked{Result: result, Check: name, Detail: clean(fmt.Sprintf(format, args...)), Next: clean(next)})
	}
	doing := fmt.Sprintf("%s; slots %s, %d waiting", r.state(), r.slots(), r.Waiting)
	if r.Owner != "" {
		doing += ", run by " + r.Owner
	}
	switch {
	case r.State == notRunning && r.Why == "":
		add(checkFail, "start weir serve; if it runs, its file has no such lane", "no weir serve runs it; %d events wait", r.Waiting)
	case r.State == notRunning:
		add(checkFail, "start weir serve, or wait until another one has taken over", "no weir serve runs it: %s", r.Why)
	case r.State == "unknown":
		add(checkFail, "look at the log of its owner", "its owner does not say what it does: %s", r.Why)
	default:
		result, next := verdictOf(r)
		if r.Why != "" {
			doing += ": " + r.Why
		}
		if result == checkOK && strings.Contains(r.Why, "clock") {
			result, next = checkFail, "set the clocks by NTP; what depends on the time of day waits until then"
		}
		if result == checkOK && !slices.Contains([]string{"running", "waiting"}, r.State) {
			result, next = checkFail, "look at the log of weir serve"
		}
		add(result, next, "%s", doing)
	}
	for _, note := range r.Notes {
		add(checkWarn, "", "%s", note)
	}
	if words := r.Outcomes.words(); words != "" {
		add(checkWarn, "see that the address takes them; weir undelivered list shows what was given up", "%s", words)
	}
	if r.Doubts > 0 {
		add(checkWarn, "weir doubt list --lane "+r.Lane, "%d events are in doubt and wait for a person", r.Doubts)
	}
	if r.Dead > 0 {
		add(checkWarn, "weir dead list --lane "+r.Lane, "%d events are dead letters", r.Dead)
	}
	return lines
}
