package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Bounds of one stream's copy.
const (
	chunk = 128 << 10 // bytes of a message
	// verified is how long the broker may take to read every message and compare its
	// checksum before it begins.
	verified = 30 * time.Minute
	// quiet is how long nothing may come: the election of a leader ends a copy.
	quiet = 30 * time.Second
)

// State is how far a stream went.
type State struct {
	Messages uint64 `json:"messages"`
	LastSeq  uint64 `json:"last_seq"`
}

// reply is what the broker answers to the requests of this package.
type reply struct {
	Error   *jetstream.APIError `json:"error"`
	Config  json.RawMessage     `json:"config"`
	State   State               `json:"state"`
	Deliver string              `json:"deliver_subject"`
}

// api is what the subjects of the broker's API begin with.
func api(js jetstream.JetStream) string {
	if domain := js.Options().Domain; domain != "" {
		return "$JS." + domain + ".API."
	}
	return "$JS.API."
}

// snapshot writes a stream's snapshot to w. moved is called with how many bytes have
// come. The broker compares each message with its checksum first.
func snapshot(ctx context.Context, js jetstream.JetStream, stream string, w io.Writer, moved func(int64)) (reply, error) {
	nc := js.Conn()
	reconnects := nc.Stats().Reconnects
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	r, err := ask(ctx, nc, api(js)+"STREAM.SNAPSHOT."+stream, verified,
		map[string]any{"deliver_subject": inbox, "chunk_size": chunk, "jsck": true})
	if err != nil {
		return r, err
	}
	total := int64(0)
	for n := 1; ; n++ {
		m, err := next(ctx, sub)
		if err != nil {
			return r, fmt.Errorf("after %d bytes: %w", total, err)
		}
		if len(m.Data) == 0 {
			if status := m.Header.Get("Status"); status != "" && status[0] != '2' {
				return r, fmt.Errorf("after %d bytes: the broker gave up: %s %s", total, status, m.Header.Get("Description"))
			}
			break
		}
		if m.Reply != "" { // the last one has none
			if m.Reply[strings.LastIndexByte(m.Reply, '.')+1:] != strconv.Itoa(n) {
				return r, fmt.Errorf("after %d bytes: a part is missing", total)
			}
			if err := m.Respond(nil); err != nil {
				return r, err
			}
		}
		if _, err := w.Write(m.Data); err != nil {
			return r, err
		}
		total += int64(len(m.Data))
		moved(total)
	}
	if nc.Stats().Reconnects != reconnects {
		return r, errors.New("the connection was lost meanwhile: parts may be missing")
	}
	return r, nil
}

// next waits for the next part.
func next(ctx context.Context, sub *nats.Subscription) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, quiet)
	defer cancel()
	return sub.NextMsgWithContext(ctx)
}

// restore makes a stream of a snapshot. There must be none of its name.
func restore(ctx context.Context, js jetstream.JetStream, stream string, config json.RawMessage, is State, r io.Reader, moved func(int64)) (State, error) {
	nc := js.Conn()
	begun, err := ask(ctx, nc, api(js)+"STREAM.RESTORE."+stream, quiet, map[string]any{"config": config, "state": is})
	if err != nil {
		return State{}, err
	}
	part, total := make([]byte, chunk), int64(0)
	for {
		n, err := io.ReadFull(r, part)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return State{}, err
		}
		if n == 0 {
			break
		}
		if _, err := send(ctx, nc, begun.Deliver, quiet, part[:n]); err != nil {
			return State{}, fmt.Errorf("after %d bytes: %w", total, err)
		}
		total += int64(n)
		moved(total)
	}
	end, err := send(ctx, nc, begun.Deliver, verified, nil) // an empty part: it is all
	return end.State, err
}

// ask sends a request as JSON.
func ask(ctx context.Context, nc *nats.Conn, subject string, limit time.Duration, request any) (reply, error) {
	data, err := json.Marshal(request)
	if err != nil {
		return reply{}, err
	}
	return send(ctx, nc, subject, limit, data)
}

// send sends a request and reads the answer, which may be empty.
func send(ctx context.Context, nc *nats.Conn, subject string, limit time.Duration, data []byte) (r reply, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	m, err := nc.RequestWithContext(ctx, subject, data)
	if err != nil || len(m.Data) == 0 {
		return r, err
	}
	if err := json.Unmarshal(m.Data, &r); err != nil {
		return r, fmt.Errorf("the broker's answer: %w", err)
	}
	if r.Error != nil {
		return r, r.Error
	}
	return r, nil
}
