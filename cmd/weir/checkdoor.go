package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/weirhq/weir/internal/config"
)

// soon is how long before its end a certificate is worth a warning.
const soon = 14 * 24 * time.Hour

// gateway checks the listener that others may reach, and says who may feed what.
func (c *checklist) gateway(ctx context.Context, cfg *config.Config) {
	g := cfg.Gateway
	if g.Listen == "" {
		return
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", g.Listen)
	switch {
	case err == nil:
		_ = ln.Close()
		c.add(checkOK, "gateway", "", "%s can be listened on", g.Listen)
	case errors.Is(err, syscall.EADDRINUSE):
		c.add(checkOK, "gateway", "", "%s is in use: by weir serve, if it runs", g.Listen)
	default:
		c.add(checkFail, "gateway", "give an address of this machine's own that this user may listen on", "%s cannot be listened on: %v", g.Listen, err)
	}
	if g.TLS.Cert != "" {
		c.certificate(g.TLS, time.Now())
	}
	for _, ac := range cfg.Accounts {
		for _, lc := range ac.Lanes {
			if lc.CRM != nil {
				c.add(checkOK, "gateway", "", "webhooks of %s are taken at %s/hooks/crm/%s/<secret>", lc.CRM.Kind, cmp.Or(g.PublicURL, g.Listen), lc.Name)
			}
		}
	}
	var who []string
	for _, p := range publishers(cfg) {
		who = append(who, fmt.Sprintf("%s (%s)", p.Name, strings.Join(p.Lanes, ", ")))
	}
	if len(who) == 0 {
		c.add(checkOK, "gateway", "", "no events are taken over HTTP: there are no publishers and no token")
		return
	}
	c.add(checkOK, "gateway", "", "events are taken at %s/events from %s", g.Listen, strings.Join(who, "; "))
}

// certificate checks that the listener's can be used.
func (c *checklist) certificate(files config.Certificate, now time.Time) {
	const next = "renew it, and start weir serve again"
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	switch {
	case err != nil:
		c.add(checkFail, "gateway", "correct gateway.tls", "the certificate cannot be used: %v", err)
	case now.After(pair.Leaf.NotAfter):
		c.add(checkFail, "gateway", next, "the certificate ended at %v", pair.Leaf.NotAfter)
	case now.Add(soon).After(pair.Leaf.NotAfter):
		c.add(checkWarn, "gateway", next, "the certificate ends at %v", pair.Leaf.NotAfter)
	default:
		c.add(checkOK, "gateway", "", "the certificate is good until %v", pair.Leaf.NotAfter)
	}
}
