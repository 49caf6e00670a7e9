package chaos

import "time"

// HoldFor changes how long bytes are kept, of a proxy that does not run yet.
func (p *Proxy) HoldFor(d time.Duration) { p.limit = d }

// Held counts the pieces that are kept now.
func (p *Proxy) Held() int { return int(p.held.Load()) }
