package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"slices"
	"time"

	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/config"
)

// reachAddress is how long a connection may take.
const reachAddress = 5 * time.Second

// outcomes checks whether the addresses of outcomes can be reached. Nothing is sent
// there.
func (c *checklist) outcomes(ctx context.Context, cfg *config.Config) {
	for _, ac := range cfg.Accounts {
		for _, lc := range deliveries(ac) {
			name := "outcomes of " + lc.Name
			host, err := touch(ctx, lc.Outcomes.URL)
			if err != nil {
				c.add(checkWarn, name, "see that the address is right and can be reached from here; outcomes wait until then", "%s cannot be reached: %v", host, err)
				continue
			}
			c.add(checkOK, name, "", "%s can be reached; nothing was sent there", host)
		}
	}
}

// touch connects to an address and ends the connection. The host alone is shown: the
// path may hold a secret.
func touch(ctx context.Context, address string) (host string, err error) {
	u, err := url.Parse(address)
	if err != nil {
		return "the address", errors.New("it is no URL")
	}
	ctx, cancel := context.WithTimeout(ctx, reachAddress)
	defer cancel()
	port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	target := net.JoinHostPort(u.Hostname(), port)
	var conn net.Conn
	if u.Scheme == "https" {
		conn, err = (&tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12}}).DialContext(ctx, "tcp", target)
	} else {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", target)
	}
	if err != nil {
		return u.Host, err
	}
	return u.Host, conn.Close()
}

// stoppedOutcomes names lanes whose outcomes went to an address and do no more.
func (c *checklist) stoppedOutcomes(ctx context.Context, b *broker.Broker, cfg *config.Config) {
	lanes, err := b.Deliveries(ctx)
	if unlessMissing(err) != nil {
		c.add(checkWarn, "outcomes", "give this user the rights on $JS.API.>", "%v", err)
		return
	}
	for _, ac := range cfg.Accounts {
		for _, lc := range deliveries(ac) {
			lanes = slices.DeleteFunc(lanes, func(name string) bool { return name == lc.Name })
		}
	}
	for _, name := range lanes {
		c.add(checkWarn, "outcomes of "+name, "nothing, if that is meant: with an address they go on where they ended, as far back as outcomes.keep",
			"they went to an address once and do no more")
	}
}
