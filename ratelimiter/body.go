package ratelimiter

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
)

// Paths say where in a JSON body a provider tells how many conversations exist,
// for those that have no headers for it. A path is member names with dots between
// them, and the index of an array's element: "subscriptionLimits.concurrencyLimit",
// "limits.0.max". An empty path is none. Of Remaining and Current, which is how
// many exist, one is enough.
type Paths struct{ Limit, Remaining, Current string }

// Bounds of a body that is read. A larger one tells nothing.
const (
	maxBody  = 1 << 20 // bytes
	maxSteps = 16      // of a path
)

// familyBody is Reading.Family of what stands in a body.
const familyBody = "body"

// ParseBody reads the limit out of an answer's JSON body. The operator named the
// paths, so what they lead to counts conversations. Numbers are whole, not
// negative, and may be written as strings; what makes no sense is as good as
// absent. The result has Limit and Remaining at most.
func ParseBody(body []byte, paths Paths) Reading {
	none := Reading{Limit: -1, Remaining: -1}
	if len(body) > maxBody {
		return none
	}
	var doc any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if d.Decode(&doc) != nil {
		return none
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) { // something follows
		return none
	}
	r := Reading{Limit: whole(doc, paths.Limit), Remaining: whole(doc, paths.Remaining)}
	if current := whole(doc, paths.Current); r.Remaining < 0 && current >= 0 && r.Limit >= 0 {
		r.Remaining = max(0, r.Limit-current) // more than the limit happens where bursts are sold
	}
	if r.Limit < 0 && r.Remaining < 0 || r.Limit >= 0 && r.Remaining > r.Limit {
		return none
	}
	r.Concurrency, r.UnitKnown, r.Family = true, true, familyBody
	return r
}

// whole returns the number at a path, -1 if there is none that makes sense.
func whole(doc any, path string) int {
	if path == "" {
		return -1
	}
	steps := strings.Split(path, ".")
	if len(steps) > maxSteps {
		return -1
	}
	for _, step := range steps {
		doc = into(doc, step)
	}
	var text string
	switch v := doc.(type) {
	case json.Number:
		text = v.String()
	case string:
		text = v
	}
	if !isDigits(text) || len(text) > 7 || digits(text) > maxCount {
		return -1
	}
	return int(digits(text))
}

// into takes one step of a path; nil if it leads nowhere.
func into(doc any, step string) any {
	switch v := doc.(type) {
	case map[string]any:
		return v[step]
	case []any:
		if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(v) {
			return v[i]
		}
	}
	return nil
}
