package main

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/gateway"
	"github.com/weirhq/weir/schema"
)

// ear hears the webhooks of all lanes, and passes on those of a lane that another
// replica owns. It implements gateway.Ear.
type ear struct {
	s         *service
	providers map[string]consumer.Provider // by lane
}

// passed is what is passed on of a webhook: what it says of conversations, and
// nothing else that is in it.
type passed struct {
	Reports []consumer.Report `json:"reports"`
}

// heard answers it.
type heard struct {
	Result string `json:"result"` // done, heard, later, unknown, or none: no webhooks are heard
}

// hookWait is how long the owner looks into a webhook that was passed on: as long
// as the gateway waits.
const hookWait = 10 * time.Second

// gateway takes events, and hears the webhooks of the lanes that have an address
// for them: those of their providers, and those of CRMs.
func (s *service) gateway() *gateway.Gateway {
	gc := gateway.Config{
		Listen: s.cfg.Gateway.Listen, Cert: s.cfg.Gateway.TLS.Cert, Key: s.cfg.Gateway.TLS.Key,
		Secrets: make(map[string]schema.Secret), Door: s.door(), CRMs: crms(s.cfg), PublicURL: s.cfg.Gateway.PublicURL,
		Watcher: watcher{s.figures.Metrics},
	}
	for _, ac := range s.cfg.Accounts {
		for _, lc := range ac.Lanes {
			gc.Secrets[lc.Name] = lc.Webhook.Secret
		}
	}
	return gateway.New(s.lg, ear{s, s.providers}, gc)
}

// Hook implements gateway.Ear.
func (h ear) Hook(ctx context.Context, lane string, body []byte, header map[string][]string) error {
	if e := h.s.engine(lane); e != nil {
		return e.Hook(ctx, lane, body, header)
	}
	reports, err := consumer.ReadHook(h.s.lg, h.providers[lane], body, header)
	if err != nil {
		return err
	}
	request, err := json.Marshal(passed{reports})
	if err != nil {
		return err
	}
	reply, err := h.s.broker.PassHook(ctx, lane, request)
	if err != nil { // nobody owns the lane just now, perhaps
		h.s.lg.Debug().Err(err).Str("lane", lane).Msg("webhook not passed on")
		return consumer.ErrLater
	}
	var answer heard
	if json.Unmarshal(reply, &answer) != nil {
		return consumer.ErrLater
	}
	return answer.err()
}

// answered is what is answered of a webhook that was passed on.
func answered(err error) heard {
	switch {
	case err == nil:
		return heard{"done"}
	case errors.Is(err, consumer.ErrHeard):
		return heard{"heard"}
	case errors.Is(err, consumer.ErrUnknown):
		return heard{"unknown"}
	case errors.Is(err, consumer.ErrNoWebhook):
		return heard{"none"}
	default:
		return heard{"later"}
	}
}

// err is what answered was told, as far as it matters.
func (h heard) err() error {
	switch h.Result {
	case "done":
		return nil
	case "heard":
		return consumer.ErrHeard
	case "unknown":
		return consumer.ErrUnknown
	case "none":
		return consumer.ErrNoWebhook
	default:
		return consumer.ErrLater
	}
}

// hears answers for an engine what other replicas pass on.
func hears(e *consumer.Engine) func(ctx context.Context, lane string, request []byte) []byte {
	return func(ctx context.Context, lane string, request []byte) []byte {
		ctx, cancel := context.WithTimeout(ctx, hookWait)
		defer cancel()
		var p passed
		err := json.Unmarshal(request, &p)
		if err == nil {
			err = e.Hear(ctx, lane, p.Reports)
		}
		reply, _ := json.Marshal(answered(err)) // cannot fail
		return reply
	}
}
