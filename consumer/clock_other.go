//go:build !linux

package consumer

import "time"

var processStart = time.Now()

// BootTime returns how long the process has run by the monotonic clock, which
// may stand still while the machine is suspended.
func BootTime() time.Duration { return time.Since(processStart) }
