package kubetest_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// must builds an overlay.
func must(t *testing.T, overlay string) built {
	t.Helper()
	b, err := build(filesys.MakeFsOnDisk(), overlay)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// text is an object as YAML.
func text(t *testing.T, object any) string {
	t.Helper()
	data, err := yaml.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Whatever selects pods selects weir's, and all is in one namespace.
func TestSelectors(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, overlay string, b built) {
		if len(b.namespaces) != 1 {
			t.Fatalf("got %d namespaces", len(b.namespaces))
		}
		for name, m := range b.metas() {
			if m.Namespace != b.namespaces[0].Name {
				t.Errorf("%s is in the namespace %q, want %s", name, m.Namespace, b.namespaces[0].Name)
			}
		}
		labels := b.pod(t).Labels
		selects := func(what string, by map[string]string) {
			t.Helper()
			if len(by) == 0 {
				t.Errorf("%s selects by nothing", what)
			}
			for k, v := range by {
				if labels[k] != v {
					t.Errorf("%s selects %s=%s, which weir's pods %v are not", what, k, v, labels)
				}
			}
		}
		for _, s := range b.services {
			selects("Service "+s.Name, s.Spec.Selector)
		}
		for _, p := range b.budgets {
			selects("PodDisruptionBudget", p.Spec.Selector.MatchLabels)
			if p.Spec.MaxUnavailable == nil || p.Spec.MaxUnavailable.IntValue() != 1 || p.Spec.MinAvailable != nil {
				t.Errorf("the budget: got %+v, want one at a time of however many", p.Spec)
			}
		}
		if len(b.budgets) != 1 {
			t.Errorf("got %d PodDisruptionBudgets, want one", len(b.budgets))
		}
		for _, c := range b.pod(t).Spec.TopologySpreadConstraints {
			selects("the spread over "+c.TopologyKey, c.LabelSelector.MatchLabels)
		}
		for _, p := range b.policies {
			if p.Name != "default-deny" {
				selects("NetworkPolicy "+p.Name, p.Spec.PodSelector.MatchLabels)
			}
		}
	})
}

func TestWorkloads(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, overlay string, b built) {
		if overlay == "one" {
			alone(t, b)
			return
		}
		d := b.deployment
		if d == nil {
			t.Fatal("no Deployment")
		}
		if r := d.Spec.Replicas; overlay == "cluster" && (r == nil || *r < 2) {
			t.Errorf("replicas: got %v, want two at least", r)
		}
		roll := d.Spec.Strategy.RollingUpdate
		if d.Spec.Strategy.Type != appsv1.RollingUpdateDeploymentStrategyType || roll == nil || roll.MaxUnavailable.IntValue() != 0 || roll.MaxSurge.IntValue() != 1 {
			t.Errorf("a new version comes by %+v, want one replica at a time, and none missing", d.Spec.Strategy)
		}
		spread := map[string]corev1.UnsatisfiableConstraintAction{}
		for _, c := range d.Spec.Template.Spec.TopologySpreadConstraints {
			if c.MaxSkew != 1 || !slices.Equal(c.MatchLabelKeys, []string{appsv1.DefaultDeploymentUniqueLabelKey}) {
				t.Errorf("spread over %s: got %+v, want those of one version counted, as even as can be", c.TopologyKey, c)
			}
			spread[c.TopologyKey] = c.WhenUnsatisfiable
		}
		want := map[string]corev1.UnsatisfiableConstraintAction{corev1.LabelHostname: corev1.DoNotSchedule, corev1.LabelTopologyZone: corev1.ScheduleAnyway}
		if !maps.Equal(spread, want) {
			t.Errorf("spread: got %v, want %v", spread, want)
		}
	})
}

// alone holds that there is one pod, with its store, and never two.
func alone(t *testing.T, b built) {
	t.Helper()
	s := b.stateful
	if s == nil || s.Spec.Replicas == nil || *s.Spec.Replicas != 1 || len(b.scaled) > 0 {
		t.Fatal("want a StatefulSet of one replica that nobody scales")
	}
	if s.Spec.PodManagementPolicy == appsv1.ParallelPodManagement || s.Spec.UpdateStrategy.Type != appsv1.RollingUpdateStatefulSetStrategyType {
		t.Errorf("a new version comes by %+v", s.Spec.UpdateStrategy)
	}
	if keep := s.Spec.PersistentVolumeClaimRetentionPolicy; keep == nil || keep.WhenDeleted != appsv1.RetainPersistentVolumeClaimRetentionPolicyType || keep.WhenScaled != appsv1.RetainPersistentVolumeClaimRetentionPolicyType {
		t.Errorf("the store when the pod goes: got %+v, want it kept", keep)
	}
	mount := slices.IndexFunc(s.Spec.Template.Spec.Containers[0].VolumeMounts, func(m corev1.VolumeMount) bool {
		return m.MountPath == "/var/lib/weir" && !m.ReadOnly
	})
	claims := s.Spec.VolumeClaimTemplates
	if len(claims) != 1 || mount < 0 || claims[0].Name != s.Spec.Template.Spec.Containers[0].VolumeMounts[mount].Name || len(claims[0].Spec.AccessModes) != 1 || claims[0].Spec.AccessModes[0] != corev1.ReadWriteOnce {
		t.Errorf("the store: got %+v, want one volume of one node at /var/lib/weir", claims)
	}
	if !slices.ContainsFunc(b.services, func(v *corev1.Service) bool {
		return v.Name == s.Spec.ServiceName && v.Spec.ClusterIP == corev1.ClusterIPNone
	}) {
		t.Errorf("%s is no headless Service", s.Spec.ServiceName)
	}
}

// What a Service or a NetworkPolicy calls a port is one of the container.
func TestPorts(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, _ string, b built) {
		ports := map[string]int32{}
		for _, p := range b.pod(t).Spec.Containers[0].Ports {
			ports[p.Name] = p.ContainerPort
		}
		serves := map[string][]string{}
		for _, s := range b.services {
			for _, p := range s.Spec.Ports {
				if ports[p.TargetPort.StrVal] == 0 {
					t.Errorf("Service %s leads to the port %s, which is none of %v", s.Name, p.TargetPort.String(), ports)
				}
				serves[s.Name] = append(serves[s.Name], p.TargetPort.StrVal)
			}
			if headless := s.Spec.ClusterIP == corev1.ClusterIPNone; headless != s.Spec.PublishNotReadyAddresses || s.Spec.Type != "" && s.Spec.Type != corev1.ServiceTypeClusterIP {
				t.Errorf("Service %s: got %+v, want it in the cluster alone, and who is not ready under the headless one alone", s.Name, s.Spec)
			}
		}
		if want := map[string][]string{"weir-gateway": {"gateway"}, "weir-console": {"console"}, "weir-admin": {"admin"}, "weir-replicas": {"admin"}}; !maps.EqualFunc(serves, want, slices.Equal) {
			t.Errorf("Services: got %v, want %v", serves, want)
		}
		opened := map[string]bool{}
		for _, p := range b.policies {
			for _, in := range p.Spec.Ingress {
				for _, port := range in.Ports {
					if ports[port.Port.StrVal] == 0 {
						t.Errorf("NetworkPolicy %s opens the port %s, which is none of %v", p.Name, port.Port.String(), ports)
					}
					opened[port.Port.StrVal] = true
				}
			}
		}
		if len(opened) != len(ports) {
			t.Errorf("opened are %v, want each of %v", opened, ports)
		}
	})
}

// Nobody gets in or out but by name.
func TestNetworkPolicies(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, overlay string, b built) {
		denied := false
		outside := map[string]bool{}
		for _, p := range b.policies {
			both := slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeIngress) && slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress)
			if len(p.Spec.PodSelector.MatchLabels)+len(p.Spec.PodSelector.MatchExpressions) == 0 {
				denied = both && len(p.Spec.Ingress)+len(p.Spec.Egress) == 0
				continue
			}
			for _, in := range p.Spec.Ingress {
				if len(in.From) == 0 || len(in.Ports) != 1 {
					t.Errorf("%s lets in %+v, want one port for whom it names", p.Name, in)
				}
				for _, from := range in.From {
					if from.IPBlock != nil || !named(from.NamespaceSelector) {
						t.Errorf("%s lets in %+v, want namespaces by a label", p.Name, from)
					}
				}
			}
			for _, out := range p.Spec.Egress {
				if len(out.To) == 0 || len(out.Ports) == 0 {
					t.Errorf("%s lets out %+v, want ports of whom it names", p.Name, out)
				}
				for _, to := range out.To {
					if to.IPBlock == nil && !named(to.NamespaceSelector) {
						t.Errorf("%s lets out to %+v, want namespaces by a label, or addresses", p.Name, to)
					}
					public(t, p.Name, to.IPBlock, out.Ports)
				}
				for _, port := range out.Ports {
					outside[p.Name+" "+port.Port.String()] = true
				}
			}
		}
		if !denied {
			t.Error("no policy denies everything else")
		}
		want := []string{"weir-dns 53", "weir-nats 4222", "weir-providers 443"}
		if overlay == "one" {
			want = slices.Delete(want, 1, 2)
		}
		if got := slices.Sorted(maps.Keys(outside)); !slices.Equal(got, want) {
			t.Errorf("ways out: got %v, want %v", got, want)
		}
	})
}

func named(s *metav1.LabelSelector) bool { return s != nil && len(s.MatchLabels) > 0 }

// public holds that a block of addresses is https to what is public.
func public(t *testing.T, policy string, block *networkingv1.IPBlock, ports []networkingv1.NetworkPolicyPort) {
	t.Helper()
	if block == nil {
		return
	}
	private := []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10"}
	if strings.Contains(block.CIDR, ":") {
		private = []string{"fc00::/7", "fe80::/10"}
	}
	for _, cidr := range private {
		if !slices.Contains(block.Except, cidr) {
			t.Errorf("%s lets out to %s without the exception of %s", policy, block.CIDR, cidr)
		}
	}
	if len(ports) != 1 || ports[0].Port.IntValue() != 443 {
		t.Errorf("%s lets out to %s at %v, want https alone", policy, block.CIDR, ports)
	}
}

// What weir.yaml names is mounted: the file itself, and each secret of one Secret that
// is in no manifest.
func TestSecrets(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, overlay string, b built) {
		if len(b.configs) != 1 {
			t.Fatalf("got %d ConfigMaps", len(b.configs))
		}
		pod, file := b.pod(t).Spec, b.configs[0].Data["weir.yaml"]
		mounts := map[string]corev1.VolumeMount{}
		for _, m := range pod.Containers[0].VolumeMounts {
			mounts[m.Name] = m
		}
		for _, v := range pod.Volumes {
			m := mounts[v.Name]
			switch {
			case v.ConfigMap != nil:
				if v.ConfigMap.Name != b.configs[0].Name || m.MountPath != "/etc/weir" || !m.ReadOnly || m.SubPath != "" {
					t.Errorf("the configuration %s at %+v, want %s at /etc/weir", v.ConfigMap.Name, m, b.configs[0].Name)
				}
			case v.Secret != nil:
				if v.Secret.Optional != nil || v.Secret.SecretName != "weir" || !m.ReadOnly || m.SubPath != "" || *v.Secret.DefaultMode&0o007 != 0 {
					t.Errorf("the secrets %+v at %+v, want the Secret weir, for weir's group alone", v.Secret, m)
				}
				var items []string
				for _, item := range v.Secret.Items {
					if item.Key != item.Path {
						t.Errorf("secret %s is the file %s", item.Key, item.Path)
					}
					items = append(items, item.Key)
				}
				slices.Sort(items)
				if got := namedIn(file, m.MountPath); !slices.Equal(got, items) {
					t.Errorf("secrets: weir.yaml names %v, mounted are %v", got, items)
				}
				if strings.Count(file, m.MountPath+"/") != strings.Count(file, "/run/secrets/") {
					t.Errorf("weir.yaml names secrets beside %s", m.MountPath)
				}
				made(t, overlay, items)
			}
		}
	})
}

// namedIn are the secrets that a weir.yaml names, each once.
func namedIn(file, folder string) []string {
	names := map[string]bool{}
	for _, m := range regexp.MustCompile(regexp.QuoteMeta(folder)+`/([\w.]+)`).FindAllStringSubmatch(file, -1) {
		names[m[1]] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// made holds that secrets.sh knows the same secrets: it makes what chance can make,
// and asks for the rest.
func made(t *testing.T, overlay string, items []string) {
	t.Helper()
	dir := t.TempDir()
	script, err := os.ReadFile(kubernetes + "/secrets.sh")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "secrets.sh"), script, 0o600); err != nil {
		t.Fatal(err)
	}
	way := strings.Replace(overlay, "scaled", "cluster", 1)
	run := func() (string, error) {
		out, err := exec.Command("sh", filepath.Join(dir, "secrets.sh"), way).CombinedOutput()
		return string(out), err
	}
	out, err := run()
	if err == nil {
		t.Errorf("secrets.sh %s with nothing given: got %q, want a failure that names what is missing", way, out)
	}
	for _, item := range items {
		path := filepath.Join(dir, "secrets", item)
		if info, err := os.Stat(path); err == nil {
			if info.Mode().Perm() != 0o600 || info.Size() < 40 {
				t.Errorf("%s: got %v of %d bytes, want one for its owner alone, of chance", item, info.Mode(), info.Size())
			}
			continue
		}
		if !strings.Contains(out, item) {
			t.Errorf("secrets.sh %s neither makes %s nor asks for it: %s", way, item, out)
		}
		if err := os.WriteFile(path, []byte("given\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before, _ := os.ReadFile(filepath.Join(dir, "secrets/gateway_token"))
	if out, err := run(); err != nil {
		t.Errorf("secrets.sh %s with all of them there: %v: %s", way, err, out)
	}
	if after, _ := os.ReadFile(filepath.Join(dir, "secrets/gateway_token")); string(after) != string(before) {
		t.Error("secrets.sh made another token the second time")
	}
}
