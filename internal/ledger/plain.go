package ledger

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/schema/plainjson"
)

// An entry is read and written several times for each event, and the standard encoder
// and decoder would look at its type each time. What is here does the same by name, and
// tests hold the two together.

// places are the names of a struct's members by their place, from 1 on.
func places[T any]() map[string]int {
	known := make(map[string]int)
	for f := range reflect.TypeFor[T]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		known[name] = len(known) + 1
	}
	return known
}

// members are the names that entry knows, lineMembers those of line.
var (
	members     = places[entry]()
	lineMembers = places[line]()
)

// decodeKnown reads an entry as this version writes it, in one pass. Whatever has
// members that are not known, or anything odd, is left to decode.
func decodeKnown(data []byte) (e entry, ok bool) {
	ok = inOrder(data, members, e.member)
	return e, ok && e.V == format && slices.Contains(states, e.State) && e.State != consumer.Absent
}

// inOrder has each member of an object read, and reports whether all were, each at most
// once and in their order.
func inOrder(data []byte, places map[string]int, member func(name []byte, raw json.RawMessage) bool) bool {
	last := 0
	return plainjson.Members(data, func(name []byte, raw json.RawMessage) bool {
		place := places[string(name)]
		if place <= last {
			return false
		}
		last = place
		return member(name, raw)
	})
}

func (e *entry) member(name []byte, raw json.RawMessage) bool {
	switch string(name) {
	case "v":
		return readNumber(raw, &e.V)
	case "w":
		return readText(raw, &e.Write)
	case "state":
		return readText(raw, &e.State)
	case "n":
		return readNumber(raw, &e.N)
	case "claims":
		return readNumber(raw, &e.Claims)
	case "attempts":
		return readNumber(raw, &e.Attempts)
	case "nonce":
		return readText(raw, &e.Nonce)
	case "claimed":
		return readTime(raw, &e.Claimed)
	case "not_before":
		return readTime(raw, &e.NotBefore)
	case "sequence":
		n, err := strconv.ParseUint(string(raw), 10, 64)
		e.Sequence = n
		return err == nil
	case "born":
		return readTime(raw, &e.Born)
	case "source":
		return readText(raw, &e.Source)
	case "id":
		return readText(raw, &e.ID)
	case "type":
		return readText(raw, &e.Type)
	case "trace":
		return readText(raw, &e.Trace)
	case "digest":
		return readText(raw, &e.Digest)
	case "channel":
		return readText(raw, &e.Channel)
	case "print":
		return readText(raw, &e.Print)
	case "conversation":
		return readText(raw, &e.Conversation)
	case "made":
		return readNumber(raw, &e.Made)
	case "greeting":
		return readText(raw, &e.Greeting)
	case "class":
		return readText(raw, &e.Class)
	case "reason":
		return readText(raw, &e.Reason)
	case "first":
		return readTime(raw, &e.First)
	case "history":
		e.History = make([]line, 0, 4)
		return plainjson.Elements(raw, func(raw json.RawMessage) bool {
			e.History = append(e.History, line{})
			return inOrder(raw, lineMembers, e.History[len(e.History)-1].member)
		})
	default:
		return e.rare(string(name), raw)
	}
}

// rare reads a member that few entries have.
func (e *entry) rare(name string, raw json.RawMessage) bool {
	to := map[string]any{
		"waits": &e.Waits, "postponed": &e.Later, "former": &e.Former, "redial_of": &e.RedialOf, "redial": &e.Redial,
		"next": &e.Next, "next_at": &e.NextAt, "open": &e.Open, "foreign": &e.Foreign, "doubted": &e.Doubted,
		"named": &e.Named, "join": &e.Join, "others": &e.Others, "forgotten": &e.Forgotten,
	}[name]
	return to != nil && json.Unmarshal(raw, to) == nil
}

func (l *line) member(name []byte, raw json.RawMessage) bool {
	switch string(name) {
	case "n":
		return readNumber(raw, &l.N)
	case "state":
		return readText(raw, &l.State)
	case "claim":
		return readNumber(raw, &l.Claim)
	case "at":
		return readTime(raw, &l.At)
	case "by":
		return readText(raw, &l.By)
	case "cause":
		return readText(raw, &l.Cause)
	case "reason":
		return readText(raw, &l.Reason)
	default:
		return false
	}
}

func readText[T ~string](raw json.RawMessage, to *T) bool {
	if s, ok := plainjson.Text(raw); ok {
		*to = T(s)
		return true
	}
	return raw[0] == '"' && json.Unmarshal(raw, to) == nil
}

func readNumber(raw json.RawMessage, to *int) (ok bool) {
	n, err := strconv.Atoi(string(raw))
	*to = n
	return err == nil
}

func readTime(raw json.RawMessage, to *time.Time) bool {
	return raw[0] == '"' && to.UnmarshalJSON(raw) == nil
}
