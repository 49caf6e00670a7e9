package openapitest

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// operation is one method of one path, ready for use.
type operation struct {
	id, method string
	path       []string // segments; "{name}" stands for a value
	parameters []parameter
	security   []alternative // empty: no credentials are needed
	body       body
	responses  map[string]response
}

// match returns the values of the path's parameters if the path, escaped, is
// this operation's.
func (op *operation) match(path string) (map[string]string, bool) {
	segments := strings.Split(path, "/")
	if len(segments) != len(op.path) {
		return nil, false
	}
	values := map[string]string{}
	for i, want := range op.path {
		got, err := url.PathUnescape(segments[i])
		if err != nil {
			return nil, false
		}
		if name, ok := variable(want); ok {
			values[name] = got
		} else if got != want {
			return nil, false
		}
	}
	return values, true
}

// variable returns the name of the parameter that a segment stands for, if it
// does for one.
func variable(segment string) (string, bool) {
	rest, opened := strings.CutPrefix(segment, "{")
	name, closed := strings.CutSuffix(rest, "}")
	return name, opened && closed
}

// values checks the parameters of a request, wherever they are.
func (op *operation) values(path map[string]string, query url.Values, header http.Header) []error {
	var problems []error
	known := map[string]bool{}
	for _, p := range op.parameters {
		var got []string
		switch p.in {
		case "path":
			got = []string{path[p.name]}
		case "query":
			known[p.name] = true
			got = query[p.name]
		case "header":
			got = header.Values(p.name)
		}
		problems = append(problems, p.check(got)...)
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if !known[name] {
			problems = append(problems, fmt.Errorf("query %s: is not declared", name))
		}
	}
	return problems
}

// credentials checks that one alternative of security is satisfied.
func (op *operation) credentials(h http.Header) []error {
	if len(op.security) == 0 {
		return nil
	}
	names := make([]string, 0, len(op.security))
	for _, a := range op.security {
		if a.met(h) {
			return nil
		}
		names = append(names, a.String())
	}
	return []error{fmt.Errorf("security: the headers have no credentials for %s", strings.Join(names, " or "))}
}

// response returns what is said of a status.
func (op *operation) response(status int) (response, bool) {
	code := strconv.Itoa(status)
	for _, key := range []string{code, code[:1] + "XX", "default"} {
		if r, ok := op.responses[key]; ok {
			return r, true
		}
	}
	return response{}, false
}

// body is what a request may carry.
type body struct {
	content  contents // empty: nothing
	required bool
}

func (b body) check(h http.Header, data []byte) []error {
	switch {
	case len(data) > 0:
		return b.content.check(h, data)
	case b.required:
		return []error{errors.New("body: is missing")}
	}
	return nil
}

// response is what an answer of some status may be.
type response struct {
	content   contents // empty: no body
	bodyless  bool     // the body may be missing
	parameter []parameter
}

func (r response) check(h http.Header, data []byte) []error {
	var problems []error
	for _, p := range r.parameter {
		problems = append(problems, p.check(h.Values(p.name))...)
	}
	switch {
	case len(data) > 0:
		return append(problems, r.content.check(h, data)...)
	case len(r.content) > 0 && !r.bodyless:
		return append(problems, errors.New("body: is missing"))
	}
	return problems
}

// alternative is a set of credentials that are enough together.
type alternative []scheme

// met reports whether a request has them all.
func (a alternative) met(h http.Header) bool {
	return !slices.ContainsFunc(a, func(s scheme) bool { return !s.met(h) })
}

// String names the schemes.
func (a alternative) String() string {
	names := make([]string, 0, len(a))
	for _, s := range a {
		names = append(names, s.name)
	}
	return strings.Join(names, " with ")
}
