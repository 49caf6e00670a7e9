package providertest_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/consumer/providertest"
)

// envFault names the fault that TestBroken is to have.
const envFault = "PROVIDERTEST_FAULT"

// broken is a client with a fault; what is nil is as it should be.
type broken struct {
	providertest.Client
	test         string // the subtest that must find it
	prepare      func(c providertest.Client, r map[string]any) (consumer.Request, error)
	create       func(ctx context.Context, c providertest.Client, b consumer.Batch) consumer.Answer
	conversation func(ctx context.Context, c providertest.Client, id string) (consumer.Conversation, error)
	preview      func(p *consumer.Preview)
}

func (c broken) Preview(items []consumer.Item) (consumer.Preview, error) {
	p, err := c.Client.(consumer.Previewer).Preview(items)
	if c.preview != nil {
		c.preview(&p)
	}
	return p, err
}

func (c broken) Prepare(r map[string]any) (consumer.Request, error) {
	if c.prepare == nil {
		return c.Client.Prepare(r)
	}
	return c.prepare(c.Client, r)
}

func (c broken) Create(ctx context.Context, b consumer.Batch) consumer.Answer {
	if c.create == nil {
		return c.Client.Create(ctx, b)
	}
	return c.create(ctx, c.Client, b)
}

func (c broken) Conversation(ctx context.Context, id string) (consumer.Conversation, error) {
	if c.conversation == nil {
		return c.Client.Conversation(ctx, id)
	}
	return c.conversation(ctx, c.Client, id)
}

// judged is a create whose results are changed afterwards.
func judged(f func(a consumer.Answer, r *consumer.Result)) func(context.Context, providertest.Client, consumer.Batch) consumer.Answer {
	return func(ctx context.Context, c providertest.Client, b consumer.Batch) consumer.Answer {
		a := c.Create(ctx, b)
		for i := range a.Results {
			f(a, &a.Results[i])
		}
		return a
	}
}

var faults = map[string]broken{
	"sends again": {test: "once", create: func(ctx context.Context, c providertest.Client, b consumer.Batch) consumer.Answer {
		a := c.Create(ctx, b)
		if a.Status >= 500 || a.Status == 0 {
			return c.Create(ctx, b)
		}
		return a
	}},
	"asks no permission": {test: "permit", create: func(ctx context.Context, c providertest.Client, b consumer.Batch) consumer.Answer {
		b.Permit = nil
		return c.Create(ctx, b)
	}},
	"asks for permission before it dials": {test: "unsent", create: func(ctx context.Context, c providertest.Client, b consumer.Batch) consumer.Answer {
		_ = b.Permit()
		return c.Create(ctx, b)
	}},
	"cannot be stopped": {test: "context", create: func(ctx context.Context, c providertest.Client, b consumer.Batch) consumer.Answer {
		return c.Create(context.WithoutCancel(ctx), b)
	}},
	"claims that nothing was sent": {test: "doubt", create: judged(func(_ consumer.Answer, r *consumer.Result) {
		if r.Verdict == consumer.VerdictDoubt {
			r.Verdict = consumer.VerdictUnsent
		}
	})},
	"believes the status": {test: "verdict", create: judged(func(a consumer.Answer, r *consumer.Result) {
		if a.Status/100 != 2 && r.Verdict == consumer.VerdictCreated {
			*r = consumer.Result{Verdict: consumer.VerdictDoubt, Reason: "the status says so"}
		}
	})},
	"gives another id": {test: "concurrency", create: judged(func(_ consumer.Answer, r *consumer.Result) { r.Conversation += "0" })},
	"shows its token":  {test: "words", create: judged(func(_ consumer.Answer, r *consumer.Result) { r.Reason += ternToken })},
	"changes the route's request": {test: "prepare", prepare: func(c providertest.Client, r map[string]any) (consumer.Request, error) {
		defer delete(r, "to")
		return c.Prepare(r)
	}},
	"keeps the route's marks": {test: "marks", create: func(ctx context.Context, c providertest.Client, b consumer.Batch) consumer.Answer {
		for i := range b.Items {
			b.Items[i].Attempt = 1
		}
		return c.Create(ctx, b)
	}},
	"finds nothing where it was told nothing": {test: "query", conversation: func(ctx context.Context, c providertest.Client, id string) (consumer.Conversation, error) {
		conv, err := c.Conversation(ctx, id)
		if err != nil {
			err = consumer.ErrNotFound
		}
		return conv, err
	}},
	"asks for another id": {test: "conversation", conversation: func(ctx context.Context, c providertest.Client, id string) (consumer.Conversation, error) {
		return c.Conversation(ctx, strings.Trim(id, "./"))
	}},
	"shows another body":      {test: "preview", preview: func(p *consumer.Preview) { p.Body = append(p.Body, '\n') }},
	"shows another place":     {test: "preview", preview: func(p *consumer.Preview) { p.URL += "/" }},
	"hides a header":          {test: "preview", preview: func(p *consumer.Preview) { delete(p.Header, "User-Agent") }},
	"shows the token as well": {test: "preview", preview: func(p *consumer.Preview) { p.Header["Authorization"] = []string{"Bearer " + ternToken} }},
	"leaves a goroutine": {test: "close", create: func(ctx context.Context, c providertest.Client, b consumer.Batch) consumer.Answer {
		go func() { <-make(chan struct{}) }()
		return c.Create(ctx, b)
	}},
}

// TestBroken holds a client with a fault to the contract, in a process that
// TestFaultsAreFound starts. Elsewhere there is nothing to do.
func TestBroken(t *testing.T) {
	fault, ok := faults[os.Getenv(envFault)]
	if !ok {
		return
	}
	h := tern
	h.New = func(t *testing.T, cfg providertest.Config) providertest.Client {
		c := fault
		c.Client = tern.New(t, cfg)
		return c
	}
	providertest.Run(t, h)
}

// TestFaultsAreFound has a client of each fault fail the contract. A process of
// its own runs it, for a contract that fails fails its test.
func TestFaultsAreFound(t *testing.T) {
	t.Parallel()
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBroken$/^"+fault.test+"$", "-test.timeout=5m")
			cmd.Env = append(os.Environ(), envFault+"="+name)
			out, err := cmd.CombinedOutput()
			if _, failed := errors.AsType[*exec.ExitError](err); !failed || !strings.Contains(string(out), "--- FAIL: TestBroken/"+fault.test) {
				t.Errorf("got error %v, want the subtest %s to fail:\n%s", err, fault.test, out)
			}
		})
	}
}
