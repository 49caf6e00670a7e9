package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weirhq/weir/consumer"
)

// demoNow is what one lane of the demo is doing, by its provider's own log and by
// weir's.
type demoNow struct {
	lane        string
	live, limit int // calls, and how many the provider takes
	made, full  int // conversations, and answers 429
	waiting     uint64
	status      consumer.LaneStatus
}

// line says it in a line.
func (n demoNow) line() string {
	line := fmt.Sprintf("%s%s %d/%d live, %d waiting, %d made, %d answers 429",
		strings.Repeat("#", n.live), strings.Repeat(".", max(n.limit-n.live, 0)), n.live, n.limit, n.waiting, n.made, n.full)
	if n.status.Settling > 0 {
		line += fmt.Sprintf("; %d doubts settling", n.status.Settling)
	}
	if n.status.State == "stopped" || n.status.State == "paused" {
		line += "; " + n.status.State
	}
	return line
}

// demoPage is the demo on a whole terminal: the lanes above, what happens below.
type demoPage struct {
	brush brush
	began time.Time

	mu    sync.Mutex
	lanes []demoNow // in the order in which they were first looked at
	story []string
}

// tell adds a line to the story.
func (p *demoPage) tell(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.story = append(p.story, clean(line))
}

// look enters what a lane is doing.
func (p *demoPage) look(now demoNow) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.lanes {
		if p.lanes[i].lane == now.lane {
			p.lanes[i] = now
			return
		}
	}
	p.lanes = append(p.lanes, now)
}

// showOn shows the page until ctx ends, or until it is left: then the story stands
// on w, as without a page.
func (p *demoPage) showOn(ctx context.Context, s *screen, w io.Writer) (leave func()) {
	ctx, end := context.WithCancel(ctx)
	var shown, ticking sync.WaitGroup
	news := make(chan struct{})
	ticking.Go(func() {
		for sleep(ctx, 250*time.Millisecond) == nil {
			select {
			case news <- struct{}{}:
			case <-ctx.Done():
			}
		}
	})
	shown.Go(func() { s.show(ctx, news, p.draw) })
	return sync.OnceFunc(func() {
		end()
		shown.Wait()
		ticking.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, line := range p.story {
			fmt.Fprintln(w, line)
		}
	})
}

// draw draws the page.
func (p *demoPage) draw(width, height int) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	clock := fmt.Sprintf("%ds", int(time.Since(p.began).Seconds()))
	lines := []string{p.brush.paint(bold, padTo("weir demo", width-len(clock)-1)) + " " + clock, ""}
	if len(p.lanes) > 0 {
		g := p.grid(width)
		lines = append(lines, p.brush.paint(bold, g.head()))
		for i := range p.lanes {
			lines = append(lines, g.line(i))
		}
		lines = append(lines, "")
	}
	room := max(height-len(lines), 0)
	for _, line := range p.story[max(len(p.story)-room, 0):] {
		lines = append(lines, cutLine(line, width))
	}
	return lines
}

// grid draws the lanes, as much of them as fits into width.
func (p *demoPage) grid(width int) grid {
	lane, state := gridColumn{head: "LANE", least: 8}, gridColumn{head: "STATE"}
	bar, live := gridColumn{}, gridColumn{head: "LIVE"}
	waiting, made := gridColumn{head: "WAITING", number: true}, gridColumn{head: "MADE", number: true}
	full, settling := gridColumn{head: "429", number: true}, gridColumn{head: "SETTLING", number: true}
	for _, n := range p.lanes {
		lane.cells = append(lane.cells, n.lane)
		state.cells, state.colour = append(state.cells, n.status.State), append(state.colour, stateColour(n.status.State))
		bar.cells = append(bar.cells, gauge(n.live, n.limit, barWidth))
		live.cells = append(live.cells, fmt.Sprintf("%d/%d", n.live, n.limit))
		waiting.cells = append(waiting.cells, strconv.FormatUint(n.waiting, 10))
		made.cells = append(made.cells, strconv.Itoa(n.made))
		full.cells = append(full.cells, strconv.Itoa(n.full))
		settling.cells = append(settling.cells, strconv.Itoa(n.status.Settling))
	}
	return firstThatFits(width, p.brush,
		[]gridColumn{lane, state, bar, live, waiting, made, full, settling},
		[]gridColumn{lane, state, bar, live, waiting, made},
		[]gridColumn{lane, bar, live, waiting},
		[]gridColumn{lane, live, waiting})
}
