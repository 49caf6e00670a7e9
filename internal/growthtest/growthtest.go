// Package growthtest says how a cost grows: with a size, as the exponent of a power
// law, and over a long run, as a rate that is or is not told from noise.
package growthtest

import (
	"fmt"
	"math"
)

// Line is a straight line through points, by least squares.
type Line struct {
	Slope, Intercept float64
	Error            float64 // standard error of Slope; NaN for fewer than three points
	N                int
}

// Fit returns the line through the points (x[i], y[i]). Points that are all at one x
// have no line: NaN.
func Fit(x, y []float64) Line {
	n := float64(len(x))
	var mx, my float64
	for i := range x {
		mx, my = mx+x[i]/n, my+y[i]/n
	}
	var xx, xy float64
	for i := range x {
		xx += (x[i] - mx) * (x[i] - mx)
		xy += (x[i] - mx) * (y[i] - my)
	}
	l := Line{Slope: xy / xx, Error: math.NaN(), N: len(x)}
	l.Intercept = my - l.Slope*mx
	if len(x) < 3 {
		return l
	}
	var rest float64
	for i := range x {
		d := y[i] - l.Intercept - l.Slope*x[i]
		rest += d * d
	}
	l.Error = math.Sqrt(rest / (n - 2) / xx)
	return l
}

// Exponent is b of the power law y = a·x^b that fits the points best, as a line
// through their logarithms: 0 is no growth, 1 growth in proportion. Points without a
// logarithm are left out.
func Exponent(x, y []float64) Line {
	var lx, ly []float64
	for i := range x {
		if x[i] > 0 && y[i] > 0 {
			lx, ly = append(lx, math.Log(x[i])), append(ly, math.Log(y[i]))
		}
	}
	return Fit(lx, ly)
}

// String returns the slope with its standard error, as "0.52 ± 0.03".
func (l Line) String() string {
	if math.IsNaN(l.Slope) {
		return "no line"
	}
	if math.IsNaN(l.Error) {
		return fmt.Sprintf("%.2f", l.Slope)
	}
	return fmt.Sprintf("%.2f ± %.2f", l.Slope, l.Error)
}

// Verdict is what a long run says of one quantity.
type Verdict string

// The verdicts.
const (
	Steady  Verdict = "steady"  // no growth that can be told from noise, or none that matters
	Grows   Verdict = "grows"   // more than the work explains
	Unknown Verdict = "unknown" // too few points, or too much noise, to tell
)

// Enough points for a verdict.
const Enough = 5

// Judge says whether a quantity that is allowed to grow by so much per unit of x,
// as the work explains, grows faster than that: by three standard errors and more.
// Matters is the slope above allowed below which growth is of no consequence; where
// noise could hide more than that, nothing is known.
func Judge(x, y []float64, allowed, matters float64) (Verdict, Line) {
	l := Fit(x, y)
	over := l.Slope - allowed
	switch {
	case l.N < Enough || math.IsNaN(l.Slope):
		return Unknown, l
	case over > matters && over > 3*l.Error:
		return Grows, l
	case over+2*l.Error > matters && over > 0 && l.Error > matters:
		return Unknown, l
	default:
		return Steady, l
	}
}
