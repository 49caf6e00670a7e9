package main

import "strings"

// gridColumn is one of a grid.
type gridColumn struct {
	head   string
	number bool // aligned to the right
	cells  []string
	sum    string
	colour []string // of each cell, if any
	least  int      // how narrow it may become; 0: as wide as it is
}

func (c gridColumn) width() int {
	w := max(textWidth(c.head), textWidth(c.sum))
	for _, cell := range c.cells {
		w = max(w, textWidth(cell))
	}
	return w
}

// grid is columns with the widths that they were given.
type grid struct {
	columns []gridColumn
	widths  []int
	brush   brush
}

// firstThatFits is the first choice of columns for which width is enough; of the
// last one what is too wide is cut.
func firstThatFits(width int, b brush, choices ...[]gridColumn) (g grid) {
	for _, choice := range choices {
		if g = fit(choice, width, b); g.widths != nil {
			return g
		}
	}
	for _, c := range g.columns {
		g.widths = append(g.widths, max(1, min(c.width(), (width-2*(len(g.columns)-1))/len(g.columns))))
	}
	return g
}

// fit gives the columns their widths, nil if there is not enough room.
func fit(columns []gridColumn, width int, b brush) grid {
	g := grid{columns: columns, widths: make([]int, len(columns)), brush: b}
	over := -width - 2
	for i, c := range columns {
		g.widths[i] = c.width()
		over += g.widths[i] + 2
	}
	for i, c := range columns {
		if cut := min(over, g.widths[i]-c.least); c.least > 0 && cut > 0 {
			g.widths[i], over = g.widths[i]-cut, over-cut
		}
	}
	if over > 0 {
		return grid{columns: columns, brush: b}
	}
	return g
}

// join sets cells side by side.
func (g grid) join(cell func(gridColumn) (text, colour string)) string {
	var b strings.Builder
	for i, c := range g.columns {
		text, colour := cell(c)
		pad := padTo
		if c.number {
			pad = padLeft
		}
		if i > 0 {
			b.WriteString("  ")
		}
		b.WriteString(g.brush.paint(colour, pad(text, g.widths[i])))
	}
	return strings.TrimRight(b.String(), " ")
}

func (g grid) head() string { return g.join(func(c gridColumn) (string, string) { return c.head, "" }) }
func (g grid) sum() string  { return g.join(func(c gridColumn) (string, string) { return c.sum, "" }) }

func (g grid) line(i int) string {
	return g.join(func(c gridColumn) (text, colour string) {
		if c.colour != nil {
			colour = c.colour[i]
		}
		return c.cells[i], colour
	})
}
