package oration

import (
	"fmt"

	"github.com/google/go-cmp/cmp"
)

// Scanned says where the reader of one pass finds something else in an answer than
// the other one; ok tells that it took the answer.
func Scanned(x Exchange) (diff string, ok bool) {
	r, ok := scan(x)
	if !x.Complete || !ok {
		return "", false
	}
	return cmp.Diff(fmt.Sprintf("%+v", stream(x)), fmt.Sprintf("%+v", r)), true
}
