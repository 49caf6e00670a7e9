package bench

import (
	"cmp"
	"os"
	"runtime"
	"strings"
)

// Machine is what a run was made on.
type Machine struct {
	System    string `json:"system"`
	Kernel    string `json:"kernel,omitzero"`
	Processor string `json:"processor,omitzero"`
	Cores     int    `json:"cores"`
	Go        string `json:"go"`
	Busy      string `json:"load_average,omitzero"` // when the run began
}

// ThisMachine describes the machine, as far as the system tells.
func ThisMachine() Machine {
	m := Machine{System: runtime.GOOS + "/" + runtime.GOARCH, Cores: runtime.NumCPU(), Go: runtime.Version()}
	m.Kernel = firstLine("/proc/sys/kernel/osrelease")
	if fields := strings.Fields(firstLine("/proc/loadavg")); len(fields) > 0 {
		m.Busy = fields[0]
	}
	info, _ := os.ReadFile("/proc/cpuinfo") // not on every system
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			m.Processor = cmp.Or(m.Processor, strings.TrimSpace(value))
		}
	}
	return m
}

func firstLine(path string) string {
	data, _ := os.ReadFile(path)
	line, _, _ := strings.Cut(string(data), "\n")
	return strings.TrimSpace(line)
}
