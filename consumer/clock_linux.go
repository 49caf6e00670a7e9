package consumer

import (
	"time"

	"golang.org/x/sys/unix"
)

// boottime is a clock that goes on while the machine is suspended, which the
// monotonic clock does not.
func boottime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("consumer: CLOCK_BOOTTIME: " + err.Error())
	}
	return time.Duration(ts.Nano())
}
