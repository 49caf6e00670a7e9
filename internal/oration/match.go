package oration

import (
	"strings"

	"github.com/weirhq/weir/consumer"
)

// nobody is the item of a result that could not be matched; again that of one
// that repeats the conversation of another.
const (
	nobody = -1
	again  = -2
)

// match returns the index of the item that each result is about, each item at
// most once. When all others are matched, the one result that is left belongs to
// the one item that is left, unless something speaks against it. In a request
// of several items that includes errors: quiet reports that there are none.
func match(items []consumer.Item, results []result, quiet bool) []int {
	of := make([]int, len(results))
	owner := make(map[string]int, len(results)) // item by conversation
	taken := make([]bool, len(items))
	for i := range of {
		of[i] = nobody
	}
	take := func(i, item int) {
		of[i] = item
		taken[item] = true
		if id := results[i].id; id != "" {
			owner[id] = item
		}
	}
	// The surest first: an echo before a number, and both before a result that
	// has no id to keep.
	for _, pass := range []struct{ id, echo bool }{{true, true}, {true, false}, {false, true}, {false, false}} {
		for i, r := range results {
			if (r.id != "") != pass.id || (r.intent != "") != pass.echo {
				continue
			}
			item := r.item(items)
			has, known := owner[r.id]
			switch {
			case known && (item == nobody || item == has):
				of[i] = again
			case known || item == nobody || taken[item]:
			default:
				take(i, item)
			}
		}
	}
	i, item := remaining(of, taken)
	if item == nobody || results[i].id == "" || len(items) > 1 && !quiet || results[i].contradicts(items[item], len(items)) {
		return of
	}
	if _, known := owner[results[i].id]; !known {
		take(i, item)
	}
	return of
}

// remaining returns the only unmatched result and the only unmatched item, if
// there is one of each: nobody if not.
func remaining(of []int, taken []bool) (int, int) {
	at, item := nobody, nobody
	for i, o := range of {
		if o != nobody {
			continue
		}
		if at != nobody {
			return nobody, nobody
		}
		at = i
	}
	for i, t := range taken {
		if t {
			continue
		}
		if item != nobody {
			return nobody, nobody
		}
		item = i
	}
	if at == nobody {
		return nobody, nobody
	}
	return at, item
}

// item returns the index of the one item that n names, or nobody. An echoed
// intent decides alone: a result of another intent, or of an older attempt, is
// not made ours by its number.
func (n naming) item(items []consumer.Item) int {
	found := nobody
	for i, it := range items {
		if !n.names(it) {
			continue
		}
		if found != nobody {
			return nobody
		}
		found = i
	}
	return found
}

// names reports whether n names the item.
func (n naming) names(it consumer.Item) bool {
	if n.intent != "" {
		return n.intent == it.Intent && (n.attempt == 0 || n.attempt == it.Attempt)
	}
	req, _ := it.Request.Body.(Request)
	if n.agent != "" && req.AgentID != "" && !strings.EqualFold(n.agent, req.AgentID) {
		return false
	}
	if req.ToPhoneNumber != "" {
		return n.number == digits(req.ToPhoneNumber)
	}
	return n.number == "" && req.CustomerID != "" && strings.EqualFold(n.customer, req.CustomerID)
}

// contradicts reports whether something in n speaks against the item, in a
// request of so many. The agent of a lone item may have been replaced by the
// provider.
func (n naming) contradicts(it consumer.Item, items int) bool {
	if n.intent != "" {
		return !n.names(it)
	}
	req, _ := it.Request.Body.(Request)
	differ := func(a, b string) bool { return a != "" && b != "" && !strings.EqualFold(a, b) }
	return differ(n.number, digits(req.ToPhoneNumber)) || items > 1 && differ(n.agent, req.AgentID)
}
