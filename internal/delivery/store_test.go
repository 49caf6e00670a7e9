package delivery_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/delivery"
	"github.com/weirhq/weir/schema"
)

// world is a stream of outcomes and an endpoint, in memory.
type world struct {
	mu       sync.Mutex
	created  time.Time
	stream   []delivery.Stored
	place    []byte
	revision uint64
	kept     map[string]delivery.Undelivered
	copies   uint64 // sequences of kept
	poll     time.Duration
	full     bool          // no copy can be kept
	sealed   bool          // no place can be written
	lag      time.Duration // of Next
	kinds    []string
	broken   string // a promise that was broken

	answer  func(id string) (status int, header http.Header) // of the endpoint; 0: no connection
	slow    time.Duration
	posts   []string // ids, in the order of the requests
	got     []string // ids, in the order of the 2xx
	busy    int
	most    int                 // requests at one time
	intents map[string]string   // of each id
	ids     map[string][]string // of each intent
	sent    map[string]time.Time
}

func newWorld() *world {
	return &world{
		created: time.Now(), kept: make(map[string]delivery.Undelivered), intents: make(map[string]string), ids: make(map[string][]string), sent: make(map[string]time.Time),
		answer: func(string) (int, http.Header) { return 204, nil },
	}
}

// publish puts an outcome of an intent into the stream, and returns its id.
func (w *world) publish(intent, kind string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	id := uuid.NewString()
	data, _ := json.Marshal(consumer.OutcomeData{Lane: "acme", Kind: kind, Intent: intent, EventID: "e-" + intent, EventSource: "/crm"})
	body := fmt.Appendf(nil, `{"specversion":"1.0","id":%q,"type":"weir.conversation.%s","source":"/weir/acme","time":"2026-03-01T12:00:00Z","datacontenttype":"application/json","causationid":"é %% x","data":%s}`, id, kind, data)
	w.stream = append(w.stream, delivery.Stored{Sequence: uint64(len(w.stream) + 1), Published: time.Now(), Kind: kind, Body: body})
	w.intents[id] = intent
	w.ids[intent] = append(w.ids[intent], id)
	return id
}

// order notes on a copy that a person ordered it.
func (w *world) order(id string) {
	w.do(func() {
		u := w.kept[id]
		w.copies++
		u.By, u.Sequence = "ann", w.copies
		w.kept[id] = u
	})
}

// bulk is publish for very many, whose intents and ids nobody asks for.
func (w *world) bulk(intent, kind string) {
	body := fmt.Appendf(nil, `{"specversion":"1.0","id":"bulk-%s","type":"weir.conversation.%s","source":"/weir/acme","datacontenttype":"application/json","data":{"intent":%q}}`, intent, kind, intent)
	w.stream = append(w.stream, delivery.Stored{Sequence: uint64(len(w.stream) + 1), Published: time.Now(), Kind: kind, Body: body})
}

func (w *world) fail(format string, args ...any) {
	if w.broken == "" {
		w.broken = fmt.Sprintf(format, args...)
	}
}

// RoundTrip implements http.RoundTripper.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	id := r.Header.Get("Webhook-Id")
	w.mu.Lock()
	w.posts = append(w.posts, id)
	w.sent[id] = time.Now()
	w.busy++
	w.most = max(w.most, w.busy)
	w.inOrder(id)
	slow := w.slow
	w.mu.Unlock()
	var late error
	select {
	case <-time.After(slow + time.Millisecond):
	case <-r.Context().Done():
		late = r.Context().Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy--
	if late != nil {
		return nil, late
	}
	var data consumer.OutcomeData
	if json.Unmarshal(body, &data) != nil || data.Intent != w.intents[id] {
		w.fail("%s came with the body %s", id, body)
	}
	status, header := w.answer(id)
	if status == 0 {
		return nil, errors.New("connection refused")
	}
	if status < 300 {
		w.got = append(w.got, id)
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(""))}, nil
}

// inOrder holds the promise of the order against a request: each earlier outcome of
// its event was answered 2xx or given up.
func (w *world) inOrder(id string) {
	if u, ok := w.kept[id]; ok && u.By != "" {
		return // a person ordered it
	}
	for _, earlier := range w.ids[w.intents[id]] {
		if earlier == id {
			return
		}
		if _, up := w.kept[earlier]; !up && !slices.Contains(w.got, earlier) {
			w.fail("%s was sent before %s, which is earlier", id, earlier)
		}
	}
}

func idOf(s delivery.Stored) string {
	var ev struct {
		ID string `json:"id"`
	}
	_ = json.Unmarshal(s.Body, &ev)
	return ev.ID
}

// process is a world's store as one process has it, which may die.
type process struct {
	*world
	mu   sync.Mutex
	dead bool
	deaf func() bool // a call fails; nil: none
}

var errDead = errors.New("this process is dead")

func (p *process) gone() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead || p.deaf != nil && p.deaf() {
		return errDead
	}
	return nil
}

func (p *process) Stream(context.Context) (time.Time, uint64, error) {
	p.world.mu.Lock()
	defer p.world.mu.Unlock()
	return p.created, uint64(len(p.stream)), p.gone()
}

func (p *process) Next(ctx context.Context, _ string, from uint64) (*delivery.Stored, error) {
	if p.lag > 0 {
		select {
		case <-time.After(p.lag):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	p.world.mu.Lock()
	defer p.world.mu.Unlock()
	if err := p.gone(); err != nil || from > uint64(len(p.stream)) {
		return nil, err
	}
	return new(p.stream[max(from, 1)-1]), nil
}

func (p *process) Place(context.Context, string) ([]byte, uint64, error) {
	p.world.mu.Lock()
	defer p.world.mu.Unlock()
	return p.place, p.revision, p.gone()
}

func (p *process) SavePlace(_ context.Context, _ string, data []byte, revision uint64) (uint64, error) {
	p.world.mu.Lock()
	defer p.world.mu.Unlock()
	if err := p.gone(); err != nil {
		return 0, err
	}
	if p.sealed {
		return 0, errors.New("the bucket is full")
	}
	if revision != p.revision {
		return 0, consumer.ErrConflict
	}
	if len(data) > 32<<10 {
		p.fail("a place has %d bytes", len(data))
	}
	p.place, p.revision = data, p.revision+1
	return p.revision, nil
}

func (p *process) Keep(_ context.Context, u delivery.Undelivered) error {
	p.world.mu.Lock()
	defer p.world.mu.Unlock()
	if err := p.gone(); err != nil {
		return err
	}
	if p.full {
		return errors.New("the stream is full")
	}
	if old := p.kept[u.ID]; u.Sequence > 0 && u.Sequence != old.Sequence { // none stands for none
		return consumer.ErrConflict
	}
	p.copies++
	u.Sequence = p.copies
	p.kept[u.ID] = u
	return nil
}

func (p *process) Ordered(_ context.Context, _ string, from uint64) (*delivery.Undelivered, uint64, error) {
	p.world.mu.Lock()
	defer p.world.mu.Unlock()
	var first *delivery.Undelivered
	for _, u := range p.kept {
		if u.By != "" && u.Sequence >= from && (first == nil || u.Sequence < first.Sequence) {
			first = &u
		}
	}
	if first == nil {
		return nil, from, p.gone()
	}
	return first, first.Sequence + 1, p.gone()
}

func (p *process) Discard(_ context.Context, _, id string, sequence uint64) error {
	p.world.mu.Lock()
	defer p.world.mu.Unlock()
	if err := p.gone(); err != nil {
		return err
	}
	if p.kept[id].Sequence == sequence {
		delete(p.kept, id)
	}
	return nil
}

func (p *process) Hint(string) (<-chan struct{}, func()) { return nil, func() {} }

// start runs a deliverer; stop ends it as a shutdown does, kill as a power cut.
func (w *world) start(giveUp time.Duration) (p *process, stop, kill func()) {
	p = &process{world: w}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			if err := delivery.Begin(ctx, p, "acme"); err == nil {
				d := delivery.New(zerolog.Nop(), p, delivery.Config{
					Lane: "acme", URL: "http://127.0.0.1:1/x", Timeout: 15 * time.Second, GiveUp: giveUp, Transport: w, Poll: w.poll, Kinds: w.kinds,
					Keys: func() ([]schema.Secret, error) { return []schema.Secret{exampleSecret}, nil },
				})
				_ = d.Run(ctx)
			}
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	})
	stop = func() { cancel(); wg.Wait() }
	kill = func() {
		p.mu.Lock()
		p.dead = true
		p.mu.Unlock()
		stop()
	}
	return p, stop, kill
}

// begun is a world whose lane has a place already.
func begun(t *testing.T) *world {
	t.Helper()
	w := newWorld()
	if err := delivery.Begin(t.Context(), &process{world: w}, "acme"); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) do(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// count is how many of the outcomes were answered 2xx at least once, and how many
// are kept for a person.
func (w *world) count() (delivered, kept int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := make(map[string]bool)
	for _, id := range w.got {
		seen[id] = true
	}
	return len(seen), len(w.kept)
}

func (w *world) check(t *testing.T) {
	t.Helper()
	w.do(func() {
		if w.broken != "" {
			t.Error(w.broken)
		}
	})
}
