package broker

import (
	"time"

	"golang.org/x/sys/unix"
)

// bootTime returns how long the machine has been up, time in which it was
// suspended included: Go's own monotonic clock stands still then.
func bootTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("CLOCK_BOOTTIME: " + err.Error()) // every Linux since 2.6.39 has it
	}
	return time.Duration(ts.Nano())
}
