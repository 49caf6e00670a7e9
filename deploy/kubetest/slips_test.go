package kubetest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// The strict reading is what this module is for: a slip is found.
func TestSlipsAreFound(t *testing.T) {
	t.Parallel()
	for name, slip := range map[string]struct{ file, from, to string }{
		"a key that is none":      {"overlays/cluster/deployment.yaml", "minReadySeconds:", "minReadySecond:"},
		"a key deep inside":       {"overlays/cluster/deployment.yaml", "readOnlyRootFilesystem:", "readOnlyRootFileSystem:"},
		"a key of another kind":   {"overlays/cluster/deployment.yaml", "  minReadySeconds: 10", "  serviceName: weir"},
		"a key given twice":       {"overlays/cluster/deployment.yaml", "  minReadySeconds: 10\n", "  minReadySeconds: 10\n  minReadySeconds: 20\n"},
		"a text for a number":     {"overlays/cluster/deployment.yaml", "minReadySeconds: 10", "minReadySeconds: soon"},
		"a quantity that is none": {"overlays/cluster/deployment.yaml", "memory: 512Mi", "memory: much"},
		"a policy's slip":         {"base/networkpolicies.yaml", "namespaceSelector:", "nameSpaceSelector:"},
		"a service's slip":        {"base/services.yaml", "targetPort: gateway", "targetport: gateway"},
		"a budget's slip":         {"overlays/cluster/poddisruptionbudget.yaml", "maxUnavailable: 1", "maxUnavailible: 1"},
		"a file that is missing":  {"overlays/cluster/kustomization.yaml", "- deployment.yaml", "- deploiment.yaml"},
		"an unknown API":          {"overlays/cluster/poddisruptionbudget.yaml", "policy/v1", "policy/v1beta1"},
		"a kustomization's slip":  {"overlays/cluster/kustomization.yaml", "configMapGenerator:", "configMapGenerators:"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := filesys.MakeFsInMemory()
			edited := false
			err := filepath.Walk(kubernetes, func(path string, info os.FileInfo, err error) error {
				if err != nil || info.IsDir() || !strings.HasSuffix(path, ".yaml") {
					return err
				}
				data, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				text := string(data)
				if path == filepath.Join(kubernetes, slip.file) {
					text = strings.Replace(text, slip.from, slip.to, 1)
					edited = text != string(data)
				}
				return files.WriteFile(strings.TrimPrefix(path, "../"), []byte(text))
			})
			if err != nil || !edited {
				t.Fatalf("%s has no %q (%v)", slip.file, slip.from, err)
			}
			if _, err := buildAt(files, "kubernetes", "cluster"); err == nil {
				t.Error("got no error")
			} else {
				t.Log(err)
			}
		})
	}
}
