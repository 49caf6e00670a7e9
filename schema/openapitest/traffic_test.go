package openapitest_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/weirhq/weir/schema/openapitest"
)

// sent is a request and what must be wrong with it. An empty want means nothing.
type sent struct {
	name   string
	method string
	path   string // with its query
	header http.Header
	body   string
	want   string // a part of the error
}

// answered is an answer and what must be wrong with it.
type answered struct {
	name   string
	method string
	path   string
	status int
	header http.Header
	body   string
	want   string
}

func checkRequests(t *testing.T, a *openapitest.API, tests []sent) {
	t.Helper()
	for _, tt := range tests {
		t.Run("request "+tt.name, func(t *testing.T) {
			t.Parallel()
			u, err := url.ParseRequestURI(tt.path)
			if err != nil {
				t.Fatalf("parse path: %v", err)
			}
			expect(t, a.Request(tt.method, u.EscapedPath(), u.Query(), tt.header, []byte(tt.body)), tt.want)
		})
	}
}

func checkAnswers(t *testing.T, a *openapitest.API, tests []answered) {
	t.Helper()
	for _, tt := range tests {
		t.Run(fmt.Sprintf("answer %d %s", tt.status, tt.name), func(t *testing.T) {
			t.Parallel()
			expect(t, a.Answer(tt.method, tt.path, tt.status, tt.header, []byte(tt.body)), tt.want)
		})
	}
}

// expect checks that an error says what it must, and nothing besides: one rule is
// broken at a time.
func expect(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("got error %q, want none", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("got error %v, want one that contains %q", err, want)
	case want != "" && strings.Contains(err.Error(), "\n"):
		t.Errorf("got more than one problem: %v", err)
	}
}

// headers returns headers of pairs of names and values.
func headers(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

var asJSON = headers("Content-Type", "application/json; charset=utf-8")
