package anyreach

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/consumer/wire"
)

const (
	pageSize = 100
	maxPages = 20
	maxRows  = 10 * pageSize // of one page, should the API not heed the limit
)

// Conversations implements [consumer.Lister]. The API lists the newest first. Its
// cursor is a time, and whoever shares that time with a page's last conversation
// is skipped by it. So each further page is a window up to that time and all that
// is written like it, which repeats a few; each conversation is returned once. A
// page that would not move such a window is followed by one up to the written time
// alone, and a page of that one time by the cursor past it: of more than 100
// conversations of one written time, some are missing.
//
// It reads 20 pages of at most 4 MiB and 1000 conversations. Where it cannot go on
// it ends without an error: a list never shows that something is not there.
func (c *Client) Conversations(ctx context.Context, since time.Time) ([]consumer.Conversation, error) {
	l := listing{since: since, seen: make(map[string]bool)}
	for range maxPages {
		more, err := l.next(ctx, c)
		if err != nil {
			return l.out, fmt.Errorf("list conversations: %w", err)
		}
		if !more {
			return l.out, nil
		}
	}
	return l.out, nil
}

// listing is one look at the list under way.
type listing struct {
	since time.Time
	out   []consumer.Conversation
	seen  map[string]bool // ids in out

	before time.Time // end of the window that is asked for; zero: none yet
	cursor string    // asked for in place of a window; empty: none
	low    string    // the earliest created_at so far, as it was received
	older  bool      // a row was made before since
}

// next asks for a page, and reports whether there may be another.
func (l *listing) next(ctx context.Context, c *Client) (bool, error) {
	x := c.wire.Get(ctx, path+"?"+l.query(), maxConversation)
	body, err := c.answer(x)
	if err != nil {
		return false, err
	}
	rows, err := l.take(body, c.wire.Censor(), x.Header)
	return err == nil && rows >= pageSize && !l.older && l.move(), err
}

// query returns the parameters of the next page. All bounds are inclusive.
func (l *listing) query() string {
	q := url.Values{"limit": {strconv.Itoa(pageSize)}}
	if !l.since.IsZero() {
		// A server that keeps whole seconds would leave out the first one.
		q.Set("created_after", l.since.UTC().Format(time.RFC3339))
	}
	switch {
	case l.cursor != "":
		q.Set("cursor", l.cursor)
	case !l.before.IsZero():
		q.Set("created_before", l.before.UTC().Format(time.RFC3339Nano))
	}
	return q.Encode()
}

// take adds the rows of a page, and returns how many there are.
func (l *listing) take(body []byte, c wire.Censor, header http.Header) (int, error) {
	body = bytes.TrimSpace(body)
	dec := json.NewDecoder(bytes.NewReader(body))
	if start, err := dec.Token(); err != nil || start != json.Delim('[') {
		return 0, errors.New("the answer is no JSON array: " + said(c, body, http.StatusOK))
	}
	rows := 0
	for ; dec.More() && rows < maxRows; rows++ {
		var raw json.RawMessage
		if dec.Decode(&raw) != nil {
			return rows, errors.New("the answer is not well formed")
		}
		l.add(wire.AsObject(raw), c, header)
	}
	if _, err := dec.Token(); err != nil && rows < maxRows {
		return rows, errors.New("the answer is not well formed")
	}
	return rows, nil
}

// add adds a row, once, if it has what tells one conversation from another.
func (l *listing) add(o wire.Object, c wire.Censor, header http.Header) {
	text := o.Text("created_at")
	at, step, ok := moment(text)
	if low, _, known := moment(l.low); ok && (!known || at.Before(low)) {
		l.low = text
	}
	if ok && !at.Add(step).After(l.since) {
		l.older = true
		return
	}
	conv := conversation(c, o)
	if conv.ID == "" || conv.Status == "" || l.seen[conv.ID] {
		return
	}
	conv.Header = header
	l.seen[conv.ID] = true
	l.out = append(l.out, conv)
}

// move goes on behind a full page, and reports whether that can be done. Each
// window is narrower than the last one, so it ends.
func (l *listing) move() bool {
	at, step, ok := moment(l.low)
	switch end := at.Add(step); {
	case !ok:
		return false
	case l.narrows(end):
		l.before, l.cursor = end, ""
	case l.narrows(at):
		l.before, l.cursor = at, ""
	case l.cursor == "":
		l.cursor = base64.StdEncoding.EncodeToString([]byte(l.low))
	default:
		return false
	}
	return true
}

// narrows reports whether a window up to t holds less than the last one.
func (l *listing) narrows(t time.Time) bool {
	return l.before.IsZero() || t.Before(l.before)
}
