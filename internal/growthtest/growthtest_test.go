package growthtest_test

import (
	"math"
	"testing"

	"github.com/weirhq/weir/internal/growthtest"
)

func TestExponent(t *testing.T) {
	t.Parallel()
	x := []float64{1e3, 1e4, 1e5, 1e6}
	for _, b := range []float64{0, 0.5, 1, 2} {
		var y []float64
		for _, v := range x {
			y = append(y, 7*math.Pow(v, b))
		}
		if got := growthtest.Exponent(append(x, 0), append(y, 5)); math.Abs(got.Slope-b) > 1e-9 || got.Error > 1e-6 || got.N != 4 {
			t.Errorf("y = 7 x^%v: got %v of %d points, want the exponent", b, got, got.N)
		}
	}
	if got := growthtest.Exponent([]float64{5, 5}, []float64{1, 2}).String(); got != "no line" {
		t.Errorf("points at one place: got %q", got)
	}
	if got := growthtest.Fit([]float64{0, 1}, []float64{1, 3}).String(); got != "2.00" {
		t.Errorf("two points: got %q, want no error", got)
	}
}

// Of a line with known noise the standard error is known: residuals ±1 in turns.
func TestFitTellsItsError(t *testing.T) {
	t.Parallel()
	x, y := []float64{0, 1, 2, 3}, []float64{1, 1, 5, 5} // 2x less or more 1, but for the slope
	l := growthtest.Fit(x, y)
	if math.Abs(l.Slope-1.6) > 1e-9 || math.Abs(l.Intercept-0.6) > 1e-9 || math.Abs(l.Error-math.Sqrt(1.6/5)) > 1e-9 {
		t.Errorf("got %+v, want slope 1.6, intercept 0.6, error %v", l, math.Sqrt(1.6/5))
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	x := []float64{0, 1, 2, 3, 4, 5, 6, 7}
	line := func(slope, noise float64) (y []float64) {
		for i, v := range x {
			y = append(y, 100+slope*v+noise*[]float64{1, -1, -1, 1}[i%4])
		}
		return y
	}
	tests := []struct {
		name             string
		y                []float64
		allowed, matters float64
		want             growthtest.Verdict
	}{
		{"flat", line(0, 1), 0, 1, growthtest.Steady},
		{"grows", line(5, 1), 0, 1, growthtest.Grows},
		{"grows as the work does", line(5, 1), 5, 1, growthtest.Steady},
		{"grows by what is of no consequence", line(0.5, 0.1), 0, 1, growthtest.Steady},
		{"shrinks", line(-5, 1), 0, 1, growthtest.Steady},
		{"noise that could hide growth", line(2, 100), 0, 1, growthtest.Unknown},
	}
	for _, tt := range tests {
		if got, l := growthtest.Judge(x, tt.y, tt.allowed, tt.matters); got != tt.want {
			t.Errorf("%s: got %s of %v, want %s", tt.name, got, l, tt.want)
		}
	}
	if got, _ := growthtest.Judge(x[:4], line(5, 0)[:4], 0, 1); got != growthtest.Unknown {
		t.Errorf("four points: got %s", got)
	}
}
