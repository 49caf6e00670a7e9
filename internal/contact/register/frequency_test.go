package register_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/contact/register"
)

const number = "+14155550101"

// bench is a register over a world in which nothing goes wrong.
type bench struct {
	*world
	t   *testing.T
	reg *register.Register
}

// inTime runs a test in virtual time.
func inTime(t *testing.T, limits register.Limits, f func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{world: newWorld(1), t: t}
		b.restart(limits)
		f(b)
	})
}

// restart opens the register anew, as another process does.
func (b *bench) restart(limits register.Limits) {
	b.t.Helper()
	var err error
	b.reg, err = register.Open(b.t.Context(), b.world, register.Config{
		Ledger: b.world, Lanes: map[string]register.Limits{"l": limits}, ClaimAge: claimAge,
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// ask asks for an intent that stands in the ledger as it does.
func (b *bench) ask(key string) consumer.Ruling {
	b.t.Helper()
	return b.approach(consumer.Approach{Lane: "l", Intent: key, N: b.entries["l."+key].N, To: consumer.Recipient{Number: number}})
}

func (b *bench) approach(a consumer.Approach) consumer.Ruling {
	b.t.Helper()
	rulings, err := b.reg.Admit(b.t.Context(), []consumer.Approach{a})
	if err != nil {
		b.t.Fatal(err)
	}
	return rulings[0]
}

// stands puts an intent into the ledger.
func (b *bench) stands(key string, steps ...consumer.Step) {
	in := consumer.Intent{Lane: "l", Key: key}
	for _, s := range steps {
		s.Attempt = max(in.Claims, 1)
		next, effect := consumer.Next(in, s, time.Now())
		if effect != consumer.Applied {
			b.t.Fatalf("step %v of %s: got effect %v", s.Kind, in.State, effect)
		}
		in = next
	}
	b.world.mu.Lock()
	defer b.world.mu.Unlock()
	b.seq++
	b.entries["l."+key], b.revs["l."+key] = in, b.seq
}

func (b *bench) want(key string, want consumer.Ruled, says string) {
	b.t.Helper()
	if r := b.ask(key); r.Verdict != want || !strings.Contains(r.Reason, says) {
		b.t.Errorf("%s: got %+v, want verdict %d, %q", key, r, want, says)
	}
}

var (
	claim = consumer.Step{Kind: consumer.StepClaim}
	made  = consumer.Step{Kind: consumer.StepEvidence, Conversation: "c"}
	full  = consumer.Step{Kind: consumer.StepRelease, Class: "full"}
)

func ended(result string) consumer.Step {
	return consumer.Step{Kind: consumer.StepEnd, Conversation: "c", Reason: result}
}

// What another event of the person came to, and what it means to the next one.
func TestWhatCountsAsAContact(t *testing.T) {
	t.Parallel()
	once := register.Limits{Purpose: "p", Once: 24 * time.Hour}
	for name, tt := range map[string]struct {
		steps []consumer.Step
		want  consumer.Ruled
	}{
		"not claimed yet":        {nil, consumer.ContactLater},
		"on its way":             {[]consumer.Step{claim}, consumer.ContactLater},
		"created":                {[]consumer.Step{claim, made}, consumer.ContactNever},
		"ended":                  {[]consumer.Step{claim, made, ended("unanswered")}, consumer.ContactNever},
		"in doubt":               {[]consumer.Step{claim, {Kind: consumer.StepDoubt}}, consumer.ContactNever},
		"a doubt that was ended": {[]consumer.Step{claim, {Kind: consumer.StepDoubt}, {Kind: consumer.StepDrop, Expect: 2}}, consumer.ContactNever},
		"no slot":                {[]consumer.Step{claim, full}, consumer.ContactNow},
		"rejected":               {[]consumer.Step{claim, {Kind: consumer.StepReject}}, consumer.ContactNow},
		"suppressed":             {[]consumer.Step{{Kind: consumer.StepSuppress}}, consumer.ContactNow},
		"withdrawn":              {[]consumer.Step{{Kind: consumer.StepCancel}}, consumer.ContactNow},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inTime(t, once, func(b *bench) {
				b.want("1", consumer.ContactNow, "")
				if len(tt.steps) > 0 {
					b.stands("1", tt.steps...)
				}
				b.want("2", tt.want, "")
			})
		})
	}
}

// An intent is never in its own way, whatever became of it (H21).
func TestH21AnIntentIsNotInItsOwnWay(t *testing.T) {
	t.Parallel()
	for name, steps := range map[string][]consumer.Step{
		"given leave": nil, "no slot": {claim, full}, "in doubt": {claim, {Kind: consumer.StepDoubt}}, "an open doubt": {claim, {Kind: consumer.StepDoubt, Open: true}},
		"created": {claim, made},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inTime(t, register.Limits{Purpose: "p", Once: 24 * time.Hour, CoolDown: time.Hour, Caps: []register.Cap{{Count: 1, Per: time.Hour}}}, func(b *bench) {
				b.want("1", consumer.ContactNow, "")
				if len(steps) > 0 {
					b.stands("1", steps...)
				}
				b.want("1", consumer.ContactNow, "")
			})
		})
	}
}

func TestOnce(t *testing.T) {
	t.Parallel()
	inTime(t, register.Limits{Purpose: "p", Once: 24 * time.Hour}, func(b *bench) {
		b.want("1", consumer.ContactNow, "")
		b.stands("1", claim, made, ended("completed"))
		time.Sleep(3 * time.Hour)
		b.want("2", consumer.ContactNever, "This person was contacted 3 h ago (lane l, intent 1); once in 24 h.")
		r := b.approach(consumer.Approach{Lane: "l", Intent: "3", To: consumer.Recipient{Number: "+1 (415) 555-0101"}})
		if r.Verdict != consumer.ContactNever {
			t.Errorf("the same number in other words: got %+v", r)
		}
		if r := b.approach(consumer.Approach{Lane: "other", Intent: "3", To: consumer.Recipient{Number: number}}); r.Verdict != consumer.ContactNow {
			t.Errorf("a lane that does not count: got %+v", r)
		}
		if r := b.approach(consumer.Approach{Lane: "l", Intent: "4", To: consumer.Recipient{Address: "ada@example.com"}}); r.Verdict != consumer.ContactNow {
			t.Errorf("another person: got %+v", r)
		}
		// The first one may have gone out as late as a claim may be.
		time.Sleep(21*time.Hour + claimAge - 2*time.Second)
		b.want("2", consumer.ContactNever, "")
		time.Sleep(4 * time.Second)
		b.want("2", consumer.ContactNow, "")
	})
}

// An event that was given leave and of which nothing is heard keeps nobody waiting
// for longer than it could be claimed, however often the process begins anew.
func TestLeaveThatIsNotUsed(t *testing.T) {
	t.Parallel()
	limits := register.Limits{Purpose: "p", Once: 24 * time.Hour}
	inTime(t, limits, func(b *bench) {
		b.want("1", consumer.ContactNow, "")
		b.want("2", consumer.ContactLater, "waited for")
		time.Sleep(claimAge)
		b.restart(limits)
		b.want("2", consumer.ContactLater, "")
		time.Sleep(claimAge + time.Second)
		b.want("2", consumer.ContactLater, "")
		time.Sleep(claimAge)
		b.want("2", consumer.ContactNow, "")
		b.want("1", consumer.ContactLater, "") // by turns
	})
}

// Each ruling names its rule: metrics count by it.
func TestRulingsNameTheirRule(t *testing.T) {
	t.Parallel()
	for rule, limits := range map[string]register.Limits{
		consumer.RuleOnce:     {Purpose: "p", Once: 24 * time.Hour},
		consumer.RuleCoolDown: {Purpose: "p", CoolDown: 24 * time.Hour},
		consumer.RuleCaps:     {Purpose: "p", Caps: []register.Cap{{Count: 1, Per: 24 * time.Hour}}},
	} {
		inTime(t, limits, func(b *bench) {
			b.want("1", consumer.ContactNow, "")
			b.stands("1", claim)
			if r := b.ask("2"); r.Verdict != consumer.ContactLater || r.Rule != rule {
				t.Errorf("%s, while the first one is under way: got %+v", rule, r)
			}
			b.stands("1", claim, made, ended("completed"))
			if r := b.ask("2"); r.Verdict != consumer.ContactNever || r.Rule != rule {
				t.Errorf("%s: got %+v", rule, r)
			}
			if _, err := b.reg.Block(t.Context(), number, "", register.Act{By: "ana", Reason: "asked"}); err != nil {
				t.Fatal(err)
			}
			if r := b.ask("2"); r.Rule != consumer.RuleBlock {
				t.Errorf("%s, of somebody who is blocked: got %+v", rule, r)
			}
		})
	}
}

func TestCapsAndRedial(t *testing.T) {
	t.Parallel()
	limits := register.Limits{Purpose: "p", Once: 2 * time.Hour, CoolDown: 5 * time.Hour, Caps: []register.Cap{{Count: 2, Per: 24 * time.Hour}}}
	inTime(t, limits, func(b *bench) {
		b.want("1", consumer.ContactNow, "")
		b.stands("1", claim, made, ended("completed"))
		time.Sleep(time.Hour)
		b.want("2", consumer.ContactNever, "once in 2 h")
		time.Sleep(2 * time.Hour)
		b.want("2", consumer.ContactNever, "This person was spoken with 3 h ago (lane l, intent 1); not again within 5 h after that.")
		again := consumer.Approach{Lane: "l", Intent: "3", To: consumer.Recipient{Number: number}, Redial: true}
		if r := b.approach(again); r.Verdict != consumer.ContactNow {
			t.Errorf("a redial: got %+v", r)
		}
		b.stands("3", claim, made, ended("unanswered"))
		again.Intent = "4"
		if r := b.approach(again); r.Verdict != consumer.ContactNever || !strings.Contains(r.Reason, "contacted 2 times within 24 h, the last time 0 s ago (lane l, intent 3); no more than 2 are allowed") {
			t.Errorf("a redial beyond the cap: got %+v", r)
		}
		if _, err := b.reg.Block(t.Context(), number, "", register.Act{By: "ana", Reason: "asked"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(48 * time.Hour)
		if r := b.approach(again); r.Verdict != consumer.ContactNever || !strings.Contains(r.Reason, "must not be contacted at all") {
			t.Errorf("a redial to somebody who is blocked: got %+v", r)
		}
	})
}

func TestCoolDown(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		last []consumer.Step
		want consumer.Ruled
	}{
		"answered":    {[]consumer.Step{claim, made, ended("completed")}, consumer.ContactNever},
		"transferred": {[]consumer.Step{claim, made, ended("transferred")}, consumer.ContactNever},
		"not told":    {[]consumer.Step{claim, made, ended("")}, consumer.ContactNever},
		"unanswered":  {[]consumer.Step{claim, made, ended("unanswered")}, consumer.ContactNow},
		"failed":      {[]consumer.Step{claim, made, ended("failed")}, consumer.ContactNow},
		"in doubt":    {[]consumer.Step{claim, {Kind: consumer.StepDoubt}}, consumer.ContactNever},
		"under way":   {[]consumer.Step{claim, made}, consumer.ContactLater},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inTime(t, register.Limits{Purpose: "p", CoolDown: 6 * time.Hour}, func(b *bench) {
				b.want("1", consumer.ContactNow, "")
				time.Sleep(time.Second)
				b.stands("1", tt.last...)
				time.Sleep(time.Hour)
				b.want("2", tt.want, "")
				time.Sleep(6 * time.Hour)
				if tt.want != consumer.ContactLater {
					b.want("2", consumer.ContactNow, "")
				}
			})
		})
	}
	inTime(t, register.Limits{Purpose: "p", CoolDown: 6 * time.Hour}, func(b *bench) { // whose end nobody ever told
		b.want("1", consumer.ContactNow, "")
		b.stands("1", claim, made)
		time.Sleep(31 * time.Hour)
		b.want("2", consumer.ContactNow, "")
	})
}

// While the time of day cannot be relied on, nobody can tell.
func TestAWrongClockAdmitsNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1)
		reg, err := register.Open(t.Context(), w, register.Config{
			Ledger: w, Lanes: map[string]register.Limits{"l": {Purpose: "p", Once: time.Hour}}, Trusted: func() error { return errAway },
		})
		if err != nil {
			t.Fatal(err)
		}
		if r, err := reg.Admit(t.Context(), []consumer.Approach{{Lane: "l", Intent: "1", To: consumer.Recipient{Number: number}}}); err == nil {
			t.Errorf("got %+v, want an error", r)
		}
		if _, err := reg.Admit(t.Context(), []consumer.Approach{{Lane: "other", Intent: "1", To: consumer.Recipient{Number: number}}}); err != nil {
			t.Errorf("a lane that does not count: got %v", err)
		}
	})
}

// A lane calls nobody again by itself who was spoken with since the first call, by
// whichever lane of the purpose. What is not decided is waited for.
func TestRedialsStop(t *testing.T) {
	t.Parallel()
	limits := register.Limits{Purpose: "p", Once: 24 * time.Hour, Redials: true}
	for name, tt := range map[string]struct {
		other []consumer.Step
		want  consumer.Ruled
	}{
		"answered":    {[]consumer.Step{claim, made, ended("completed")}, consumer.ContactNever},
		"transferred": {[]consumer.Step{claim, made, ended("transferred")}, consumer.ContactNever},
		"in doubt":    {[]consumer.Step{claim, {Kind: consumer.StepDoubt}}, consumer.ContactNever},
		"unanswered":  {[]consumer.Step{claim, made, ended("unanswered")}, consumer.ContactNow},
		"under way":   {[]consumer.Step{claim, made}, consumer.ContactLater},
		"on its way":  {[]consumer.Step{claim}, consumer.ContactLater},
		"no slot":     {[]consumer.Step{claim, full}, consumer.ContactNow},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inTime(t, limits, func(b *bench) {
				again := func(since time.Time) consumer.Ruling {
					return b.approach(consumer.Approach{Lane: "l", Intent: "r", To: consumer.Recipient{Number: number}, Redial: true, Since: since})
				}
				first := time.Now()
				b.want("1", consumer.ContactNow, "")
				b.stands("1", claim, made, ended("unanswered"))
				time.Sleep(time.Hour)
				if r := b.approach(consumer.Approach{Lane: "l", Intent: "2", To: consumer.Recipient{Number: number}, Redial: true}); r.Verdict != consumer.ContactNow {
					t.Fatalf("another lead of the person: got %+v", r)
				}
				b.stands("2", tt.other...)
				if tt.want == consumer.ContactNever {
					time.Sleep(20 * 24 * time.Hour) // the limits alone would have forgotten it
				}
				r := again(first)
				if r.Verdict != tt.want || tt.want == consumer.ContactNever && !strings.HasPrefix(r.Reason, "This person was spoken with 20 d ago (lane l, intent 2), so that nobody need be called again.") {
					t.Errorf("got %+v, want verdict %d", r, tt.want)
				}
				if tt.want == consumer.ContactNever {
					if r := again(time.Now().Add(-time.Hour)); r.Verdict != consumer.ContactNow {
						t.Errorf("a first call after that one: got %+v", r)
					}
				}
			})
		})
	}
}

// What is remembered for redials is kept as long.
func TestRedialsAreRemembered(t *testing.T) {
	t.Parallel()
	inTime(t, register.Limits{Purpose: "p", Redials: true}, func(b *bench) {
		b.want("1", consumer.ContactNow, "")
		b.stands("1", claim, made, ended("completed"))
		time.Sleep(25 * 24 * time.Hour)
		b.want("2", consumer.ContactNow, "")
		b.stands("2", claim, made, ended("unanswered"))
		r := b.approach(consumer.Approach{Lane: "l", Intent: "r", To: consumer.Recipient{Number: number}, Redial: true, Since: time.Now().Add(-26 * 24 * time.Hour)})
		if r.Verdict != consumer.ContactNever || !strings.Contains(r.Reason, "intent 1") {
			t.Errorf("got %+v, want the call of 25 days ago to forbid it", r)
		}
	})
}
