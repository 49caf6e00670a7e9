package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/config"
)

// checkCmd is weir check.
type checkCmd struct {
	Live bool `help:"Look at the installation that runs, too: what each lane does and why it does no more."`
}

// The results of a check, as broker.Grade has them.
const (
	checkOK   = "ok"
	checkWarn = "warning"
	checkFail = "problem"
)

// checked is one line of the result.
type checked struct {
	Result string `json:"result"`
	Check  string `json:"check"`
	Detail string `json:"detail"`
	Next   string `json:"next,omitzero"` // what to do about it
}

// checklist collects the lines.
type checklist struct {
	app   *app
	lines []checked
	away  error // of the broker that was asked: asking it again would take as long
}

// add enters a line; next is what to do about it, and may be empty.
func (c *checklist) add(result, check, next, format string, args ...any) {
	c.lines = append(c.lines, checked{Result: result, Check: check, Detail: clean(fmt.Sprintf(format, args...)), Next: clean(next)})
}

// text is the line's last column.
func (l checked) text() string {
	if l.Next == "" {
		return l.Detail
	}
	return l.Detail + "; " + l.Next
}

// Run checks what weir serve would need. It changes nothing and places no call.
func (c *checkCmd) Run(a *app) error {
	list := &checklist{app: a}
	if cfg := list.config(); cfg != nil {
		list.gateway(a.ctx, cfg)
		list.outcomes(a.ctx, cfg)
		list.broker(a.ctx, cfg)
		list.zones(time.LoadLocation)
		for _, ac := range cfg.Accounts {
			list.account(a.ctx, ac)
		}
		if c.Live {
			list.live(a.ctx, cfg)
		}
	}
	if a.ctx.Err() != nil {
		return fmt.Errorf("interrupted: %w", a.ctx.Err())
	}
	failed := 0
	for _, line := range list.lines {
		if line.Result == checkFail {
			failed++
		}
	}
	err := a.print(list.lines, func(w io.Writer) {
		for _, line := range list.lines {
			fmt.Fprintf(w, "%s\t%s\t%s\n", a.brush().paint(resultColour(line.Result), line.Result), line.Check, line.text())
		}
		fmt.Fprintln(w, "no call was placed")
	})
	if failed > 0 {
		err = errors.Join(err, fmt.Errorf("%d of %d checks failed; the lines that begin with problem say what to do", failed, len(list.lines)))
	}
	return err
}

// config checks the file: a line for each problem, or for each lane.
func (c *checklist) config() *config.Config {
	cfg, err := c.app.config()
	if problems, ok := errors.AsType[config.Problems](err); ok {
		for _, p := range problems {
			c.add(checkFail, "configuration", "correct the file", "%v", p)
		}
		return nil
	}
	if err != nil {
		c.add(checkFail, "configuration", "", "%v", err)
		return nil
	}
	c.add(checkOK, "configuration", "", "%s is complete", c.app.flags.Config)
	for _, ac := range cfg.Accounts {
		for _, lc := range ac.Lanes {
			c.add(checkOK, "lane "+lc.Name, "", "its routes compile; account %s at %s, %s; %s", ac.Name, ac.URL, limits(ac), webhooks(cfg, lc))
			if !lc.Send {
				c.add(checkWarn, "lane "+lc.Name, "take send: false out of the file to place calls", "dry run: events are taken and nothing is sent")
			}
			if ac.LimitChannel() != "" && !lc.JoinToken && (lc.Channels == nil || slices.Contains(lc.Channels, "webrtc")) {
				c.add(checkWarn, "lane "+lc.Name, "set join_token if the lane has any", "a webrtc conversation's outcome holds nothing to join it with")
			}
		}
	}
	return cfg
}

// webhooks says how the ends of a lane's conversations become known. The address
// is a secret.
func webhooks(cfg *config.Config, lc config.Lane) string {
	if lc.Webhook.Secret == "" {
		return "ends are found by asking, no webhook is set"
	}
	return fmt.Sprintf("webhooks are heard at %s/hooks/provider/%s/<its secret>", cfg.Gateway.Listen, lc.Name)
}

// limits says what an account's limits are.
func limits(ac config.Account) string {
	if ac.LimitChannel() == "" {
		return fmt.Sprintf("limit %d", ac.Limit)
	}
	var each []string
	for _, channel := range slices.Sorted(maps.Keys(ac.Limits)) {
		each = append(each, fmt.Sprintf("%s %d", channel, ac.Limits[channel]))
	}
	return "limits: " + strings.Join(each, ", ") + ", others none"
}

// zones checks that the data of time zones is there.
func (c *checklist) zones(load func(name string) (*time.Location, error)) {
	for _, name := range []string{"America/New_York", "Asia/Kolkata"} {
		if _, err := load(name); err != nil {
			c.add(checkFail, "time zones", "install the system's package tzdata", "%v", err)
			return
		}
	}
	c.add(checkOK, "time zones", "", "their data is there")
}

// account asks the provider for a conversation that does not exist: "not found"
// proves that it is there and takes the credentials.
func (c *checklist) account(ctx context.Context, ac config.Account) {
	name := "account " + ac.Name
	client, err := provider(c.app.lg, ac)
	if err != nil {
		c.add(checkFail, name, "correct the file", "%v", err)
		return
	}
	if err := checkRoutes(client, ac); err != nil {
		for line := range strings.Lines(err.Error()) {
			c.add(checkFail, name, "correct the route", "%s", strings.TrimSpace(line))
		}
	}
	sent := time.Now()
	conv, err := client.Conversation(ctx, uuid.NewString())
	if sample, ok := consumer.DateSample(conv.Header, sent, time.Now()); ok {
		c.findings([]broker.Finding{broker.JudgeClock("clock", name, sample)})
	}
	if lister, ok := client.(consumer.Lister); ok && errors.Is(err, consumer.ErrNotFound) {
		// Of a wrong path is said what is said of an unknown conversation.
		_, err = lister.Conversations(ctx, time.Now())
		if errors.Is(err, consumer.ErrNotFound) {
			c.add(checkFail, name, "give the API's base, without a path of its own", "%s has no conversations: the url is wrong", ac.URL)
			return
		}
	}
	switch {
	case err == nil, errors.Is(err, consumer.ErrNotFound):
		c.add(checkOK, name, "", "%s answers and takes the credentials", ac.URL)
	case errors.Is(err, consumer.ErrUnauthorized):
		c.add(checkFail, name, "set auth in the configuration", "%v", err)
	default:
		c.add(checkFail, name, "see that the url is right and can be reached from here", "%s cannot be reached: %v", ac.URL, err)
	}
}
