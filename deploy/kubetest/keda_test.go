package kubetest_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	_ "github.com/kedacore/keda/v2/version" // keeps the module, whose schemas are read
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// KEDA's own types bring a client of Kubernetes along, of some 800 packages. Its
// module has the schemas that are made of them, which say the same and more.
func kedaFile(t *testing.T, path string) []byte {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/kedacore/keda/v2").Output()
	if err != nil {
		t.Fatalf("where KEDA's module is: %v", err)
	}
	data, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), path))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// schema is what is read of a schema of OpenAPI.
type schema struct {
	Type                 string
	Properties           map[string]schema
	Required             []string
	Enum                 []any
	Minimum              *float64
	Items                *schema
	AdditionalProperties *schema
	MinItems             int
}

// breaches are what in a value is not as the schema has it.
func (s schema) breaches(path string, value any) (all []string) {
	say := func(format string, args ...any) { all = append(all, path+": "+fmt.Sprintf(format, args...)) }
	if len(s.Enum) > 0 && !slices.Contains(s.Enum, value) {
		say("%v is none of %v", value, s.Enum)
	}
	switch v := value.(type) {
	case map[string]any:
		if s.Type != "object" {
			say("an object, want %s", s.Type)
		}
		for name, member := range v {
			known, ok := s.Properties[name]
			switch {
			case ok:
				all = append(all, known.breaches(path+"."+name, member)...)
			case s.AdditionalProperties != nil:
				all = append(all, s.AdditionalProperties.breaches(path+"."+name, member)...)
			default:
				say("%s is unknown", name)
			}
		}
		for _, name := range s.Required {
			if _, ok := v[name]; !ok {
				say("%s is missing", name)
			}
		}
	case []any:
		if s.Type != "array" || len(v) < s.MinItems {
			say("a list of %d, want %s of at least %d", len(v), s.Type, s.MinItems)
			break
		}
		for i, item := range v {
			all = append(all, s.Items.breaches(fmt.Sprintf("%s[%d]", path, i), item)...)
		}
	case string:
		if s.Type != "string" {
			say("a text, want %s", s.Type)
		}
	case bool:
		if s.Type != "boolean" {
			say("%v, want %s", v, s.Type)
		}
	case int64:
		all = append(all, s.breaches(path, float64(v))...)
	case float64:
		if s.Type != "integer" && s.Type != "number" || s.Type == "integer" && v != float64(int64(v)) {
			say("%v, want %s", v, s.Type)
		}
		if s.Minimum != nil && v < *s.Minimum {
			say("%v, want at least %v", v, *s.Minimum)
		}
	default:
		say("%T is not expected", value)
	}
	return all
}

// scaledObjectSchema is KEDA's definition of a ScaledObject's spec.
func scaledObjectSchema(t *testing.T) schema {
	t.Helper()
	var crd struct {
		Spec struct {
			Versions []struct {
				Name   string
				Schema struct{ OpenAPIV3Schema schema }
			}
		}
	}
	if err := yaml.Unmarshal(kedaFile(t, "config/crd/bases/keda.sh_scaledobjects.yaml"), &crd); err != nil {
		t.Fatal(err)
	}
	for _, v := range crd.Spec.Versions {
		if v.Name == "v1alpha1" {
			return v.Schema.OpenAPIV3Schema.Properties["spec"]
		}
	}
	t.Fatal("KEDA has no v1alpha1 of ScaledObject")
	return schema{}
}

// parameter is one of a trigger's, as KEDA lists it.
type parameter struct {
	Name         string
	Optional     bool
	Default      string
	AllowedValue []string
}

// metricsAPI are the parameters of the trigger, by name.
func metricsAPI(t *testing.T) map[string]parameter {
	t.Helper()
	var list struct {
		Scalers []struct {
			Type       string
			Parameters []parameter
		}
	}
	if err := json.Unmarshal(kedaFile(t, "schema/generated/scalers-schema.json"), &list); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]parameter)
	for _, s := range list.Scalers {
		if s.Type == "metrics-api" {
			for _, p := range s.Parameters {
				all[p.Name] = p
			}
		}
	}
	return all
}

// spec is what is looked at of the one ScaledObject.
type spec struct {
	ScaleTargetRef                   struct{ APIVersion, Kind, Name string }
	MinReplicaCount, MaxReplicaCount int
	Fallback                         struct {
		FailureThreshold, Replicas int
		Behavior                   string
	}
	Triggers []struct {
		Type, MetricType string
		Metadata         map[string]string
	}
}

func TestScaledObject(t *testing.T) {
	t.Parallel()
	b, err := build(filesys.MakeFsOnDisk(), "scaled")
	if err != nil {
		t.Fatal(err)
	}
	if len(b.scaled) != 1 {
		t.Fatalf("got %d ScaledObjects, want one", len(b.scaled))
	}
	definition := scaledObjectSchema(t)
	for _, text := range definition.breaches("spec", b.scaled[0]["spec"]) {
		t.Error(text)
	}
	var object struct{ Spec spec }
	data, err := json.Marshal(b.scaled[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &object); err != nil {
		t.Fatal(err)
	}
	s, d := object.Spec, b.deployment
	if ref := s.ScaleTargetRef; ref.APIVersion != "apps/v1" || ref.Kind != "Deployment" || ref.Name != d.Name {
		t.Errorf("it scales %+v, want the Deployment %s", ref, d.Name)
	}
	if d.Spec.Replicas != nil {
		t.Errorf("the Deployment says %d replicas, and would set them back each time that it is applied", *d.Spec.Replicas)
	}
	if s.MinReplicaCount < 2 || s.MaxReplicaCount <= s.MinReplicaCount {
		t.Errorf("replicas: got %d to %d, want two at least, so that one may fail, and more at most", s.MinReplicaCount, s.MaxReplicaCount)
	}
	if s.Fallback.Behavior != "currentReplicas" || s.Fallback.Replicas < s.MinReplicaCount {
		t.Errorf("fallback: got %+v, want as many as there are", s.Fallback)
	}
	if len(s.Triggers) != 1 || s.Triggers[0].Type != "metrics-api" || s.Triggers[0].MetricType != "AverageValue" {
		t.Fatalf("triggers: got %+v, want one of metrics-api by AverageValue, without which there is no fallback", s.Triggers)
	}
	known := metricsAPI(t)
	if len(known) == 0 {
		t.Fatal("KEDA lists no parameters of metrics-api")
	}
	metadata := s.Triggers[0].Metadata
	for name, value := range metadata {
		if p, ok := known[name]; !ok || len(p.AllowedValue) > 0 && !slices.Contains(p.AllowedValue, value) {
			t.Errorf("metrics-api takes no %s: %s", name, value)
		}
	}
	for name, p := range known {
		if !p.Optional && p.Default == "" && metadata[name] == "" {
			t.Errorf("metrics-api needs %s", name)
		}
	}
	if !strings.HasPrefix(metadata["url"], "http://weir-admin."+d.Namespace+".svc:8092/scale") {
		t.Errorf("it asks %s, want the Service weir-admin of the namespace %s", metadata["url"], d.Namespace)
	}
}

// Slips in a ScaledObject are found.
func TestSlipsInAScaledObject(t *testing.T) {
	t.Parallel()
	definition := scaledObjectSchema(t)
	text, err := os.ReadFile(kubernetes + "/components/keda/scaledobject.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string][2]string{
		"a key that is none":      {"minReplicaCount: 2", "minReplicas: 2"},
		"a text for a number":     {"pollingInterval: 15", "pollingInterval: soon"},
		"a part of a replica":     {"minReplicaCount: 2", "minReplicaCount: 2.5"},
		"less than nothing":       {"minReplicaCount: 2", "minReplicaCount: -2"},
		"an unknown behavior":     {"behavior: currentReplicas", "behavior: asItIs"},
		"a number for a text":     {`targetValue: "1"`, "targetValue: 1"},
		"no trigger":              {"    - type: metrics-api", "    - metricType: AverageValue #"},
		"a key deep inside":       {"stabilizationWindowSeconds: 900", "stabilisationWindowSeconds: 900"},
		"an unknown kind of step": {"{type: Pods, value: 1, periodSeconds: 120}", "{type: Pods, value: 1, seconds: 120}"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			edited := strings.Replace(string(text), edit[0], edit[1], 1)
			if edited == string(text) {
				t.Fatalf("the file has no %q", edit[0])
			}
			var object map[string]any
			if err := yaml.UnmarshalStrict([]byte(edited), &object); err != nil {
				return // found even earlier
			}
			if len(definition.breaches("spec", object["spec"])) == 0 {
				t.Error("got nothing to complain about")
			}
		})
	}
}
