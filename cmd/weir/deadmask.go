package main

import (
	"encoding/json"
	"regexp"

	"github.com/weirhq/weir/schema"
)

// jsonScalar is a string or a number of a JSON text.
var jsonScalar = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|-?[0-9][-+.0-9eE]*`)

// maskedJSON returns a JSON text without personal data, still JSON and in the
// same layout. Each string is masked as what it stands for, however it is
// spelt; then the whole, for what the name of a member says about its value.
func maskedJSON(body []byte) []byte {
	out := jsonScalar.ReplaceAllFunc(body, func(scalar []byte) []byte {
		text := string(scalar)
		if scalar[0] == '"' && json.Unmarshal(scalar, &text) != nil {
			return scalar
		}
		masked := schema.Mask(text)
		if masked == text {
			return scalar
		}
		quoted, _ := json.Marshal(masked) // a string always encodes
		return quoted
	})
	if whole := []byte(schema.Mask(string(out))); json.Valid(whole) {
		return whole
	}
	return out
}

// maskedHeader returns headers without personal data.
func maskedHeader(header map[string][]string) map[string][]string {
	out := make(map[string][]string, len(header))
	for name, values := range header {
		for _, v := range values {
			out[name] = append(out[name], schema.Mask(v))
		}
	}
	return out
}
