//go:build chaos && linux

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirhq/weir/internal/growthtest"
)

// scaleParts are what "make bench-scale" measures, in the order of the page.
var scaleParts = []struct {
	name string
	run  func(*scaleBench) (string, error)
}{
	{"idle", (*scaleBench).idle},
	{"backlog", (*scaleBench).backlog},
	{"ledger", (*scaleBench).ledger},
	{"fleet", (*scaleBench).fleet},
	{"replicas", (*scaleBench).replicas},
	{"batch", (*scaleBench).batches},
}

// scaleBench is one start of "make bench-scale".
type scaleBench struct {
	ctx   context.Context //nolint:containedctx // of the whole command
	dir   string
	small bool // sizes that tell whether the tool works, and nothing else
}

// TestBenchScale measures the parts that SCALE_PARTS names (all), keeps what it
// found in SCALE_DIR, and makes SCALE_PAGE of all that is kept there.
func TestBenchScale(t *testing.T) {
	dir := os.Getenv("SCALE_DIR")
	if dir == "" {
		t.Skip("SCALE_DIR is not set: use make bench-scale")
	}
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := &scaleBench{ctx: ctx, dir: dir, small: os.Getenv("SCALE_SMALL") != ""}
	wanted := strings.Fields(os.Getenv("SCALE_PARTS"))
	for _, p := range scaleParts {
		if len(wanted) > 0 && !slices.Contains(wanted, p.name) {
			continue
		}
		began := time.Now()
		text, err := p.run(s)
		if err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
		s.say("%s took %v", p.name, time.Since(began).Round(time.Second))
		if err := os.WriteFile(s.kept(p.name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.page(os.Getenv("SCALE_PAGE")); err != nil {
		t.Fatal(err)
	}
}

func (s *scaleBench) say(format string, args ...any) { fmt.Printf("scale: "+format+"\n", args...) }

func (s *scaleBench) kept(part string) string { return filepath.Join(s.dir, part+".md") }

// sizes are those of a curve, those of SCALE_SIZES, or of a trial of the tool.
func (s *scaleBench) sizes(all, small []int) []int {
	if own := strings.Fields(os.Getenv("SCALE_SIZES")); len(own) > 0 {
		var sizes []int
		for _, text := range own {
			n, _ := strconv.Atoi(text) // 0 fails soon enough
			sizes = append(sizes, n)
		}
		return sizes
	}
	if s.small {
		return small
	}
	return all
}

// span is how long something is measured.
func (s *scaleBench) span() time.Duration {
	if s.small {
		return 2 * time.Second
	}
	return 20 * time.Second
}

// page joins the parts that were measured.
func (s *scaleBench) page(path string) error {
	var y strings.Builder
	y.WriteString(scalePreface())
	for _, p := range scaleParts {
		text, err := os.ReadFile(s.kept(p.name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		y.WriteString("\n" + strings.TrimSpace(string(text)) + "\n")
	}
	y.WriteString("\n" + scaleMended)
	if path == "" {
		fmt.Println(y.String())
		return nil
	}
	return os.WriteFile(path, []byte(y.String()), 0o644)
}

func scalePreface() string {
	return fmt.Sprintf(`# Scale

What weir costs as things grow. Written by %s; a part of it again by %s.

Weir, the broker and the bare loop are processes of their own on one machine with %d processors (%s), which may have done other work at the same time. So the figures to trust are memory, counts, and CPU time (of a process, from the kernel); a time of the clock is an upper bound. The broker is one nats-server that syncs in the background. The provider is the simulator. Each lane is an account of its own, as a rule in life: the other case, many lanes of one account, is cheaper. A goal that was missed is said to be.

Under each curve stands the exponent b of the power law a·x^b that fits best (least squares of the logarithms, with its standard error): 0 is no growth, 1 growth in proportion.
`, "`make bench-scale`", "`make bench-scale PARTS=idle`", runtime.NumCPU(), runtime.GOOS+"/"+runtime.GOARCH+", "+runtime.Version())
}

// table is a Markdown table that knows its numbers.
type scaleTable struct {
	head  []string
	rows  [][]string
	x     []float64
	ys    map[string][]float64
	order []string
}

func newScaleTable(head ...string) *scaleTable {
	return &scaleTable{head: head, ys: make(map[string][]float64)}
}

// cell is a figure of a row: its column, its number, and how that is written.
type scaleCell struct {
	column string
	value  float64
	text   string
}

func (t *scaleTable) add(x int, cells ...scaleCell) {
	row := []string{thousands(x)}
	t.x = append(t.x, float64(x))
	for _, c := range cells {
		row = append(row, cmp.Or(c.text, fmt.Sprintf("%.3g", c.value)))
		if c.column != "" {
			if t.ys[c.column] == nil {
				t.order = append(t.order, c.column)
			}
			t.ys[c.column] = append(t.ys[c.column], c.value)
		}
	}
	t.rows = append(t.rows, row)
}

// String writes the table and the exponents of its columns.
func (t *scaleTable) String() string {
	var y strings.Builder
	fmt.Fprintf(&y, "| %s |\n|%s\n", strings.Join(t.head, " | "), strings.Repeat("---|", len(t.head)))
	for _, row := range t.rows {
		fmt.Fprintf(&y, "| %s |\n", strings.Join(row, " | "))
	}
	var fits []string
	for _, c := range t.order {
		if len(t.ys[c]) == len(t.x) && len(t.x) > 1 {
			fits = append(fits, fmt.Sprintf("%s %v", c, growthtest.Exponent(t.x, t.ys[c])))
		}
	}
	if len(fits) > 0 {
		fmt.Fprintf(&y, "\nExponents: %s.\n", strings.Join(fits, "; "))
	}
	return y.String()
}

func thousands(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// Cells of the usual kinds.
func mib(column string, bytes int64) scaleCell {
	v := float64(bytes) / (1 << 20)
	return scaleCell{column, v, fmt.Sprintf("%.1f", v)}
}

func percent(column string, cores float64) scaleCell {
	return scaleCell{column, 100 * cores, fmt.Sprintf("%.2f", 100*cores)}
}

func seconds(column string, d time.Duration) scaleCell {
	return scaleCell{column, d.Seconds(), fmt.Sprintf("%.2f", d.Seconds())}
}

func figure(column string, v float64) scaleCell {
	return scaleCell{column: column, value: v}
}

// met says whether a goal was.
func met(ok bool, by string) string {
	if ok {
		return "**met**: " + by
	}
	return "**missed**: " + by
}
