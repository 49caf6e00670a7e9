package providertest

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/consumer"
)

// The verdicts, in short.
const (
	created      = consumer.VerdictCreated
	full         = consumer.VerdictFull
	unsent       = consumer.VerdictUnsent
	rejected     = consumer.VerdictRejected
	unauthorized = consumer.VerdictUnauthorized
	doubt        = consumer.VerdictDoubt
)

// page is the answer of a web server that is not the API.
const page = "<html><head><title>Not here</title></head></html>"

// vouched is the status of which the operator vouches in these tests.
const vouched = 503

func (h Harness) testVerdict(t *testing.T) {
	t.Run("status", h.verdictStatus)
	t.Run("H1 named under any status", h.verdictNamed)
	t.Run("2xx that names nothing", h.verdictNothing)
	t.Run("vouched for", h.verdictVouched)
	t.Run("wrong url", h.verdictWrongURL)
}

// verdictStatus: what a status means for items that the body does not name.
func (h Harness) verdictStatus(t *testing.T) {
	t.Parallel()
	said := h.Error("odd words")
	type row struct {
		bodies   []string
		statuses []int
		want     consumer.Verdict
		single   bool // says nothing of an item in a group
	}
	for _, tt := range []row{
		{[]string{said, "", page}, []int{401, 403}, unauthorized, false},
		{[]string{said, "", page}, []int{429}, full, false},
		{[]string{said, "", page}, []int{408, 425, 499, 500, 501, 502, 503, 504, 520, 599, 600, 999}, doubt, false},
		{[]string{said}, []int{400, 404, 405, 422}, rejected, true},
		{[]string{"", page}, []int{400, 422}, rejected, true},
	} {
		for _, status := range tt.statuses {
			t.Run(fmt.Sprint(status), func(t *testing.T) {
				t.Parallel()
				for _, body := range tt.bodies {
					x := h.answers(t, nil, func(p *peer) { p.answer(status, body) })
					for _, n := range h.sizes() {
						if n > 1 && tt.single {
							continue
						}
						a := x.create(t.Context(), t, x.batch(t, n))
						expect(t, a, tt.want)
						x.told(t, a, status, tt.want == full)
					}
				}
			})
		}
	}
}

// told checks what an answer says besides its verdicts.
func (x *subject) told(t *testing.T, a consumer.Answer, status int, isFull bool) {
	t.Helper()
	if a.Status != status || a.Header["X-Ratelimit-Remaining"] == nil {
		t.Errorf("got status %d and header %v, want %d and the limit", a.Status, a.Header, status)
	}
	if a.Full != isFull || a.Stop != "" {
		t.Errorf("status %d: got full %v and Stop %q, want %v and none", status, a.Full, a.Stop, isFull)
	}
}

// verdictNamed: an item that the body names a conversation for is created,
// whatever the status (H1).
func (h Harness) verdictNamed(t *testing.T) {
	t.Parallel()
	for _, status := range []int{200, 201, 202, 207, 299, 302, 400, 401, 404, 409, 422, 429, 500, vouched} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			x := h.answers(t, nil, func(p *peer) { p.answer(status, p.created()) }, vouch)
			for _, n := range h.sizes() {
				expect(t, x.create(t.Context(), t, x.batch(t, n)), created)
			}
		})
	}
	t.Run("until the connection's end", func(t *testing.T) {
		t.Parallel()
		x := h.subject(t, nil, func(p *peer) { p.next(); p.write(head(200, "Connection: close") + p.created()) })
		expect(t, x.create(t.Context(), t, x.batch(t, h.several())), created)
	})
	t.Run("in chunks", func(t *testing.T) {
		t.Parallel()
		x := h.answers(t, nil, func(p *peer) {
			body := p.created()
			p.write(head(200, "Transfer-Encoding: chunked") + chunk(body[:9]) + chunk(body[9:]) + "0\r\n\r\n")
		})
		expect(t, x.create(t.Context(), t, x.batch(t, h.several())), created)
	})
	t.Run("after interim answers", func(t *testing.T) {
		t.Parallel()
		x := h.answers(t, nil, func(p *peer) { p.write("HTTP/1.1 103 Hints\r\n\r\n"); creates(p) })
		expect(t, x.create(t.Context(), t, x.batch(t, h.several())), created)
	})
}

// vouch has the operator vouch for a status.
func vouch(cfg *Config) { cfg.RefusedStatuses = []int{vouched} }

// verdictNothing: a 2xx that is whole and names nothing. A provider that takes
// our id made a conversation under it; of others it is not known.
func (h Harness) verdictNothing(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "{}", "null", "[]", `"OK"`, `{"status":"ok"}`} {
		x := h.answers(t, nil, func(p *peer) { p.answer(202, body) })
		a := x.create(t.Context(), t, x.batch(t, h.several()))
		if h.TakesID {
			expect(t, a, created, doubt)
		} else {
			expect(t, a, doubt)
		}
	}
}

// verdictVouched: refused_statuses.
func (h Harness) verdictVouched(t *testing.T) {
	t.Parallel()
	for _, body := range []string{h.Error("down"), "", page} {
		x := h.answers(t, nil, func(p *peer) { p.answer(vouched, body) }, vouch)
		a := x.create(t.Context(), t, x.batch(t, h.several()))
		expect(t, a, unsent)
		x.told(t, a, vouched, false)
	}
}

// verdictWrongURL: what does not come from the API stops the lane (H23).
func (h Harness) verdictWrongURL(t *testing.T) {
	t.Parallel()
	type row struct {
		status int
		body   string
		want   []consumer.Verdict
	}
	rows := []row{{404, page, []consumer.Verdict{unsent}}, {405, page, []consumer.Verdict{unsent}}, {404, "no such page", []consumer.Verdict{unsent}}}
	for _, status := range []int{301, 302, 303, 307, 308} {
		rows = append(rows, row{status, "", []consumer.Verdict{unsent}}, row{status, page, []consumer.Verdict{unsent}})
	}
	// No redirects: nothing says that they came in place of doing anything.
	for _, status := range []int{300, 304, 305, 399} {
		rows = append(rows, row{status, "", []consumer.Verdict{unsent, doubt}})
	}
	for _, tt := range rows {
		t.Run(fmt.Sprint(tt.status), func(t *testing.T) {
			t.Parallel()
			for _, location := range []string{"/elsewhere", "http://["} {
				x := h.subject(t, nil, func(p *peer) {
					p.next()
					p.answer(tt.status, tt.body, "Connection: close", "Location: "+location)
				})
				a := x.create(t.Context(), t, x.batch(t, h.several()))
				expect(t, a, tt.want...)
				if a.Stop == "" || a.Full {
					t.Errorf("got Stop %q and full %v, want words and false", a.Stop, a.Full)
				}
				if tt.status/100 == 3 && location == "/elsewhere" && !strings.Contains(a.Stop, location) {
					t.Errorf("got Stop %q, want the target in it", a.Stop)
				}
			}
		})
	}
}

// testGroup: several items in one create.
func (h Harness) testGroup(t *testing.T) {
	n := h.several()
	if n == 1 {
		return // a group is refused: see permit
	}
	t.Run("in any order", func(t *testing.T) {
		t.Parallel()
		x := h.answers(t, nil, func(p *peer) {
			made := p.made()
			slices.Reverse(made)
			p.answer(200, h.Created(made))
		})
		expect(t, x.create(t.Context(), t, x.batch(t, n)), created)
	})
	for _, tt := range []struct {
		status int
		others []consumer.Verdict // of the items that the answer does not name
	}{
		{200, []consumer.Verdict{doubt}}, {202, []consumer.Verdict{doubt}}, {500, []consumer.Verdict{doubt}},
		{429, []consumer.Verdict{doubt, full}}, {422, []consumer.Verdict{doubt, full}},
	} {
		t.Run(fmt.Sprintf("H1 some named under %d", tt.status), func(t *testing.T) {
			t.Parallel()
			for k := range n {
				x := h.answers(t, nil, func(p *peer) { p.answer(tt.status, h.Created(p.made()[k:k+1])) })
				a := x.create(t.Context(), t, x.batch(t, n))
				for i := range a.Results {
					one := consumer.Answer{Results: a.Results[i : i+1], Status: a.Status}
					if i == k {
						expect(t, one, created)
					} else {
						expect(t, one, tt.others...)
					}
				}
			}
		})
	}
	t.Run("an error of the group rejects nobody", func(t *testing.T) {
		t.Parallel()
		for _, status := range []int{400, 404, 422} {
			x := h.answers(t, nil, func(p *peer) { p.answer(status, h.Error("one number is odd")) })
			expect(t, x.create(t.Context(), t, x.batch(t, n)), full, doubt)
		}
	})
}

// testWords: what the provider says reaches a person, masked and bounded, and
// without the credentials.
func (h Harness) testWords(t *testing.T) {
	t.Run("shown", func(t *testing.T) {
		t.Parallel()
		x := h.answers(t, nil, func(p *peer) {
			p.answer(422, h.Error("agent zebra is asleep; ask +14155550177 or ann.lee@example.com\r\nnow"))
		})
		r := x.create(t.Context(), t, x.batch(t, 1)).Results[0]
		if !strings.Contains(r.Reason, "agent zebra is asleep") {
			t.Errorf("got the reason %q, want the provider's words in it", r.Reason)
		}
		for _, s := range []string{"5550177", "ann.lee", "\n", "\r"} {
			if strings.Contains(r.Reason, s) {
				t.Errorf("%q is in the reason %q", s, r.Reason)
			}
		}
	})
	t.Run("bounded", func(t *testing.T) {
		t.Parallel()
		for _, status := range []int{401, 404, 422, 429, 500} {
			x := h.answers(t, nil, func(p *peer) { p.answer(status, h.Error(strings.Repeat("odd words ", 5000))) })
			x.create(t.Context(), t, x.batch(t, 1))
		}
	})
	for _, status := range []int{200, 302, 401, 404, 422, 429, 500} {
		t.Run(fmt.Sprintf("no secrets under %d", status), func(t *testing.T) {
			t.Parallel()
			next := make(chan string, 1)
			x := h.answers(t, nil, func(p *peer) {
				p.answer(status, <-next, "Location: /"+strings.Join(h.Secrets, ""))
			})
			for _, body := range h.repeating(status == 422) {
				next <- body
				x.create(t.Context(), t, x.batch(t, 1))
			}
		})
	}
	t.Run("no secrets without HTTP", func(t *testing.T) {
		t.Parallel()
		x := h.subject(t, nil, func(p *peer) { p.next(); p.write(strings.Join(h.Secrets, " ") + "\r\n\r\n") })
		x.create(t.Context(), t, x.batch(t, 1))
	})
}

// repeating are bodies in which a provider repeats what it was sent; with cuts
// also where a bound would go through it.
func (h Harness) repeating(cuts bool) []string {
	var out []string
	for _, s := range h.Secrets {
		words := "the key " + s + " is wrong"
		out = append(out, h.Error(words), words, "<html><title>"+words+"</title>", `{"odd":{"deep":["`+strings.ReplaceAll(s, `"`, `\"`)+`"]}}`)
		if !cuts {
			continue
		}
		for _, n := range []int{250, 280, 290, 295, 1010, 1020, 4080, 16<<10 - 20, 16<<10 - 8} {
			out = append(out, h.Error(strings.Repeat("o", n)+" "+s), h.Error(strings.Repeat(" ", n)+s))
		}
	}
	return out
}

// gzipped compresses a text.
func gzipped(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(s)) // into memory: cannot fail
	_ = w.Close()
	return b.String()
}
