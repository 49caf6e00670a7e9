package anyreach

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/consumer/wire"
)

// Exchange is one create request and what came back: all that [Classify] judges
// by.
type Exchange struct {
	Item    consumer.Item
	Refused []int // statuses of which the operator vouches that nothing was created

	wire.Exchange
	Censor wire.Censor // of the secrets that were sent
}

// Classify says what an exchange means for its item: the answer has one result.
// It is pure.
func Classify(x Exchange) consumer.Answer {
	j := judge{x: x}
	if x.Status != 0 {
		j.said = read(x)
	}
	j.answer = consumer.Answer{Status: x.Status, Header: x.Header}
	j.decide()
	if x.Written {
		j.signal()
	}
	j.answer.Results = []consumer.Result{j.result}
	return j.answer
}

// judge is one classification under way.
type judge struct {
	x      Exchange
	said   reading
	answer consumer.Answer
	result consumer.Result
}

// decide gives the item its verdict: by the conversations that the body names,
// else by the status.
func (j *judge) decide() {
	other := j.said.other
	switch {
	case !j.x.Written: // whatever came is no answer to it
		j.give(consumer.VerdictUnsent, "the request was not sent")
	case j.x.Status == 0:
		j.give(consumer.VerdictDoubt, "the request was sent and its answer is lost")
	case len(j.said.ours) > 0:
		j.known()
	case other != nil && j.renamed():
		j.taken(*other)
	case other != nil && other.place != byID:
		j.give(consumer.VerdictDoubt, "the answer names another conversation")
		j.result.Foreign = other.with(j.x.Item) // it may be this one, under an id of the provider's own
	case j.said.torn:
		j.give(consumer.VerdictDoubt, "the answer is longer than is read of it")
	default:
		j.byStatus()
	}
}

// known is an answer that names our id: the conversation asked for, now or by an
// earlier attempt, unless something speaks against it.
func (j *judge) known() {
	for _, n := range j.said.ours {
		if what := n.differs(j.x.Item); what != "" {
			j.give(consumer.VerdictDoubt, "the provider has a conversation under this id with another "+what)
			j.result.Foreign = true
			return
		}
	}
	certain := slices.IndexFunc(j.said.ours, j.proves)
	if certain < 0 {
		j.give(consumer.VerdictDoubt, "the answer repeats the id, and does not tell whether the conversation was made")
		return
	}
	j.create(j.x.Item.Intent, j.said.ours[certain].status)
}

// proves reports whether a conversation under our id shows that it was made. An
// error may repeat what it was sent.
func (j *judge) proves(n named) bool {
	bare := n.place == byID || n.place == byName
	return n.certain && (!bare || j.x.Status/100 == 2 && !j.said.flawed())
}

// renamed reports whether the answer is to a success and tells an id that is not
// ours. An id alone, in a body that was cut, may be anything's.
func (j *judge) renamed() bool {
	other := j.said.other
	return j.x.Status/100 == 2 && (other.place != byID || other.certain && !j.said.flawed())
}

// taken is a success under an id of the provider's own: to send the item again
// would make another conversation.
func (j *judge) taken(n named) {
	req, _ := j.x.Item.Request.Body.(Request)
	id := usableID(j.x.Censor, n.id)
	if id != "" && !req.names(id) && n.certain && n.differs(j.x.Item) == "" {
		j.create(id, n.status)
		return
	}
	j.give(consumer.VerdictDoubt, "the provider answered with a conversation under another id, which may not be this one")
	j.result.Foreign = true
}

// usableID returns an id that can be kept and shown: ids are not masked. One that
// repeats a credential is none.
func usableID(c wire.Censor, id string) string {
	if c.Hide(id, len(id)) != id {
		return ""
	}
	return wire.UsableID(id)
}

// create gives the item its conversation and what came with it.
func (j *judge) create(id, status string) {
	j.result = consumer.Result{Verdict: consumer.VerdictCreated, Conversation: id, Status: j.x.Censor.Words(status)}
	j.result.Session, j.result.Reason = j.said.session(j.x.Censor, j.x.Status/100 == 2)
}

// byStatus gives the verdict of an answer that names no conversation.
func (j *judge) byStatus() {
	status := j.x.Status
	switch {
	case slices.Contains(j.x.Refused, status):
		j.give(consumer.VerdictUnsent, "the provider refused the request")
	case (status == http.StatusUnauthorized || status == http.StatusForbidden) && !j.unseen():
		j.give(consumer.VerdictUnauthorized, "the provider refused the credentials")
	case wire.Redirect(status) || j.elsewhere():
		j.give(consumer.VerdictUnsent, "the request did not reach the API")
	case status == http.StatusTooManyRequests && j.said.whole:
		j.give(consumer.VerdictFull, "the provider has no free slot")
	case status/100 == 2 && j.said.accepted():
		j.create(j.x.Item.Intent, "")
	case status == http.StatusConflict:
		j.give(consumer.VerdictDoubt, "the conversation may exist already")
	case status/100 == 4 && j.said.whole && !wire.Ambiguous(status):
		j.reject()
	default:
		j.give(consumer.VerdictDoubt, "the answer does not tell whether the conversation was made")
	}
}

// accepted reports whether the body of a 2xx is one that the API may give: none,
// as a 202 perhaps has, or any JSON that does not speak of an error.
func (r reading) accepted() bool {
	return r.whole && (r.empty || r.json) && !r.flawed()
}

// flawed reports whether a body speaks of an error, whatever the status.
func (r reading) flawed() bool {
	for _, name := range []string{"detail", "error", "errors"} {
		switch strings.TrimSpace(string(r.top[name])) {
		case "", "null", "false", `""`, "[]", "{}":
		default:
			return true
		}
	}
	return string(r.top["success"]) == "false" || strings.EqualFold(r.top.Text("status"), "error")
}

// unseen reports whether a conversation may be named in what could not be read.
func (j *judge) unseen() bool {
	return !j.said.whole && (j.said.json || j.said.empty || j.said.coded)
}

// elsewhere reports whether the answer is that of some web server that does not
// know the path, and not of the API.
func (j *judge) elsewhere() bool {
	if j.x.Status != http.StatusNotFound && j.x.Status != http.StatusMethodNotAllowed {
		return false
	}
	return !j.said.json && !j.unseen()
}

// reject is a refusal of the request itself.
func (j *judge) reject() {
	words := j.said.words
	if words == "" {
		words = fmt.Sprintf("status %d", j.x.Status)
	}
	j.result = consumer.Result{Verdict: consumer.VerdictRejected, Reason: "the provider refused the conversation: " + words}
}

// give gives a verdict with a reason, completed by the status, the provider's
// words and the transport's.
func (j *judge) give(v consumer.Verdict, why string) {
	var b strings.Builder
	b.WriteString(why)
	if j.x.Status != 0 {
		fmt.Fprintf(&b, " (status %d)", j.x.Status)
	}
	for _, s := range []string{j.said.words, j.x.Censor.Failure(j.x.Err)} {
		if s != "" {
			b.WriteString(": " + s)
		}
	}
	j.result = consumer.Result{Verdict: v, Reason: b.String()}
}

// signal sets what the answer says about the account and the lane.
func (j *judge) signal() {
	status := j.x.Status
	switch {
	case status == http.StatusTooManyRequests:
		j.answer.Full = true
	case status/100 == 3:
		j.answer.Stop = fmt.Sprintf("the provider answered with status %d%s instead of a result: the url of this account is wrong",
			status, j.x.Target(j.x.Censor))
	case len(j.said.ours) == 0 && j.said.other != nil && j.renamed():
		j.answer.Stop = "the provider gave a conversation an id of its own instead of the one that it was sent: " +
			"what is in doubt and sent again would contact somebody twice"
	case j.elsewhere() && !slices.Contains(j.x.Refused, status):
		j.answer.Stop = fmt.Sprintf("the provider answered with status %d and a body that is not JSON (%s): the url of this account is wrong",
			status, j.said.words)
	}
}
