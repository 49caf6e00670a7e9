package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of any JSON that is read here.
const (
	maxDepth    = 64   // objects and lists inside each other
	maxNumber   = 128  // bytes of one number's text
	maxExponent = 1000 // of a number; past it lies no quantity, only work for whoever computes with it
)

// parseJSON returns the one JSON value that b holds, at most depth objects and
// lists deep: objects as map[string]any, lists as []any, numbers as
// json.Number. Beyond the grammar it refuses what RFC 8259 leaves to the reader:
// two members of one name, where the last or the first may win and a sender
// could hide the one from a check that acts on the other; bytes that are not
// UTF-8; and what is too deep or too large to compute with. Its errors are for
// a person and quote nothing but masked names.
func parseJSON(b []byte, depth int) (any, error) {
	if !utf8.Valid(b) {
		return nil, errors.New("it is not valid UTF-8 text")
	}
	if v, ok := scanJSON(string(b), depth); ok {
		return v, nil
	}
	return decodeJSON(b, depth)
}

// decodeJSON reads what scanJSON did not take, to tell what is wrong with it. What
// is right it reads as well, so it is what scanJSON is held against.
func decodeJSON(b []byte, depth int) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	v, err := parseValue(dec, depth)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows after its end")
	}
	return v, nil
}

// parseValue reads a value that may still have depth levels.
func parseValue(dec *json.Decoder, depth int) (any, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, syntax(dec, err)
	}
	switch t := token.(type) {
	case json.Delim:
		if depth == 0 {
			return nil, errors.New("it has too many objects and lists inside each other")
		}
		if t == '{' {
			return parseObject(dec, depth-1)
		}
		return parseList(dec, depth-1)
	case json.Number:
		return t, checkNumber(t)
	default:
		return t, nil
	}
}

func parseObject(dec *json.Decoder, depth int) (any, error) {
	object := map[string]any{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, syntax(dec, err)
		}
		name, ok := token.(string)
		if !ok {
			return nil, syntax(dec, errors.New("a name is missing"))
		}
		if _, twice := object[name]; twice {
			return nil, fmt.Errorf("%s is there twice", quote(name))
		}
		if object[name], err = parseValue(dec, depth); err != nil {
			return nil, err
		}
	}
	if _, err := dec.Token(); err != nil { // the closing brace
		return nil, syntax(dec, err)
	}
	return object, nil
}

func parseList(dec *json.Decoder, depth int) (any, error) {
	list := []any{}
	for dec.More() {
		v, err := parseValue(dec, depth)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	if _, err := dec.Token(); err != nil { // the closing bracket
		return nil, syntax(dec, err)
	}
	return list, nil
}

// syntax says where the text stops being JSON. The decoder's own words may
// quote the text.
func syntax(dec *json.Decoder, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it ends too early")
	}
	return fmt.Errorf("it is not JSON from byte %d on", dec.InputOffset()+1)
}

func checkNumber(n json.Number) error {
	text := n.String()
	if len(text) > maxNumber {
		return errors.New("it holds a number of too many digits")
	}
	if _, exponent, ok := strings.Cut(strings.ToLower(text), "e"); ok {
		e, err := strconv.Atoi(exponent)
		if err != nil || max(e, -e) > maxExponent {
			return errors.New("it holds a number that is too large or too small")
		}
	}
	return nil
}

// trimJSON cuts the white space around a JSON text.
func trimJSON(b []byte) []byte { return bytes.Trim(b, " \t\r\n") }

// appendScalar appends the JSON of a string, bool, number or nil.
func appendScalar(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case string:
		return appendText(b, v)
	}
	return appendEncoded(b, v)
}

// appendText is appendScalar of a string.
func appendText(b []byte, s string) []byte {
	if plainText(s) {
		return append(append(append(b, '"'), s...), '"')
	}
	return appendEncoded(b, s)
}

func appendEncoded(b []byte, v any) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("schema: not a scalar: " + err.Error()) // callers pass scalars only
	}
	return append(b, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...)
}

// plainText reports whether JSON writes a text as it is.
func plainText(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7F || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
