package main

import (
	"cmp"
	"context"

	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/contact/register"
)

// openRegister opens the register of people, which is in the broker.
func (s *service) openRegister(ctx context.Context) (err error) {
	s.register, err = register.Open(ctx, s.broker, register.Config{
		Key: s.cfg.Blocks.Key, Ledger: s.ledger, Lanes: frequencies(s.cfg),
		Trusted: func() error { return s.clock.Trusted() },
	})
	return err
}

// frequencies are the limits of the lanes that count their contacts. A lane that only
// rehearses contacts nobody.
func frequencies(cfg *config.Config) map[string]register.Limits {
	all := make(map[string]register.Limits)
	for _, ac := range cfg.Accounts {
		for _, lc := range ac.Lanes {
			if c := lc.Contact; c.Counts() && lc.Send {
				l := register.Limits{Purpose: cmp.Or(c.Purpose, lc.Name), Once: c.Once, CoolDown: c.CoolDown, Redials: c.Redial != nil}
				for _, most := range c.Caps {
					l.Caps = append(l.Caps, register.Cap(most))
				}
				all[lc.Name] = l
			}
		}
	}
	return all
}
