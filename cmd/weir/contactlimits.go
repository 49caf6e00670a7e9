package main

import "github.com/weirhq/weir/internal/contact/register"

// registered is how the register of people is kept.
func (s *service) registered() register.Config {
	return register.Config{
		Key: s.cfg.Blocks.Key, Ledger: s.ledger, Trusted: func() error { return s.clock.Trusted() },
	}
}
