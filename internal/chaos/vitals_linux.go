package chaos

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// Vitals are what the kernel says of a process.
type Vitals struct {
	RSS     int64         // bytes in memory
	Peak    int64         // the most that RSS ever was
	CPU     time.Duration // user and system time so far, in ticks of 10 ms
	Threads int
	Files   int // open descriptors
}

// tick is the kernel's unit of CPU time in /proc: USER_HZ is 100 on every
// architecture that Go knows.
const tick = 10 * time.Millisecond

// VitalsOf reads them of the process with this number.
func VitalsOf(pid int) (v Vitals, err error) {
	dir := fmt.Sprintf("/proc/%d/", pid)
	status, err := os.ReadFile(dir + "status")
	if err != nil {
		return v, fmt.Errorf("vitals: %w", err)
	}
	for line := range bytes.Lines(status) {
		f := bytes.Fields(line)
		if len(f) < 2 {
			continue
		}
		n, _ := strconv.ParseInt(string(f[1]), 10, 64) // what is no number is not asked for
		switch string(f[0]) {
		case "VmRSS:":
			v.RSS = n << 10
		case "VmHWM:":
			v.Peak = n << 10
		case "Threads:":
			v.Threads = int(n)
		}
	}
	stat, err := os.ReadFile(dir + "stat")
	if err != nil {
		return v, fmt.Errorf("vitals: %w", err)
	}
	f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]) // a name may hold blanks
	if len(f) < 13 {
		return v, fmt.Errorf("vitals: %sstat has %d fields", dir, len(f))
	}
	for _, ticks := range f[11:13] { // utime and stime
		n, err := strconv.ParseInt(string(ticks), 10, 64)
		if err != nil {
			return v, fmt.Errorf("vitals: %w", err)
		}
		v.CPU += time.Duration(n) * tick
	}
	files, err := os.ReadDir(dir + "fd")
	if err != nil {
		return v, fmt.Errorf("vitals: %w", err)
	}
	v.Files = len(files)
	return v, nil
}
