package kubetest_test

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// The standard "restricted" of Pod Security, field by field, and what goes beyond it
// here.
func TestPodsAreRestricted(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, _ string, b built) {
		for _, level := range []string{"enforce", "audit", "warn"} {
			if got := b.namespaces[0].Labels["pod-security.kubernetes.io/"+level]; got != "restricted" {
				t.Errorf("the namespace: %s is %q, want restricted", level, got)
			}
		}
		pod := b.pod(t).Spec
		if pod.HostNetwork || pod.HostPID || pod.HostIPC || pod.ShareProcessNamespace != nil {
			t.Error("the pod shares something of its host")
		}
		if v := pod.AutomountServiceAccountToken; v == nil || *v {
			t.Error("the pod has the token of its service account")
		}
		if len(b.accounts) != 1 || pod.ServiceAccountName != b.accounts[0].Name || b.accounts[0].AutomountServiceAccountToken == nil || *b.accounts[0].AutomountServiceAccountToken {
			t.Errorf("service accounts: got %v for %s, want one of its own without a token", b.accounts, pod.ServiceAccountName)
		}
		s := pod.SecurityContext
		if s == nil || !yes(s.RunAsNonRoot) || s.RunAsUser == nil || *s.RunAsUser != 65532 || s.RunAsGroup == nil || *s.RunAsGroup != 65532 || s.FSGroup == nil || *s.FSGroup != 65532 {
			t.Errorf("the pod runs as %+v, want the image's user 65532", s)
		}
		if s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault || len(s.Sysctls) > 0 || s.SELinuxOptions != nil || s.WindowsOptions != nil {
			t.Errorf("the pod's security: got %+v", s)
		}
		if len(pod.InitContainers)+len(pod.EphemeralContainers) > 0 || len(pod.Containers) != 1 {
			t.Fatal("want one container, for others are not looked at here")
		}
		restricted(t, pod.Containers[0])
		for _, v := range pod.Volumes {
			if v.ConfigMap == nil && v.Secret == nil && v.PersistentVolumeClaim == nil {
				t.Errorf("volume %s is of a kind that is not needed", v.Name)
			}
		}
	})
}

func yes(b *bool) bool { return b != nil && *b }
func no(b *bool) bool  { return b != nil && !*b }

func restricted(t *testing.T, c corev1.Container) {
	t.Helper()
	s := c.SecurityContext
	if s == nil || !no(s.AllowPrivilegeEscalation) || !yes(s.ReadOnlyRootFilesystem) || !no(s.Privileged) {
		t.Fatalf("the container's security: got %+v, want it read-only and without rights", s)
	}
	if s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) > 0 {
		t.Errorf("capabilities: got %+v, want none", s.Capabilities)
	}
	if s.RunAsUser != nil || s.RunAsNonRoot != nil || s.SeccompProfile != nil || s.ProcMount != nil || s.SELinuxOptions != nil || s.AppArmorProfile != nil {
		t.Errorf("the container overrules its pod: %+v", s)
	}
	for _, p := range c.Ports {
		if p.HostPort != 0 || p.HostIP != "" {
			t.Errorf("port %s is one of the host", p.Name)
		}
	}
	for _, e := range c.Env {
		if e.ValueFrom != nil || e.Name != "GOMEMLIMIT" {
			t.Errorf("environment variable %s: secrets are files, and nothing else is needed", e.Name)
		}
	}
	if len(c.EnvFrom) > 0 {
		t.Error("all of a Secret or ConfigMap is in the environment")
	}
}

func TestImages(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, _ string, b built) {
		name, tag, _ := strings.Cut(b.pod(t).Spec.Containers[0].Image, ":")
		if name != "ghcr.io/weirhq/weir" || !strings.HasPrefix(tag, "v") {
			t.Errorf("image %s:%s, want a version of ghcr.io/weirhq/weir", name, tag)
		}
	})
}

// Each probe asks what it is for, and none is so short that a busy machine is taken
// for a dead one.
func TestProbes(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, _ string, b built) {
		c := b.pod(t).Spec.Containers[0]
		for name, p := range map[string]*corev1.Probe{"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe} {
			want := "/healthz" // a process that waits for its broker gains nothing from a new start
			if name == "readiness" {
				want = "/readyz"
			}
			if p == nil || p.HTTPGet == nil || p.HTTPGet.Path != want || p.HTTPGet.Port != intstr.FromString("admin") || p.HTTPGet.Scheme != "" && p.HTTPGet.Scheme != corev1.URISchemeHTTP {
				t.Errorf("%s: got %+v, want a GET of %s at the port admin", name, p, want)
				continue
			}
			if p.TimeoutSeconds < 3 || p.PeriodSeconds < 2 || p.FailureThreshold < 2 {
				t.Errorf("%s: got %+v, want three seconds for an answer and more than one try", name, p)
			}
		}
		if p := c.LivenessProbe; p.PeriodSeconds*p.FailureThreshold < 60 {
			t.Errorf("liveness: a process that stands still for %d s is killed", p.PeriodSeconds*p.FailureThreshold)
		}
		if pre := c.Lifecycle; pre == nil || pre.PreStop == nil || pre.PreStop.Sleep == nil || pre.PreStop.Sleep.Seconds < 3 {
			t.Errorf("before the end: got %+v, want a moment in which nobody is sent here any more", pre)
		}
	})
}

func TestResources(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, _ string, b built) {
		c := b.pod(t).Spec.Containers[0]
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage} {
			if v := c.Resources.Requests[name]; v.IsZero() {
				t.Errorf("%s is not asked for", name)
			}
		}
		memory := c.Resources.Limits[corev1.ResourceMemory]
		limit, err := resource.ParseQuantity(strings.TrimSuffix(c.Env[0].Value, "B"))
		if err != nil || limit.Cmp(memory) >= 0 || limit.Value() < memory.Value()/2 {
			t.Errorf("GOMEMLIMIT %s with a limit of %s (%v): want a little less", c.Env[0].Value, memory.String(), err)
		}
		if _, ok := c.Resources.Limits[corev1.ResourceCPU]; ok {
			t.Error("the processor is limited: calls would be late")
		}
	})
}

// What differs between the two pods is the store, the broker's secrets, and where
// they may run.
func TestPodsAreTheSame(t *testing.T) {
	t.Parallel()
	var pods []corev1.PodSpec
	for _, overlay := range []string{"one", "cluster"} {
		b := must(t, overlay)
		pod := b.pod(t).Spec
		pod.TopologySpreadConstraints, pod.Volumes = nil, nil
		mounts := &pod.Containers[0].VolumeMounts
		*mounts = slices.DeleteFunc(*mounts, func(m corev1.VolumeMount) bool { return m.Name == "store" })
		pods = append(pods, pod)
	}
	if got, want := text(t, pods[0]), text(t, pods[1]); got != want {
		t.Errorf("the pods of one and cluster differ:\n%s\n%s", got, want)
	}
}
