package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/scale"
)

const kubernetes = "../../deploy/kubernetes/"

// kubePod is what of a workload means something to weir.
type kubePod struct {
	Spec struct {
		Template struct {
			Spec struct {
				Grace      int `yaml:"terminationGracePeriodSeconds"`
				Containers []struct {
					Args  []string
					Ports []struct {
						Name          string
						ContainerPort int `yaml:"containerPort"`
					}
					StartupProbe   kubeProbe `yaml:"startupProbe"`
					LivenessProbe  kubeProbe `yaml:"livenessProbe"`
					ReadinessProbe kubeProbe `yaml:"readinessProbe"`
					Lifecycle      struct {
						PreStop struct{ Sleep struct{ Seconds int } } `yaml:"preStop"`
					}
				}
			}
		}
	}
}

type kubeProbe struct {
	HTTPGet struct{ Path, Port string } `yaml:"httpGet"`
}

// kubeFiles reads the documents of a file.
func kubeFiles[T any](t *testing.T, path string) (all []T) {
	t.Helper()
	d := yaml.NewDecoder(strings.NewReader(textOf(t, kubernetes+path)))
	for {
		var one T
		err := d.Decode(&one)
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all = append(all, one)
	}
}

// kubeConfig loads an overlay's weir.yaml as a pod has it.
func kubeConfig(t *testing.T, overlay string) *config.Config {
	t.Helper()
	text := textOf(t, kubernetes+"overlays/"+overlay+"/weir.yaml")
	dir := t.TempDir()
	for _, m := range regexp.MustCompile(`/run/secrets/weir/([\w.]+)`).FindAllStringSubmatch(text, -1) {
		if err := os.WriteFile(filepath.Join(dir, m[1]), []byte("ak_"+m[1]+".0123456789abcdef\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := config.Parse("/etc/weir/weir.yaml", []byte(strings.ReplaceAll(text, "/run/secrets/weir", dir)), func(string) string { return "" })
	if err != nil {
		t.Fatalf("%s: %v", overlay, err)
	}
	return cfg
}

// What the manifests have the binary do, it can do.
func TestKubernetesPods(t *testing.T) {
	t.Parallel()
	for overlay, file := range map[string]string{"one": "statefulset.yaml", "cluster": "deployment.yaml"} {
		cfg := kubeConfig(t, overlay)
		pod := kubeFiles[kubePod](t, "overlays/"+overlay+"/"+file)[0].Spec.Template.Spec
		c := pod.Containers[0]
		parsed(t, c.Args...)
		listens := map[string]string{"gateway": cfg.Gateway.Listen, "console": cfg.Console.Listen, "admin": cfg.Admin.Listen}
		if len(c.Ports) != len(listens) {
			t.Errorf("%s: ports %v, want those of %v", overlay, c.Ports, listens)
		}
		for _, p := range c.Ports {
			if want := net.JoinHostPort("0.0.0.0", strconv.Itoa(p.ContainerPort)); listens[p.Name] != want {
				t.Errorf("%s: port %s is %s, and weir.yaml has %s", overlay, p.Name, want, listens[p.Name])
			}
		}
		mux := (&admin{}).routes()
		for name, p := range map[string]kubeProbe{"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe} {
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, p.HTTPGet.Path, http.NoBody))
			// Before the broker is found it is alive, and not ready.
			if want := map[bool]int{true: http.StatusServiceUnavailable, false: http.StatusOK}[name == "readiness"]; w.Code != want || p.HTTPGet.Port != "admin" {
				t.Errorf("%s: %s at %s of %s: got %d before the broker is there, want %d", overlay, name, p.HTTPGet.Path, p.HTTPGet.Port, w.Code, want)
			}
		}
		end := longestStop(cfg) + time.Duration(c.Lifecycle.PreStop.Sleep.Seconds)*time.Second
		if granted := time.Duration(pod.Grace) * time.Second; granted < end {
			t.Errorf("%s: %v to stop are granted, and weir may need %v", overlay, granted, end)
		}
	}
}

// longestStop is how long weir may need to stop: a request that was sent is awaited,
// what it brought is written down, and the connection closed.
func longestStop(cfg *config.Config) time.Duration {
	timeout := time.Duration(0)
	for _, ac := range cfg.Accounts {
		timeout = max(timeout, ac.Timeout)
	}
	const written, closed = 15 * time.Second, 10 * time.Second // consumer's grace, service.close
	return timeout + written + closed
}

// The one has its store on its volume; the replicas have the brokers that the
// network lets them reach, by TLS, with a copy on each of three. Behind the broker the
// two files are the same.
func TestKubernetesConfigurations(t *testing.T) {
	t.Parallel()
	one, cluster := kubeConfig(t, "one"), kubeConfig(t, "cluster")
	if one.Embedded == nil || !strings.HasPrefix(one.Embedded.Dir, "/var/lib/weir/") {
		t.Errorf("one: got the store %+v, want it within the volume, /var/lib/weir", one.Embedded)
	}
	b := cluster.Broker
	if b == nil || b.Replicas != 3 || b.TLS.CA == "" || len(b.URLs) != 1 {
		t.Fatalf("cluster: got the broker %+v, want three copies, and an authority", b)
	}
	policy := kubeFiles[struct {
		Spec struct {
			Egress []struct {
				To []struct {
					NamespaceSelector struct {
						MatchLabels map[string]string `yaml:"matchLabels"`
					} `yaml:"namespaceSelector"`
				}
				Ports []struct{ Port string }
			}
		}
	}](t, "overlays/cluster/networkpolicy.yaml")[0].Spec.Egress[0]
	at, err := url.Parse(b.URLs[0])
	namespace := policy.To[0].NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"]
	if err != nil || at.Scheme != "tls" || at.Port() != policy.Ports[0].Port || !strings.HasSuffix(at.Hostname(), "."+namespace+".svc.cluster.local") {
		t.Errorf("the broker is at %s (%v), and the network leads to port %s of the namespace %s", b.URLs[0], err, policy.Ports[0].Port, namespace)
	}
	after := func(overlay string) string {
		text := textOf(t, kubernetes+"overlays/"+overlay+"/weir.yaml")
		return text[strings.Index(text, "\ngateway:"):]
	}
	if after("one") != after("cluster") {
		t.Error("the two weir.yaml differ behind the broker")
	}
	for _, ac := range cluster.Accounts {
		if u, err := url.Parse(ac.URL); err != nil || u.Scheme != "https" || u.Port() != "" {
			t.Errorf("account %s at %s: the network leads to https alone", ac.Name, ac.URL)
		}
	}
}

// What KEDA asks, the listener answers, in replicas.
func TestKubernetesScaler(t *testing.T) {
	t.Parallel()
	type object struct {
		Spec struct {
			Triggers []struct{ Metadata map[string]string }
		}
	}
	asks := kubeFiles[object](t, "components/keda/scaledobject.yaml")[0].Spec.Triggers[0].Metadata
	at, err := url.Parse(asks["url"])
	if err != nil {
		t.Fatal(err)
	}
	s := &service{}
	s.scaler = newScaler(nil)
	s.scaler.at, s.scaler.accounts = time.Now().Add(time.Hour), map[string]scale.Load{"a": {Running: 450}, "b": {Running: 100, Startable: 1}, "c": {Ready: 1_000_000}}
	h := &admin{}
	h.show(s)
	w := httptest.NewRecorder()
	h.routes().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, at.RequestURI(), http.NoBody))
	var told map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &told); err != nil || w.Code != http.StatusOK {
		t.Fatalf("%s: got %d, %s", at.RequestURI(), w.Code, w.Body)
	}
	if told[asks["valueLocation"]] != 2.0 || asks["targetValue"] != "1" {
		t.Errorf("%s at %s: got %v of %s for a target of %s, want 2 replicas and 1", asks["valueLocation"], asks["url"], told[asks["valueLocation"]], w.Body, asks["targetValue"])
	}
	if timeout, err := time.ParseDuration(asks["timeout"]); err != nil || timeout <= scaleWait {
		t.Errorf("KEDA waits %s (%v), and an answer may take %v", asks["timeout"], err, scaleWait)
	}
	// The page shows what is answered.
	page := textOf(t, filepath.Join(root, "docs/kubernetes.md"))
	shown := regexp.MustCompile("(?s)```json\n(.*?)\n```").FindStringSubmatch(page)
	if len(shown) < 2 {
		t.Fatal("docs/kubernetes.md shows no answer")
	}
	var example map[string]any
	if err := json.Unmarshal([]byte(shown[1]), &example); err != nil {
		t.Fatal(err)
	}
	for name := range told {
		if _, ok := example[name]; !ok || !strings.Contains(page, "`"+name+"`") && name != "at" {
			t.Errorf("docs/kubernetes.md does not tell of %s", name)
		}
	}
	if len(example) != len(told) {
		t.Errorf("docs/kubernetes.md shows %v, and the answer has %v", example, told)
	}
}

// What the page has people type is there: paths, objects, labels, commands.
func TestKubernetesPage(t *testing.T) {
	t.Parallel()
	page := textOf(t, filepath.Join(root, "docs/kubernetes.md"))
	for _, m := range regexp.MustCompile(`(?:-f|-k|sh|from-file=) ?(deploy/[\w./-]+)`).FindAllStringSubmatch(page, -1) {
		if m[1] == "deploy/kubernetes/secrets" { // made by the script
			continue
		}
		if _, err := os.Stat(filepath.Join(root, strings.TrimSuffix(m[1], "."))); err != nil {
			t.Error(err)
		}
	}
	var names, policies strings.Builder
	err := filepath.WalkDir(kubernetes, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".yaml") {
			policies.WriteString(textOf(t, path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	names.WriteString(policies.String())
	for _, label := range regexp.MustCompile(`weir-access/(\w+)=yes`).FindAllStringSubmatch(page, -1) {
		if !strings.Contains(policies.String(), "weir-access/"+label[1]+`: "yes"`) {
			t.Errorf("no policy lets in who has the label %s", label[0])
		}
	}
	for _, object := range regexp.MustCompile("(?:`|service/|names: \\[)(weir-[a-z]+)\\b").FindAllStringSubmatch(page, -1) {
		if object[1] != "weir-access" && !strings.Contains(names.String(), "name: "+object[1]+"\n") {
			t.Errorf("there is no %s", object[1])
		}
	}
	commands := regexp.MustCompile(`-- (/weir [^\x60|]+)`).FindAllStringSubmatch(page, -1)
	for _, m := range commands {
		line, _, _ := strings.Cut(m[1], " < ")
		parsed(t, slices.DeleteFunc(strings.Fields(line)[1:], func(s string) bool { return s == "" })...)
	}
	if len(commands) < 2 {
		t.Errorf("got %d commands in pods, want those of the page", len(commands))
	}
}
