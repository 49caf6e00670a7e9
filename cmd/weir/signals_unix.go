//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// levelSignals returns the signals that change the log's level: more of it, and that
// of the start. Forget ends the watch for them.
func levelSignals() (signals chan os.Signal, more os.Signal, forget func()) {
	signals = make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2)
	return signals, syscall.SIGUSR1, func() { signal.Stop(signals) }
}
