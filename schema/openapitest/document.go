package openapitest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// document is the form of a file, as far as it is used. Keys that it does not
// name are refused.
type document struct {
	OpenAPI    string                           `yaml:"openapi"`
	Info       infoNode                         `yaml:"info"`
	Servers    []serverNode                     `yaml:"servers"`
	Security   []map[string][]string            `yaml:"security"`
	Paths      map[string]map[string]*operating `yaml:"paths"`
	Components components                       `yaml:"components"`
}

type infoNode struct {
	Title       string `yaml:"title"`
	Version     string `yaml:"version"`
	Description string `yaml:"description"`
}

type serverNode struct {
	URL         string `yaml:"url"`
	Description string `yaml:"description"`
}

type operating struct {
	ID          string                  `yaml:"operationId"`
	Summary     string                  `yaml:"summary"`
	Description string                  `yaml:"description"`
	Deprecated  bool                    `yaml:"deprecated"`
	Security    []map[string][]string   `yaml:"security"`
	Parameters  []parameterNode         `yaml:"parameters"`
	Body        *bodyNode               `yaml:"requestBody"`
	Responses   map[string]responseNode `yaml:"responses"`
}

// parameterNode is a parameter, or a header, which has no name and no place.
type parameterNode struct {
	Ref         string               `yaml:"$ref"`
	Name        string               `yaml:"name"`
	In          string               `yaml:"in"`
	Description string               `yaml:"description"`
	Required    bool                 `yaml:"required"`
	Deprecated  bool                 `yaml:"deprecated"`
	Schema      any                  `yaml:"schema"`
	Content     map[string]mediaNode `yaml:"content"`
}

type bodyNode struct {
	Description string               `yaml:"description"`
	Required    bool                 `yaml:"required"`
	Content     map[string]mediaNode `yaml:"content"`
}

type responseNode struct {
	Description string                   `yaml:"description"`
	Headers     map[string]parameterNode `yaml:"headers"`
	Content     map[string]mediaNode     `yaml:"content"`
	Bodyless    bool                     `yaml:"x-body-optional"`
}

type mediaNode struct {
	Schema   any                    `yaml:"schema"`
	Examples map[string]exampleNode `yaml:"examples"`
}

type exampleNode struct {
	Summary     string `yaml:"summary"`
	Description string `yaml:"description"`
	Value       any    `yaml:"value"`
}

type components struct {
	Schemas    map[string]any           `yaml:"schemas"`
	Parameters map[string]parameterNode `yaml:"parameters"`
	Headers    map[string]parameterNode `yaml:"headers"`
	Security   map[string]schemeNode    `yaml:"securitySchemes"`
}

type schemeNode struct {
	Type         string `yaml:"type"`
	Scheme       string `yaml:"scheme"`
	BearerFormat string `yaml:"bearerFormat"`
	In           string `yaml:"in"`
	Name         string `yaml:"name"`
	Description  string `yaml:"description"`
	TokenPattern string `yaml:"x-token-pattern"`
}

// read returns the document in its form and as JSON.
func read(source []byte) (document, any, error) {
	var doc document
	dec := yaml.NewDecoder(bytes.NewReader(source))
	dec.KnownFields(true)
	if err := dec.Decode(&doc); err != nil {
		return doc, nil, err
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return doc, nil, errors.New("there is more than one document")
	}
	var tree any
	if err := yaml.Unmarshal(source, &tree); err != nil {
		return doc, nil, err
	}
	root, err := toJSON(tree)
	return doc, root, err
}

// toJSON returns a value of YAML as the JSON library of schemas has it.
func toJSON(v any) (any, error) {
	if err := errors.Join(textKeys("#", v)...); err != nil {
		return nil, err
	}
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(data))
}

// textKeys returns a problem for each key that is no text, such as a status
// without quotes, which JSON cannot have.
func textKeys(place string, v any) []error {
	var problems []error
	switch v := v.(type) {
	case map[any]any:
		for key := range v {
			if _, ok := key.(string); !ok {
				problems = append(problems, fmt.Errorf("%s: the key %v is no text; quote it", place, key))
			}
		}
	case map[string]any:
		for _, key := range sorted(v) {
			problems = append(problems, textKeys(place+pointer(key), v[key])...)
		}
	case []any:
		for i, e := range v {
			problems = append(problems, textKeys(fmt.Sprintf("%s/%d", place, i), e)...)
		}
	}
	return problems
}

// local returns the name in a reference to a component of a kind; of another
// reference, what names none.
func local(ref, kind string) string {
	return strings.TrimPrefix(ref, "#/components/"+kind+"/")
}
