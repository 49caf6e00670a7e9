package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
)

// versionCmd is weir version.
type versionCmd struct{}

// version is set at link time (-ldflags "-X main.version=v1.2.3").
var version = "dev"

// Run prints the version of weir, of Go and of the embedded broker.
func (c *versionCmd) Run(a *app) error {
	v := map[string]string{"weir": version, "go": runtime.Version(), "nats_server": dependency("github.com/nats-io/nats-server/v2")}
	return a.print(v, func(w io.Writer) {
		fmt.Fprintf(w, "weir\t%s\ngo\t%s\nnats-server\t%s\n", v["weir"], v["go"], v["nats_server"])
	})
}

// dependency is the version of a module that this binary was built with.
func dependency(path string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == path {
				return m.Version
			}
		}
	}
	return "unknown"
}
