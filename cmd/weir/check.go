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
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/ledger"
)

// checkCmd is weir check.
type checkCmd struct{}

// The results of a check.
const (
	checkOK   = "ok"
	checkWarn = "warn"
	checkFail = "FAIL"
)

// checked is one line of the result.
type checked struct {
	Result string `json:"result"`
	Check  string `json:"check"`
	Detail string `json:"detail"`
}

// checklist collects the lines.
type checklist struct {
	app   *app
	lines []checked
}

func (c *checklist) add(result, check, format string, args ...any) {
	c.lines = append(c.lines, checked{Result: result, Check: check, Detail: clean(fmt.Sprintf(format, args...))})
}

// Run checks what weir serve would need. It changes nothing and places no call.
func (c *checkCmd) Run(a *app) error {
	list := &checklist{app: a}
	if cfg := list.config(); cfg != nil {
		list.broker(a.ctx, cfg)
		for _, ac := range cfg.Accounts {
			list.account(a.ctx, ac)
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
			fmt.Fprintf(w, "%s\t%s\t%s\n", line.Result, line.Check, line.Detail)
		}
		fmt.Fprintln(w, "no call was placed")
	})
	if failed > 0 {
		err = errors.Join(err, fmt.Errorf("%d of %d checks failed", failed, len(list.lines)))
	}
	return err
}

// config checks the file: a line for each problem, or for each lane.
func (c *checklist) config() *config.Config {
	cfg, err := c.app.config()
	if problems, ok := errors.AsType[config.Problems](err); ok {
		for _, p := range problems {
			c.add(checkFail, "configuration", "%v", p)
		}
		return nil
	}
	if err != nil {
		c.add(checkFail, "configuration", "%v", err)
		return nil
	}
	c.add(checkOK, "configuration", "%s is complete", c.app.flags.Config)
	for _, ac := range cfg.Accounts {
		for _, lc := range ac.Lanes {
			c.add(checkOK, "lane "+lc.Name, "its routes compile; account %s at %s, %s", ac.Name, ac.URL, limits(ac))
			if ac.LimitChannel() != "" && !lc.JoinToken && (lc.Channels == nil || slices.Contains(lc.Channels, "webrtc")) {
				c.add(checkWarn, "lane "+lc.Name, "a webrtc conversation's outcome holds nothing to join it with: set join_token if the lane has any")
			}
		}
	}
	return cfg
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

// broker checks the connection, the server and the streams.
func (c *checklist) broker(ctx context.Context, cfg *config.Config) {
	b, err := reach(ctx, c.app.quiet(), cfg)
	if _, ok := errors.AsType[notRunningError](err); ok {
		c.add(checkWarn, "broker", "the embedded broker is not running; weir serve starts it")
		return
	}
	if err != nil {
		c.add(checkFail, "broker", "%v", err)
		return
	}
	defer func() {
		if err := b.Close(context.WithoutCancel(ctx)); err != nil {
			c.app.lg.Debug().Err(err).Msg("close")
		}
	}()
	conn := b.JetStream().Conn()
	c.add(checkOK, "broker", "connected to %s, nats-server %s, with JetStream", conn.ConnectedUrlRedacted(), conn.ConnectedServerVersion())
	c.streams(ctx, b.JetStream())
}

// streams checks which of the streams are there. Their settings are checked by
// weir serve at each start.
func (c *checklist) streams(ctx context.Context, js jetstream.JetStream) {
	var there, missing []string
	for _, name := range []string{
		ledger.Stream, broker.StreamEvents, broker.StreamOutcomes, broker.StreamDead, broker.StreamLater, broker.StreamLanes,
	} {
		_, err := js.Stream(ctx, name)
		switch {
		case err == nil:
			there = append(there, name)
		case errors.Is(err, jetstream.ErrStreamNotFound):
			missing = append(missing, name)
		default:
			c.add(checkFail, "streams", "%s: %v", name, err)
			return
		}
	}
	if len(there) > 0 {
		c.add(checkOK, "streams", "there: %s", strings.Join(there, ", "))
	}
	if len(missing) > 0 {
		c.add(checkWarn, "streams", "will be made by weir serve: %s", strings.Join(missing, ", "))
	}
}

// account asks the provider for a conversation that does not exist: "not found"
// proves that it is there and takes the credentials.
func (c *checklist) account(ctx context.Context, ac config.Account) {
	name := "account " + ac.Name
	client, err := provider(c.app.lg, ac)
	if err != nil {
		c.add(checkFail, name, "%v", err)
		return
	}
	if err := checkRoutes(client, ac); err != nil {
		for line := range strings.Lines(err.Error()) {
			c.add(checkFail, name, "%s", strings.TrimSpace(line))
		}
	}
	_, err = client.Conversation(ctx, uuid.NewString())
	if lister, ok := client.(consumer.Lister); ok && errors.Is(err, consumer.ErrNotFound) {
		// Of a wrong path is said what is said of an unknown conversation.
		_, err = lister.Conversations(ctx, time.Now())
		if errors.Is(err, consumer.ErrNotFound) {
			c.add(checkFail, name, "%s has no conversations: the url is wrong; it must be the API's base, without a path of its own", ac.URL)
			return
		}
	}
	switch {
	case err == nil, errors.Is(err, consumer.ErrNotFound):
		c.add(checkOK, name, "%s answers and takes the credentials", ac.URL)
	case errors.Is(err, consumer.ErrUnauthorized):
		c.add(checkFail, name, "%v; set auth in the configuration", err)
	default:
		c.add(checkFail, name, "%s cannot be reached: %v", ac.URL, err)
	}
}
