package consumer_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/consumer"
)

// TestStormOfRedials is TestStorm where one call in two is not answered: each such
// call is made again, once, as long as there are redials, and no other is.
func TestStormOfRedials(t *testing.T) {
	t.Parallel()
	eachSeed(t, func(s *storm) {
		waits := []time.Duration{time.Minute, 7 * time.Minute, time.Minute}[:1+s.seed%3]
		s.w.result = func(id string) string { // by the id alone: it is the same whenever it is asked
			if sum(fmt.Sprint(s.seed, id))%2 == 0 {
				return "unanswered"
			}
			return "completed"
		}
		s.w.books.redials = len(waits)
		s.play(func(c *consumer.Config) { s.batches(c); redialling(waits...)(c) })
	})
}

func sum(text string) (n uint64) {
	for _, b := range []byte(text) {
		n = n*1099511628211 ^ uint64(b)
	}
	return n >> 7
}

// follows looks at an entry that is a redial's: it follows a call that was to be made
// again. One that was withdrawn before its call had ended may follow none.
func (b *books) follows(in consumer.Intent) {
	if in.Redial == 0 && in.State == consumer.Cancelled {
		return
	}
	before := consumer.Key("l", "/crm", in.RedialOf)
	if in.Redial > 1 {
		before = redialOf(in.RedialOf, in.Redial-1)
	}
	prior := b.w.entries["l."+before].intent
	switch {
	case in.Redial > b.redials:
		b.fail("%s is redial %d of %d", in.ID, in.Redial, b.redials)
	case prior.State != consumer.Ended || prior.Conversation == "" || b.w.result(prior.Conversation) != "unanswered":
		b.fail("%s follows a call that is %q", in.ID, prior.State)
	case prior.Next != in.ID && b.w.chance.met[rehearses] == 0:
		b.fail("%s follows a call after which %q comes", in.ID, prior.Next)
	}
}

// closeRedials holds the redials of a storm against the calls before them, and
// returns those that there are as leads.
func (b *books) closeRedials(leads []*lead) []*lead {
	if b.redials == 0 {
		return leads
	}
	for _, e := range b.w.entries {
		if strings.Contains(e.intent.ID, ".redial.") {
			b.follows(e.intent)
			leads = append(leads, &lead{key: e.intent.Key, id: e.intent.ID})
		}
	}
	for _, l := range leads {
		in := b.w.entries["l."+l.key].intent
		if in.State != consumer.Ended || b.w.result(in.Conversation) != "unanswered" {
			continue
		}
		first := in.ID
		if in.Redial > 0 {
			first = in.RedialOf
		}
		withdrawn := b.w.entries["l."+redialOf(first, in.Redial+1)].intent.State == consumer.Cancelled
		last := in.Redial == b.redials || withdrawn || len(in.Others) > 0 || in.Former != "" || in.Sequence == 0 || b.w.chance.met[rehearses] > 0
		if in.Next == "" && !last {
			b.fail("%s was not answered, and nobody calls again", l.id)
		}
		if _, there := b.w.entries["l."+consumer.Key("l", "/crm", in.Next)]; in.Next != "" && !there {
			b.fail("the redial %s is lost", in.Next)
		}
	}
	slices.SortFunc(leads, func(a, b *lead) int { return strings.Compare(a.id, b.id) })
	return leads
}
