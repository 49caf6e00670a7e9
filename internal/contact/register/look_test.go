package register_test

import (
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/contact/register"
)

// looks is what a look tells of an intent.
func (b *bench) looks(key string) (blocked, often consumer.Ruling) {
	b.t.Helper()
	a := consumer.Approach{Lane: "l", Intent: key, N: b.entries["l."+key].N, To: consumer.Recipient{Number: number}}
	blocked, often, err := b.reg.Look(b.t.Context(), a)
	if err != nil {
		b.t.Fatal(err)
	}
	return blocked, often
}

// A look says what the register would rule, and enters nothing: after it everything
// is as before.
func TestALookEntersNothing(t *testing.T) {
	t.Parallel()
	inTime(t, register.Limits{Purpose: "p", Once: time.Hour, CoolDown: time.Hour}, func(b *bench) {
		for _, key := range []string{"first", "second", "first"} { // one that was entered would be in the other's way
			if _, often := b.looks(key); often.Verdict != consumer.ContactNow {
				t.Fatalf("nobody was contacted: got %+v, want now", often)
			}
		}
		b.want("first", consumer.ContactNow, "")
		b.stands("first", claim)
		if _, often := b.looks("second"); often.Verdict != consumer.ContactLater || often.Until.IsZero() || !strings.Contains(often.Reason, "is waited for") {
			t.Errorf("a request on its way: got %+v, want later", often)
		}
		b.stands("first", claim, made)
		if _, often := b.looks("second"); often.Verdict != consumer.ContactNever || !strings.Contains(often.Reason, "once in 60 min") {
			t.Errorf("contacted: got %+v, want never", often)
		}
		if _, often := b.looks("first"); often.Verdict != consumer.ContactNow {
			t.Errorf("itself: got %+v, want it not in its own way", often)
		}
		if _, err := b.reg.Block(t.Context(), register.Person(number), "", register.Act{By: "ana", Reason: "asked", At: time.Now()}); err != nil {
			t.Fatal(err)
		}
		if blocked, often := b.looks("second"); blocked.Verdict != consumer.ContactNever || often.Verdict != consumer.ContactNever {
			t.Errorf("blocked: got %+v and %+v, want both", blocked, often)
		}
	})
}
