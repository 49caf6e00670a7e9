package bench

import (
	"cmp"
	"iter"
	"runtime"
	"slices"
	"strings"
)

// Allocs is how many allocations were made on the way of events from the broker to
// the first byte of their requests.
type Allocs struct {
	Own       map[string]int64 `json:"own"`       // in Weir's own functions, by name
	Libraries int64            `json:"libraries"` // in those of others that they call
}

// Way is what one event allocates on that way.
type Way struct {
	Own       float64       `json:"own"`
	Libraries float64       `json:"libraries"`
	Top       []FunctionUse `json:"top"` // of Weir's own functions, those that allocate most
}

// FunctionUse is the allocations of one function for one event.
type FunctionUse struct {
	Name        string  `json:"name"` // without the module's path
	Allocations float64 `json:"allocations"`
}

// top is how many functions are named.
const top = 12

// Each is what one of some events allocated.
func (a Allocs) Each(events int) Way {
	each := func(n int64) float64 { return float64(n) / float64(max(1, events)) }
	w := Way{Libraries: each(a.Libraries)}
	for name, n := range a.Own {
		w.Own += each(n)
		w.Top = append(w.Top, FunctionUse{strings.TrimPrefix(name, module), each(n)})
	}
	slices.SortFunc(w.Top, func(a, b FunctionUse) int {
		return cmp.Or(cmp.Compare(b.Allocations, a.Allocations), strings.Compare(a.Name, b.Name))
	})
	w.Top = w.Top[:min(top, len(w.Top))]
	return w
}

// ProfileAllocs makes the runtime note each allocation. It belongs at the beginning
// of a process, which is slower from then on.
func ProfileAllocs() { runtime.MemProfileRate = 1 }

// CountAllocs counts what has been allocated since ProfileAllocs.
func CountAllocs() Allocs {
	runtime.GC() // what was allocated since the last collection is in no profile
	runtime.GC()
	var records []runtime.MemProfileRecord
	for n, ok := runtime.MemProfile(nil, true); !ok; {
		records = make([]runtime.MemProfileRecord, n+n/4)
		if n, ok = runtime.MemProfile(records, true); ok {
			records = records[:n]
		}
	}
	a := Allocs{Own: make(map[string]int64)}
	for _, r := range records {
		a.add(functions(r.Stack()), r.AllocObjects)
	}
	return a
}

// functions yields the names of a stack's functions, the innermost first.
func functions(stack []uintptr) iter.Seq[string] {
	return func(yield func(string) bool) {
		frames := runtime.CallersFrames(stack)
		for {
			f, more := frames.Next()
			if !yield(f.Function) || !more {
				return
			}
		}
	}
}

const (
	module = "github.com/weirhq/weir/"
	engine = module + "consumer."
)

// The functions that an event passes through from the broker on, those that other
// goroutines have for it among them, and those behind its first byte.
var (
	begins = []string{
		engine + "(*lane).fetch", engine + "(*lane).handle", engine + "(*lane).send", engine + "(*lane).claim", engine + "(*lane).mayPost", engine + "(*pull).run",
		module + "internal/contact/register.(*Register).Admit",
	}
	behind = []string{
		engine + "(*lane).settle", engine + "(*lane).finish", engine + "(*lane).measure", engine + "(*lane).steps", engine + "(*lane).answered",
		engine + "(*account).learn", engine + "(*account).compare", engine + "discreet",
		module + "consumer/wire.(*Exchange)", module + "internal/oration.read", module + "internal/oration.verdict",
	}
)

// add enters allocations that were made with a stack, if they are on the way.
func (a *Allocs) add(stack iter.Seq[string], n int64) {
	first, on := "", false
	for name := range stack {
		if first == "" && !strings.HasPrefix(name, "runtime.") {
			first = name
		}
		if begin(name, behind) {
			return
		}
		on = on || begin(name, begins)
	}
	switch {
	case !on:
	case strings.HasPrefix(first, module):
		a.Own[first] += n
	default:
		a.Libraries += n
	}
}

// begin reports whether a function is one of these, or a closure of one.
func begin(name string, these []string) bool {
	for _, prefix := range these {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
