// Package openapitest holds HTTP traffic against an OpenAPI document, for tests
// of those who speak an API: clients, and servers that stand in for it.
//
// # Documents
//
// A document is OpenAPI 3.1 in YAML; its schemas are JSON Schema 2020-12. Read
// are info, the first of servers, security, paths with their operations, and
// components. What this package would pass over is refused, so that no line of a
// document is without effect: an unknown key, an unknown keyword of a schema, a
// reference out of the document. References of parameters, headers and schemas
// are followed. So are these checks made, each problem named with its place:
//
//   - every operation has an operationId of its own, a summary and responses, and
//     every response has a description;
//   - every reference resolves and every schema compiles;
//   - the parameters of a path are those that its operations declare;
//   - every example has the form of its schema.
//
// Formats and contentMediaType are asserted; contentSchema is refused. In schemas
// keys that begin with "x-" are free; elsewhere there are two:
//
//   - x-body-optional on a response: its body may be empty;
//   - x-token-pattern on a bearer scheme: what the token looks like.
//
// # Traffic
//
// [API.Request] and [API.Answer] return every violation at once, joined, each with
// its place, such as "body/conversations/0: missing property 'agentId'". A request
// may have no query parameter that its operation does not declare, and no body
// that it does not declare; credentials must satisfy one alternative of security.
// An answer must have a status that its operation lists ("200" before "2XX"
// before "default") and a media type listed for it; JSON is read and held against
// the schema, other types are not looked into. Headers that are not declared are
// free.
//
// [API.Handler] does both for all that passes through a server.
package openapitest

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// API is a document that traffic is held against. It is safe for concurrent use.
type API struct {
	base       string // of every path, without a slash at the end
	operations []*operation

	anyRequest bool
	exempt     *http.ServeMux // nil: nothing is
}

// Load reads a document. What is wrong with it ends the test.
func Load(t testing.TB, path string) *API {
	t.Helper()
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("load document: %v", err)
	}
	a, err := Parse(source)
	if err != nil {
		t.Fatalf("load %s:\n%v", filepath.Base(path), err)
	}
	return a
}

// At returns an API whose paths begin with another base path than that of the
// document's first server.
func (a *API) At(base string) *API {
	c := *a
	c.base = strings.TrimRight(base, "/")
	return &c
}

// AnswersOnly returns an API whose Handler lets requests pass that break the
// document, for servers that are sent such requests on purpose. Unknown
// operations are violations still.
func (a *API) AnswersOnly() *API {
	c := *a
	c.anyRequest = true
	return &c
}

// Except returns an API whose Handler does not look at requests that match one of
// the patterns, which are those of [http.ServeMux], and nothing else is exempt.
func (a *API) Except(patterns ...string) *API {
	c := *a
	c.exempt = http.NewServeMux()
	for _, p := range patterns {
		c.exempt.Handle(p, http.NotFoundHandler())
	}
	return &c
}

// Request returns what is wrong with a request, nil if nothing is. The path is
// escaped as in a URL.
func (a *API) Request(method, path string, query url.Values, header http.Header, body []byte) error {
	op, values, err := a.find(method, path)
	if err != nil {
		return err
	}
	problems := op.credentials(header)
	problems = append(problems, op.values(values, query, header)...)
	problems = append(problems, op.body.check(header, body)...)
	return op.wrap("request", problems)
}

// Answer returns what is wrong with the complete answer to a request, nil if
// nothing is.
func (a *API) Answer(method, path string, status int, header http.Header, body []byte) error {
	op, _, err := a.find(method, path)
	if err != nil {
		return err
	}
	r, ok := op.response(status)
	if !ok {
		return op.wrap("answer", []error{fmt.Errorf("status %d: is not listed", status)})
	}
	return op.wrap(fmt.Sprintf("answer %d", status), r.check(header, body))
}

// find returns the operation of a request, with the values of its path's
// parameters.
func (a *API) find(method, path string) (*operation, map[string]string, error) {
	rest, ok := strings.CutPrefix(path, a.base)
	if !ok || !strings.HasPrefix(rest, "/") {
		return nil, nil, fmt.Errorf("%s %s: the path does not begin with %s/", method, path, a.base)
	}
	known := false
	for _, op := range a.operations {
		values, ok := op.match(rest)
		if ok && op.method == method {
			return op, values, nil
		}
		known = known || ok
	}
	if known {
		return nil, nil, fmt.Errorf("%s %s: unknown method", method, path)
	}
	return nil, nil, fmt.Errorf("%s %s: unknown path", method, path)
}

// wrap joins problems, each with the name of the operation and what it is about.
func (op *operation) wrap(what string, problems []error) error {
	errs := make([]error, 0, len(problems))
	for _, p := range problems {
		errs = append(errs, fmt.Errorf("%s: %s: %w", op.id, what, p))
	}
	return errors.Join(errs...)
}
