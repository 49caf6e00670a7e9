package console

import (
	"fmt"
	"strings"
)

// chart is a small picture of an hour, one step a minute. parts_chart.html draws
// it; the style sheet gives it its colours.
type chart struct {
	Title   string // what it shows, with its newest and highest value: read aloud, too
	Class   string // slots, made, waiting
	Caption string // the title in few words
	W, H    int
	Areas   []string // points of polygons: minutes that were seen, without a gap
	Lines   []string // points of the line above an area
	Bars    []bar
	Level   float64 // the height of a line across; 0: none
	Most    string  // what the upper edge stands for
}

// bar is one minute of a chart.
type bar struct {
	Class      string
	X, Y, W, H float64
}

// The size of a chart, in units of its own.
const (
	chartWidth  = 240
	chartHeight = 48
)

func newChart(class, caption string) chart {
	return chart{Class: class, Caption: caption, W: chartWidth, H: chartHeight}
}

// column is where a minute begins, and how wide it is.
func column(i int) (x, w float64) {
	w = float64(chartWidth) / minutes
	return float64(i) * w, w
}

// slotsChart draws the slots in use against the limit.
func slotsChart(hour []minute) chart {
	c := newChart("slots", "slots in use")
	most, limit, now := 1, 0, 0
	for _, m := range hour {
		most = max(most, m.Used, m.Limit)
		if m.Seen {
			limit, now = m.Limit, m.Used
		}
	}
	c.area(hour, func(m minute) float64 { return float64(m.Used) / float64(most) })
	if limit > 0 {
		c.Level = c.y(float64(limit) / float64(most))
	}
	c.Most = fmt.Sprint(most)
	c.Title = fmt.Sprintf("Slots in use in the last hour: %d now, of %d", now, limit)
	if limit == 0 {
		c.Title = fmt.Sprintf("Slots in use in the last hour: %d now, no limit", now)
	}
	return c
}

// waitingChart draws how many events wait.
func waitingChart(hour []minute) chart {
	c := newChart("waiting", "events waiting")
	var most, now uint64 = 1, 0
	for _, m := range hour {
		most = max(most, m.Waiting)
		if m.Seen {
			now = m.Waiting
		}
	}
	c.area(hour, func(m minute) float64 { return float64(m.Waiting) / float64(most) })
	c.Most = fmt.Sprint(most)
	c.Title = fmt.Sprintf("Events waiting in the last hour: %d now", now)
	return c
}

// madeChart draws the conversations begun a minute, and the 429s above them.
func madeChart(hour []minute) chart {
	c := newChart("made", "calls a minute")
	var most uint64 = 1
	for _, m := range hour {
		most = max(most, m.Made+m.Full+m.Odd)
	}
	for i, m := range hour {
		x, w := column(i)
		top := float64(chartHeight)
		for _, part := range []struct {
			class string
			n     uint64
		}{{"begun", m.Made}, {"full", m.Full}, {"odd", m.Odd}} {
			if part.n == 0 {
				continue
			}
			h := max(1, float64(part.n)/float64(most)*(chartHeight-1))
			top -= h
			c.Bars = append(c.Bars, bar{Class: part.class, X: x + w*0.1, Y: top, W: w * 0.8, H: h})
		}
	}
	all := total(hour, minutes)
	c.Most = fmt.Sprint(most)
	c.Title = fmt.Sprintf("Calls begun in the last hour: %d, with %d answers of 429, %d of them unexplained", all.Made, all.Full+all.Odd, all.Odd)
	return c
}

// y is the height of a share of the whole, from above.
func (c *chart) y(share float64) float64 {
	return 1 + (1-min(1, share))*float64(c.H-1)
}

// area adds a polygon for each run of minutes that were seen.
func (c *chart) area(hour []minute, share func(minute) float64) {
	for i := 0; i < len(hour); i++ {
		if !hour[i].Seen {
			continue
		}
		x, _ := column(i)
		var line strings.Builder
		end := x
		for ; i < len(hour) && hour[i].Seen; i++ {
			x, w := column(i)
			end = x + w
			fmt.Fprintf(&line, "%.1f,%.1f %.1f,%.1f ", x, c.y(share(hour[i])), end, c.y(share(hour[i])))
		}
		points := strings.TrimSpace(line.String())
		c.Lines = append(c.Lines, points)
		c.Areas = append(c.Areas, fmt.Sprintf("%.1f,%d %s %.1f,%d", x, c.H, points, end, c.H))
	}
}
