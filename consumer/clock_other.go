//go:build !linux

package consumer

import "time"

var processStart = time.Now()

// boottime is the monotonic clock, which may stand still while the machine is
// suspended.
func boottime() time.Duration { return time.Since(processStart) }
