package config

import (
	"errors"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/weirhq/weir/schema"
)

// mostTokens are valid at one time: the old one and the new one.
const mostTokens = 2

// Token is what somebody shows to be let in: {env: NAME}, or {file: PATH} of a
// file with one token, or, while they are changed, with two, a line each. The
// zero Token lets nobody in.
type Token struct {
	Values []schema.Secret // when the configuration was read
	File   string          // empty: they never change
}

// Read returns what is valid now: a file is read again. Its error says what is
// wrong with the file without a word of what is in it.
func (t Token) Read() ([]schema.Secret, error) {
	if t.File == "" {
		return t.Values, nil
	}
	text, problem := readSecret(t.File)
	if problem != "" {
		return nil, errors.New(problem)
	}
	values, problem := tokensOf(text)
	if problem != "" {
		return nil, errors.New(problem)
	}
	return values, nil
}

// token looks up a Token.
func (d *decoder) token(path string, n *yaml.Node, v reflect.Value) {
	key, name, ok := d.reference(path, n)
	if !ok {
		return
	}
	var t Token
	var text, problem string
	if key == "file" {
		t.File = d.resolve(name)
		text, problem = readSecret(t.File)
	} else {
		text, problem = d.fromEnv(name)
	}
	if problem == "" {
		t.Values, problem = tokensOf(text)
	}
	if problem != "" {
		d.add(path, "%s", problem)
		return
	}
	v.Set(reflect.ValueOf(t))
}

// tokensOf reads tokens, one a line.
func tokensOf(text string) (values []schema.Secret, problem string) {
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		if len(values) == mostTokens {
			return nil, "the value found there has more than two lines: one token a line, at most two"
		}
		if n := len(line); n < leastSecret || n > mostSecret {
			return nil, tooShort
		}
		if strings.ContainsFunc(line, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			return nil, "the value found there has a blank, or what is no ASCII, in it"
		}
		values = append(values, schema.Secret(line))
	}
	if len(values) == 0 {
		return nil, "the file that is named here is empty"
	}
	return values, ""
}
