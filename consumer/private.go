package consumer

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A provider's words may repeat what it was asked for. Numbers and addresses have a
// form, and are masked by its client (see wire.Censor); a name has none, but stands in
// the event. So the texts of an event's data whose member's name says that they are a
// person's are taken out of what is said of the request, before it is written down,
// told or shown.

// personal are parts of the names of such members.
var personal = []string{"name", "mail", "phone", "mobile", "tel", "address", "street", "contact"}

// leastPrivate is the length from which a text is looked for, in characters: shorter
// ones are part of any sentence.
const leastPrivate = 3

// mostPrivate bounds the texts of one event that are looked for.
const mostPrivate = 64

// discreet returns an answer whose words do not repeat the events' own.
func discreet(group []*candidate, a Answer) Answer {
	said := a.Stop != ""
	for _, r := range a.Results {
		said = said || r.Verdict != VerdictCreated && r.Reason != ""
	}
	if !said {
		return a
	}
	var texts []string
	for _, c := range group {
		texts = append(texts, privateTexts(c.ev.Data())...)
	}
	slices.SortFunc(texts, func(a, b string) int { return len(b) - len(a) }) // one may hold another
	a.Stop = hide(a.Stop, texts)
	a.Results = slices.Clone(a.Results)
	for i := range a.Results {
		a.Results[i].Reason = hide(a.Results[i].Reason, texts)
	}
	return a
}

// privateTexts are the texts of an event's data that are a person's, and the words of
// those that have several.
func privateTexts(data []byte) (texts []string) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return nil
	}
	var gather func(v any, private bool)
	gather = func(v any, private bool) {
		switch v := v.(type) {
		case map[string]any:
			for name, member := range v {
				low := strings.ToLower(name)
				gather(member, private || slices.ContainsFunc(personal, func(part string) bool { return strings.Contains(low, part) }))
			}
		case []any:
			for _, member := range v {
				gather(member, private)
			}
		case string:
			if !private {
				return
			}
			for _, text := range append([]string{strings.TrimSpace(v)}, strings.Fields(v)...) {
				if utf8.RuneCountInString(text) >= leastPrivate && len(texts) < mostPrivate {
					texts = append(texts, text)
				}
			}
		}
	}
	gather(v, false)
	return texts
}

// hide takes each of the texts out of what was said, where it stands as a word.
func hide(said string, texts []string) string {
	for _, text := range texts {
		said = hideWord(said, text)
	}
	return said
}

func hideWord(said, word string) string {
	var b strings.Builder
	for {
		at := index(said, word)
		if at < 0 {
			b.WriteString(said)
			return b.String()
		}
		end := at + len(word)
		before, _ := utf8.DecodeLastRuneInString(said[:at])
		after, _ := utf8.DecodeRuneInString(said[end:])
		if ofWord(before) || ofWord(after) {
			b.WriteString(said[:end]) // part of another word
		} else {
			b.WriteString(said[:at] + "…")
		}
		said = said[end:]
	}
}

// index is where word stands in said, whatever the case of its ASCII letters.
func index(said, word string) int {
	for i := 0; i+len(word) <= len(said); i++ {
		if strings.EqualFold(said[i:i+len(word)], word) {
			return i
		}
	}
	return -1
}

func ofWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
