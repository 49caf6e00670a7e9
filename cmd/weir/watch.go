package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// watch shows the lanes each second. A broker that is away for a while is shown
// too, rather than ending the watch.
func (v *laneView) watch(a *app) error {
	s, whole := a.screenOn(a.stdout)
	if whole && a.flags.Output != "json" {
		return v.watchScreen(a, s)
	}
	for {
		rows, err := v.rows(a.ctx)
		if a.ctx.Err() != nil {
			return nil //nolint:nilerr // the end is no failure
		}
		if err := showLanes(a, rows, err); err != nil {
			return err
		}
		if sleep(a.ctx, time.Second) != nil {
			return nil //nolint:nilerr // as above
		}
	}
}

// showLanes draws one moment of a watch, a line a lane.
func showLanes(a *app, rows []laneRow, trouble error) error {
	now := time.Now().Format(time.TimeOnly)
	switch {
	case a.flags.Output == "json":
		if trouble != nil {
			fmt.Fprintf(a.stderr, "weir: %s\n", clean(trouble.Error()))
			return nil
		}
		return json.NewEncoder(a.stdout).Encode(rows)
	case trouble != nil:
		_, err := fmt.Fprintf(a.stdout, "%s  %s\n", now, clean(trouble.Error()))
		return err
	}
	t := &tabulator{w: a.stdout}
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%s\t%s\tslots %s\t%d waiting\t%d in flight\t%s doubts\t%d dead\t%s\n",
			now, r.Lane, r.state(), r.slots(), r.Waiting, r.InFlight, r.doubts(), r.Dead, or(r.why()))
	}
	return t.flush()
}

// watchScreen shows them on a screen.
func (v *laneView) watchScreen(a *app, s *screen) error {
	page := &lanesPage{brush: a.brush(), changed: make(map[string]laneChange)}
	news := make(chan struct{}, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for {
			rows, err := v.rows(a.ctx)
			if a.ctx.Err() != nil {
				return
			}
			page.look(rows, err, time.Now())
			select {
			case news <- struct{}{}:
			default:
			}
			if sleep(a.ctx, time.Second) != nil {
				return
			}
		}
	})
	s.show(a.ctx, news, page.draw)
	return nil
}

// lanesPage is the page of weir lanes --watch.
type lanesPage struct {
	brush brush

	mu      sync.Mutex
	at      time.Time // of the newest look; zero: none yet
	rows    []laneRow // of the newest look that succeeded
	trouble error     // of the newest look
	changed map[string]laneChange
}

// laneChange is since when a lane is in a state. That of the first look is not known.
type laneChange struct {
	state string
	since time.Time
}

// look enters what a look at the lanes has shown.
func (p *lanesPage) look(rows []laneRow, trouble error, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at, p.trouble = now, trouble
	if trouble != nil {
		return
	}
	p.rows = rows
	for _, r := range rows {
		switch c, known := p.changed[r.Lane]; {
		case !known:
			p.changed[r.Lane] = laneChange{state: r.State}
		case c.state != r.State:
			p.changed[r.Lane] = laneChange{r.State, now}
		}
	}
}

// draw draws the page.
func (p *lanesPage) draw(width, height int) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at.IsZero() {
		return []string{"weir lanes", "", "Asking the broker …"}
	}
	lines := []string{p.title(width), ""}
	if p.trouble != nil {
		lines = append(lines, p.brush.paint(bad, cutLine(clean(p.trouble.Error()), width)), "")
	}
	return append(lines, p.table(width, height-len(lines))...)
}

// title says how many lanes are in which state, and when.
func (p *lanesPage) title(width int) string {
	count := make(map[string]int)
	for _, r := range p.rows {
		count[r.State]++
	}
	words := fmt.Sprintf("%d lanes", len(p.rows))
	if len(p.rows) == 1 {
		words = "1 lane"
	}
	for i, state := range []string{"running", "waiting", "paused", "held", "stopped", notRunning, "unknown"} {
		if n := count[state]; n > 0 {
			sep := ", "
			if i == 0 || !strings.Contains(words, ":") {
				sep = ": "
			}
			words += fmt.Sprintf("%s%d %s", sep, n, state)
		}
	}
	clock := p.at.Format(time.TimeOnly)
	return p.brush.paint(bold, padTo(words, width-len(clock)-1)) + " " + clock
}

// table draws the lanes that fit into height lines, and their sum.
func (p *lanesPage) table(width, height int) []string {
	rows := p.rows
	blocks := make([][]string, len(rows))
	t := p.columns(rows, width)
	needed := 1 // the head
	for i, r := range rows {
		blocks[i] = append(blocks[i], t.line(i))
		if why := r.why(); why != "" {
			blocks[i] = append(blocks[i], p.brush.paint(faint, cutLine("  "+clean(why), width)))
		}
		needed += len(blocks[i])
	}
	order := make([]int, len(rows))
	for i := range order {
		order[i] = i
	}
	if len(rows) > 1 {
		needed += 2
	}
	if needed > height { // those that stand still first, then without their reasons
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(urgency(rows[a].State), urgency(rows[b].State)) })
	}
	lines := []string{p.brush.paint(bold, t.head())}
	room := height - 1
	if len(rows) > 1 {
		room -= 2
	}
	if len(rows) > room {
		room-- // for the word on those that are left out
	}
	for shown, i := range order {
		left := len(rows) - shown
		if room < 1 {
			lines = append(lines, p.brush.paint(faint, fmt.Sprintf("… and %d more", left)))
			break
		}
		block := blocks[i]
		if len(block)+left-1 > room { // the others are worth more than the reason
			block = block[:1]
		}
		lines, room = append(lines, block...), room-len(block)
	}
	if len(rows) > 1 {
		lines = append(lines, "", t.sum())
	}
	return lines
}

// urgency orders the states: what a person should look at first.
func urgency(state string) int {
	switch state {
	case "running":
		return 3
	case "waiting":
		return 2
	case "paused":
		return 1
	default:
		return 0
	}
}

// columns chooses those that fit into width: what is least needed goes first.
func (p *lanesPage) columns(rows []laneRow, width int) grid {
	lane, state := gridColumn{head: "LANE", sum: "all", least: 16}, gridColumn{head: "STATE"}
	slots, waiting := gridColumn{head: "SLOTS"}, gridColumn{head: "WAITING", number: true}
	flight, doubts, dead := gridColumn{head: "IN FLIGHT", number: true}, gridColumn{head: "DOUBTS", number: true}, gridColumn{head: "DEAD", number: true}
	since := gridColumn{head: "SINCE", number: true}
	bar := gridColumn{}
	var sum laneRow
	accounts := make(map[string]bool)
	for _, r := range rows {
		lane.cells = append(lane.cells, clean(r.Lane))
		state.cells, state.colour = append(state.cells, r.state()), append(state.colour, stateColour(r.State))
		slots.cells = append(slots.cells, r.slots())
		bar.cells = append(bar.cells, r.bar())
		waiting.cells = append(waiting.cells, strconv.FormatUint(r.Waiting, 10))
		flight.cells = append(flight.cells, strconv.FormatUint(r.InFlight, 10))
		doubts.cells = append(doubts.cells, strconv.Itoa(r.Doubts+r.Settling))
		dead.cells = append(dead.cells, strconv.Itoa(r.Dead))
		since.cells = append(since.cells, p.since(r.Lane))
		sum.Waiting, sum.InFlight = sum.Waiting+r.Waiting, sum.InFlight+r.InFlight
		sum.Doubts, sum.Dead = sum.Doubts+r.Doubts+r.Settling, sum.Dead+r.Dead
		if pool := r.Account + " " + strconv.Itoa(r.Used) + "/" + strconv.Itoa(r.Limit); r.Limit > 0 && !accounts[pool] { // lanes share their account's
			accounts[pool] = true
			sum.Used, sum.Limit = sum.Used+r.Used, sum.Limit+r.Limit
		}
	}
	waiting.sum, flight.sum = strconv.FormatUint(sum.Waiting, 10), strconv.FormatUint(sum.InFlight, 10)
	doubts.sum, dead.sum = strconv.Itoa(sum.Doubts), strconv.Itoa(sum.Dead)
	if sum.Limit > 0 {
		slots.sum = fmt.Sprintf("%d/%d", sum.Used, sum.Limit)
	}
	return firstThatFits(width, p.brush,
		[]gridColumn{lane, state, bar, slots, waiting, flight, doubts, dead, since},
		[]gridColumn{lane, state, bar, slots, waiting, doubts, dead, since},
		[]gridColumn{lane, state, bar, slots, waiting, doubts, dead},
		[]gridColumn{lane, state, slots, waiting, doubts, dead},
		[]gridColumn{lane, state, slots, waiting},
		[]gridColumn{lane, state, slots},
		[]gridColumn{lane, state})
}

// barWidth is how wide the slots are drawn.
const barWidth = 12

// bar draws the slots in use, as far as they are known.
func (r laneRow) bar() string {
	if r.Limit == 0 || r.State == notRunning || r.State == "unknown" {
		return strings.Repeat(" ", barWidth)
	}
	return gauge(r.Used, r.Limit, barWidth)
}

// since says for how long a lane has been in its state, if that was seen.
func (p *lanesPage) since(lane string) string {
	c := p.changed[lane]
	if c.since.IsZero() {
		return "-"
	}
	return age(p.at.Sub(c.since))
}

// age says a duration in one unit.
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}
