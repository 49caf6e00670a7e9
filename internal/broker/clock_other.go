//go:build !linux

package broker

import "time"

var processStart = time.Now()

// bootTime returns how long the process has run, by the monotonic clock.
// Whether time in which the machine was suspended counts depends on the system.
func bootTime() time.Duration { return time.Since(processStart) }
