//go:build !unix

package main

import "os"

// levelSignals returns no signals: this system has none to spare.
func levelSignals() (signals chan os.Signal, more os.Signal, forget func()) {
	return nil, nil, func() {}
}
