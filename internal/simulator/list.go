package simulator

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The bounds of a page.
const (
	defaultPage = 50
	largestPage = 100
)

// statuses lists every state of a conversation of Anyreach.
var statuses = []string{
	"token_created", "triggered", "ringing", "in_progress",
	"completed", "failed", "cancelled", "transferred", "unanswered",
}

// filter is what a list is asked for. Empty values ask for everything.
type filter struct {
	exact    map[string]string // by the member of the record
	parts    map[string]string // in lower case, by the member of which they are a part
	after    time.Time         // inclusive
	before   time.Time         // inclusive
	cursor   time.Time         // exclusive
	metadata map[string]any    // that is contained in the conversation's
	limit    int
}

// list answers GET /core/conversations.
func (y *anyreach) list(w http.ResponseWriter, r *http.Request) {
	y.guarded(w, r, "list", streamAnyreachList, func(p anyreachPlan) answer {
		f, err := parseFilter(r.URL.Query())
		switch {
		case err != nil:
			return y.invalid(err, p.detail)
		case f.metadata != nil && y.cfg.Columns == ColumnsSafe:
			return y.failure(http.StatusForbidden, "Missing scope: conversations:read_sensitive")
		}
		var page []record
		y.sim.account.do(func(now time.Time) {
			page = y.page(now, f)
		})
		return answer{status: http.StatusOK, body: encode(page)}
	})
}

// page returns the conversations that a filter asks for, the newest first. Call
// it within the account's do.
func (y *anyreach) page(now time.Time, f filter) []record {
	page := []record{}
	for _, c := range slices.Backward(y.sim.account.calls) {
		if len(page) == f.limit {
			break
		}
		if c.visible.After(now) || !f.inTime(y.coarse(c.Created)) {
			continue
		}
		if r := y.record(c, now); f.matches(r) && f.finds(c.booking().CustomMetadata) {
			page = append(page, r)
		}
	}
	return page
}

// inTime reports whether a time, as it is told, is within the bounds.
func (f filter) inTime(at time.Time) bool {
	return !at.Before(f.after) &&
		(f.before.IsZero() || !at.After(f.before)) &&
		(f.cursor.IsZero() || at.Before(f.cursor))
}

// matches reports whether a record has what is asked for.
func (f filter) matches(r record) bool {
	members := map[string]*string{
		"direction": &r.Direction, "channel": &r.Channel, "status": &r.Status, "user_id": &r.UserID,
		"agent_id": r.AgentID, "agent_version_id": r.AgentVersionID, "agent_number": r.AgentNumber,
	}
	for member, want := range f.exact {
		if got := members[member]; got == nil || *got != want {
			return false
		}
	}
	for member, part := range f.parts {
		if got := members[member]; got == nil || !strings.Contains(strings.ToLower(*got), part) {
			return false
		}
	}
	return true
}

// inQuery returns a flaw of a query parameter.
func inQuery(name, msg string) error {
	return flaw{Loc: []string{"query", name}, Msg: msg, Type: "value_error"}
}

// parseFilter reads the parameters of a list, or returns the first flaw in
// them. An empty parameter counts as absent.
func parseFilter(q url.Values) (filter, error) {
	f := filter{exact: map[string]string{}, parts: map[string]string{}}
	for _, name := range []string{"direction", "channel", "status", "agent_id", "agent_version_id"} {
		if v := q.Get(name); v != "" {
			f.exact[name] = v
		}
	}
	for _, name := range []string{"user_id", "agent_number"} {
		if v := q.Get(name); v != "" {
			f.parts[name] = strings.ToLower(v)
		}
	}
	if err := f.checkEnums(); err != nil {
		return f, err
	}
	return f, f.parseBounds(q)
}

// checkEnums returns a flaw if a channel or status is unknown.
func (f *filter) checkEnums() error {
	if v, ok := f.exact["channel"]; ok && !slices.Contains(channels, v) {
		return inQuery("channel", "must be one of "+strings.Join(channels, ", "))
	}
	if v, ok := f.exact["status"]; ok && !slices.Contains(statuses, v) {
		return inQuery("status", "must be one of "+strings.Join(statuses, ", "))
	}
	return nil
}

// parseBounds reads the parameters that are not compared with a member as they
// stand.
func (f *filter) parseBounds(q url.Values) error {
	for _, read := range []struct {
		name string
		into func(v string) bool
		msg  string
	}{
		{"created_after", timeInto(&f.after), "must be a time with an offset"},
		{"created_before", timeInto(&f.before), "must be a time with an offset"},
		{"cursor", f.setCursor, "is not a cursor"},
		{"custom_metadata", f.setMetadata, "must be a JSON object"},
		{"limit", f.setLimit, "must be an integer from 1 to 100"},
	} {
		if v := q.Get(read.name); v != "" && !read.into(v) {
			return inQuery(read.name, read.msg)
		}
	}
	if f.limit == 0 {
		f.limit = defaultPage
	}
	return nil
}

// timeInto returns a function that reads a time, and reports whether it is one.
func timeInto(t *time.Time) func(string) bool {
	return func(v string) bool {
		var err error
		*t, err = time.Parse(time.RFC3339Nano, v)
		return err == nil
	}
}

// setCursor reads a cursor, padded or not. Standard and URL-safe Base64 differ
// in two digits, which no time ever needs.
func (f *filter) setCursor(v string) bool {
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(v, "="))
	return err == nil && timeInto(&f.cursor)(string(text))
}

func (f *filter) setMetadata(v string) bool {
	err := json.Unmarshal([]byte(v), &f.metadata)
	return err == nil && f.metadata != nil
}

func (f *filter) setLimit(v string) bool {
	n, err := strconv.Atoi(v)
	f.limit = n
	return err == nil && n >= 1 && n <= largestPage
}

// finds reports whether metadata contains what is asked for.
func (f filter) finds(metadata map[string]json.RawMessage) bool {
	for name, want := range f.metadata {
		var have any
		if json.Unmarshal(metadata[name], &have) != nil || !contains(have, want) {
			return false
		}
	}
	return true
}

// contains reports whether one JSON value contains another: an object its
// members, an array its elements in any order, anything else what is equal.
func contains(have, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		object, ok := have.(map[string]any)
		for name, w := range want {
			h, there := object[name]
			ok = ok && there && contains(h, w)
		}
		return ok
	case []any:
		array, ok := have.([]any)
		for _, w := range want {
			ok = ok && slices.ContainsFunc(array, func(h any) bool { return contains(h, w) })
		}
		return ok
	default:
		return have == want
	}
}
