// Command weir turns a company's events into conversations at a voice-AI
// provider, at the rate that the provider takes. Each subcommand has a file of
// its own; run is the whole program but for the process around it.
//
// Exit codes: 0 done, 1 failed, 2 wrong use, 130 interrupted.
package main

import (
	"context"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// What the standard library prints by itself may hold a provider's bytes,
	// and with them personal data: net/http does so with bytes after an answer.
	log.SetOutput(io.Discard)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process, unless the command has other plans
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv)
	// Not stopped here: a first signal that comes now would hide how the command ended.
	os.Exit(exitCode(err, os.Stderr))
}
