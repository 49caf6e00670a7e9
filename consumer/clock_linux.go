package consumer

import (
	"time"

	"golang.org/x/sys/unix"
)

// BootTime returns how long the machine has been up, time in which it was
// suspended included: the monotonic clock stands still then.
func BootTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("consumer: CLOCK_BOOTTIME: " + err.Error())
	}
	return time.Duration(ts.Nano())
}
