package oration

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/consumer/wire"
)

// Exchange is one create request and what came back: all that [Classify]
// judges by.
type Exchange struct {
	Items    []consumer.Item
	Free     int // consumer.Batch.Free
	FullWhen []*regexp.Regexp
	Refused  []int // statuses of which the operator vouches that nothing was created

	wire.Exchange
	Censor wire.Censor // of the secrets that were sent
}

// Notes are what an answer holds besides verdicts.
type Notes struct {
	// Stray are the conversations in results that are no item's: an empty text
	// for each that has no id.
	Stray []string
}

// Classify says what an exchange means for each of its items. It is pure.
func Classify(x Exchange) (consumer.Answer, Notes) {
	j := judge{x: x, said: reading{own: x.Censor}, verdicts: make([]consumer.Result, len(x.Items))}
	if x.Status != 0 {
		j.said = read(x)
	}
	j.answer = consumer.Answer{Status: x.Status, Header: x.Header}
	j.results()
	if j.others(); len(j.open) > 0 {
		j.decide()
	}
	j.signal()
	j.answer.Results = j.verdicts
	return j.answer, j.notes
}

// judge is one classification under way.
type judge struct {
	x        Exchange
	said     reading
	answer   consumer.Answer
	verdicts []consumer.Result
	notes    Notes
	open     []int // items without a verdict
}

// results gives each item that the body names its verdict, whatever the status.
func (j *judge) results() {
	of := match(j.x.Items, j.said.results, len(j.said.errors) == 0)
	for i, r := range j.said.results {
		switch {
		case of[i] == again:
		case of[i] == nobody:
			j.notes.Stray = append(j.notes.Stray, r.id)
		case r.id == "":
			j.verdicts[of[i]] = consumer.Result{
				Verdict: consumer.VerdictDoubt,
				Reason:  "the provider's answer names the conversation without an id",
			}
		default:
			j.verdicts[of[i]] = consumer.Result{Verdict: consumer.VerdictCreated, Conversation: r.id, Status: r.status}
		}
	}
}

// others lists the items that still have no verdict.
func (j *judge) others() {
	j.open = nil
	for i, v := range j.verdicts {
		if v.Verdict == 0 {
			j.open = append(j.open, i)
		}
	}
}

// decide gives the open items their verdict: in doubt as far as the body leaves
// it open whether they were created, else by the status.
func (j *judge) decide() {
	switch {
	case !j.x.Written:
		j.all(consumer.VerdictUnsent, "the request was not sent")
	case j.x.Status == 0:
		j.all(consumer.VerdictDoubt, "the request was sent and its answer is lost")
	case len(j.notes.Stray) > 0 || j.said.other || j.said.torn || len(j.said.results) > 0 && !j.said.whole:
		j.all(consumer.VerdictDoubt, "the answer names, or may name, conversations that cannot be told apart")
	default:
		if j.unmentioned(); len(j.open) > 0 {
			j.byStatus()
		}
	}
}

// unmentioned puts the items in doubt that neither a result nor an error
// accounts for, if the answer lists what became of each: any 2xx does, whatever
// has results does, and a 429 that has errors beside an empty list of results.
// A 429 that lists neither says nothing of any item but that the lane is full.
func (j *judge) unmentioned() {
	status := j.x.Status
	if status/100 != 2 && len(j.said.results) == 0 && !(status == http.StatusTooManyRequests && j.said.listed && len(j.said.errors) > 0) {
		return
	}
	own, rest := j.attributed()
	left := slices.DeleteFunc(slices.Clone(j.open), func(i int) bool { return len(own[i]) > 0 })
	if len(rest) >= len(left) || !j.said.whole {
		return
	}
	j.open = left
	j.all(consumer.VerdictDoubt, fmt.Sprintf("the answer has %d errors for %d items", len(rest), len(left)))
	j.others()
}

// byStatus gives the open items their verdict by the status.
func (j *judge) byStatus() {
	status := j.x.Status
	switch {
	case slices.Contains(j.x.Refused, status):
		j.all(consumer.VerdictUnsent, "the provider refused the request")
	case (status == http.StatusUnauthorized || status == http.StatusForbidden) && !j.unseen():
		j.all(consumer.VerdictUnauthorized, "the provider refused the credentials")
	case wire.Redirect(status) && len(j.said.results) == 0 || j.foreign():
		j.all(consumer.VerdictUnsent, "the request did not reach the API")
	case status == http.StatusTooManyRequests && j.said.whole:
		j.full()
	case j.said.whole && status/100 == 2 && j.said.object:
		j.partial()
	case j.said.whole && status/100 == 4 && !wire.Ambiguous(status):
		j.refusal()
	default:
		j.all(consumer.VerdictDoubt, "the answer does not tell whether the conversation was made")
	}
}

// unseen reports whether results may stand in what could not be read.
func (j *judge) unseen() bool {
	return !j.said.whole && (j.said.json || j.said.empty || j.said.coded)
}

// foreign reports whether the answer is that of some web server that does not
// know the path, and not of the API.
func (j *judge) foreign() bool {
	if j.x.Status != http.StatusNotFound && j.x.Status != http.StatusMethodNotAllowed {
		return false
	}
	return !j.said.json && !j.unseen()
}

// all gives the open items one verdict.
func (j *judge) all(v consumer.Verdict, why string) {
	for _, i := range j.open {
		j.verdicts[i] = consumer.Result{Verdict: v, Reason: j.because(why)}
	}
}

// because completes a reason by the status, the provider's words and the
// transport's.
func (j *judge) because(why string) string {
	var b strings.Builder
	b.WriteString(why)
	if j.x.Status != 0 {
		fmt.Fprintf(&b, " (status %d)", j.x.Status)
	}
	if s := j.words(); s != "" {
		b.WriteString(": " + s)
	}
	if s := j.said.own.Failure(j.x.Err); s != "" {
		b.WriteString(": " + s)
	}
	return b.String()
}

// words returns what the provider says of the request, or of all its errors.
func (j *judge) words() string {
	if j.said.message != "" {
		return j.said.message
	}
	return joined(j.said.errors)
}

// joined returns the texts of errors, each once, as far as they are kept.
func joined(errs []itemError) string {
	var texts []string
	size := 0
	for _, e := range errs {
		if size > wire.MaxWords {
			break
		}
		if e.text != "" && !slices.Contains(texts, e.text) {
			texts = append(texts, e.text)
			size += len(e.text)
		}
	}
	return wire.Bounded(strings.Join(texts, "; "), wire.MaxWords)
}

// full is a 429: no slot, for anybody. An item's own error beside it, if it does
// not speak of fullness, is remembered, lest a bad item waits for ever.
func (j *judge) full() {
	j.all(consumer.VerdictFull, "the provider has no free slot")
	if len(j.open) == 1 && len(j.said.errors) == 1 && !j.means(j.said.errors[0].text) {
		j.verdicts[j.open[0]].ItemError = true
	}
}

// partial is a 2xx: its errors are those of the items that have no result, and
// no fewer.
func (j *judge) partial() {
	rest := j.named()
	n, errs := len(j.open), len(rest)
	switch {
	case n == 0:
	case n == 1 && (errs == 1 || errs > 1 && len(j.x.Items) == 1):
		j.own(j.open[0], joined(rest), j.fullness(rest))
	default:
		j.alone(rest)
	}
}

// refusal is a 4xx that speaks of this request. Nobody is judged in a group, but
// whom an error names, and the one that results leave for one error: a whole
// request may be refused for the sake of one item.
func (j *judge) refusal() {
	rest := j.named()
	certain := len(j.said.results) > 0 && len(j.open) == 1 && len(rest) == 1
	switch {
	case len(j.open) == 0:
	case len(j.x.Items) > 1 && !certain:
		j.alone(rest)
	case len(rest) > 0:
		j.own(j.open[0], joined(rest), j.fullness(rest))
	default:
		text := j.said.message
		if text == "" {
			text = fmt.Sprintf("status %d", j.x.Status)
		}
		j.own(j.open[0], text, j.means(text))
	}
}

// named judges the items that an error names, and returns the errors that name
// nothing.
func (j *judge) named() []itemError {
	own, rest := j.attributed()
	for i, errs := range own {
		j.own(i, joined(errs), j.fullness(errs))
	}
	j.others()
	return rest
}

// attributed returns the errors by the open item that they name, and those that
// name nothing. An error that names somebody else is nobody's here: to give it
// to the item that happens to be left would reject an innocent one.
func (j *judge) attributed() (own map[int][]itemError, rest []itemError) {
	own = make(map[int][]itemError)
	for _, e := range j.said.errors {
		i := e.item(j.x.Items)
		switch {
		case i != nobody && slices.Contains(j.open, i):
			own[i] = append(own[i], e)
		case i == nobody && e.intent == "" && (e.number == "" || len(j.x.Items) == 1):
			rest = append(rest, e)
		}
	}
	return own, rest
}

// own judges one item by words that are certainly about it.
func (j *judge) own(i int, text string, full bool) {
	if !full {
		j.verdicts[i] = consumer.Result{
			Verdict: consumer.VerdictRejected,
			Reason:  "the provider refused the conversation: " + text,
		}
		return
	}
	j.answer.Full = true
	j.verdicts[i] = consumer.Result{
		Verdict:   consumer.VerdictFull,
		Reason:    "the provider has no free slot: " + text,
		ItemError: !j.surplus() || !j.means(text),
	}
}

// surplus reports whether the request was one of several items, more than were
// known to fit: some were to be refused, and words that say so are about the lane.
func (j *judge) surplus() bool {
	return len(j.x.Items) > 1 && len(j.x.Items) > j.x.Free
}

// alone lets each open item wait, to go by itself next time.
func (j *judge) alone(rest []itemError) {
	if j.surplus() && len(rest) >= len(j.open) && !slices.ContainsFunc(rest, func(e itemError) bool { return !j.means(e.text) }) {
		j.all(consumer.VerdictFull, "the provider has no free slot")
		j.answer.Full = true
		return
	}
	j.all(consumer.VerdictFull, "the provider refused a group and does not say that this conversation is why")
	for _, i := range j.open {
		j.verdicts[i].Alone = true
	}
	if j.fullness(rest) || j.means(j.said.message) {
		j.answer.Full = true
	}
}

// fullness reports whether item errors mean that no slot is free: one says so,
// or the request asked for more than was known to be free.
func (j *judge) fullness(errs []itemError) bool {
	return len(errs) > 0 && len(j.x.Items) > j.x.Free ||
		slices.ContainsFunc(errs, func(e itemError) bool { return j.means(e.text) })
}

// means reports whether the words mean that no slot is free.
func (j *judge) means(text string) bool {
	return slices.ContainsFunc(j.x.FullWhen, func(re *regexp.Regexp) bool { return re.MatchString(text) })
}

// signal sets what the answer says about the account and the lane.
func (j *judge) signal() {
	switch {
	case j.x.Status == http.StatusTooManyRequests:
		j.answer.Full = true
	case j.x.Status/100 == 3:
		j.answer.Stop = fmt.Sprintf("the provider answered with status %d%s instead of a result: the url of this account is wrong",
			j.x.Status, j.x.Target(j.x.Censor))
	case j.foreign() && len(j.said.results) == 0 && !slices.Contains(j.x.Refused, j.x.Status):
		j.answer.Stop = fmt.Sprintf("the provider answered with status %d and a body that is not JSON (%s): the url of this account is wrong",
			j.x.Status, j.said.message)
	}
}
