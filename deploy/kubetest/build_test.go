// Package kubetest_test holds deploy/kubernetes against the types of Kubernetes'
// own API and KEDA's own schema, after kustomize's own library has built it. It is a
// module of its own, so that what these bring along is no dependency of weir's. What
// commands, ports, probes and configuration mean to the binary is held by cmd/weir's
// own tests.
package kubetest_test

import (
	"errors"
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const kubernetes = "../kubernetes"

// overlays are what a user applies.
var overlays = []string{"one", "cluster", "scaled"}

// built is what an overlay makes, each object as its own type.
type built struct {
	namespaces []*corev1.Namespace
	accounts   []*corev1.ServiceAccount
	services   []*corev1.Service
	configs    []*corev1.ConfigMap
	policies   []*networkingv1.NetworkPolicy
	budgets    []*policyv1.PodDisruptionBudget
	deployment *appsv1.Deployment
	stateful   *appsv1.StatefulSet
	scaled     []map[string]any
}

// build builds an overlay and reads each object strictly.
func build(files filesys.FileSystem, overlay string) (built, error) {
	return buildAt(files, kubernetes, overlay)
}

func buildAt(files filesys.FileSystem, root, overlay string) (built, error) {
	var b built
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(files, root+"/overlays/"+overlay)
	if err != nil {
		return b, err
	}
	for _, r := range resources.Resources() {
		text, err := r.AsYAML()
		if err != nil {
			return b, err
		}
		if err := b.add(r.GetGvk().ApiVersion()+" "+r.GetKind(), text); err != nil {
			return b, fmt.Errorf("%s %s: %w", r.GetKind(), r.GetName(), err)
		}
	}
	return b, nil
}

// add reads one object, which has to be of a kind that is known here.
func (b *built) add(kind string, text []byte) error {
	switch kind {
	case "v1 Namespace":
		return into(&b.namespaces, text)
	case "v1 ServiceAccount":
		return into(&b.accounts, text)
	case "v1 Service":
		return into(&b.services, text)
	case "v1 ConfigMap":
		return into(&b.configs, text)
	case "networking.k8s.io/v1 NetworkPolicy":
		return into(&b.policies, text)
	case "policy/v1 PodDisruptionBudget":
		return into(&b.budgets, text)
	case "apps/v1 Deployment":
		b.deployment = new(appsv1.Deployment)
		return strictly(text, b.deployment)
	case "apps/v1 StatefulSet":
		b.stateful = new(appsv1.StatefulSet)
		return strictly(text, b.stateful)
	case "keda.sh/v1alpha1 ScaledObject":
		object := make(map[string]any)
		b.scaled = append(b.scaled, object)
		return strictly(text, &object)
	}
	return fmt.Errorf("%s is not looked at by this test", kind)
}

// into reads an object strictly, and appends it.
func into[T any](all *[]*T, text []byte) error {
	object := new(T)
	*all = append(*all, object)
	return strictly(text, object)
}

// strictly reads an object as the API server does with strict validation: no unknown
// key, no key twice, and none in other letters, capital or small.
func strictly(text []byte, object any) error {
	data, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return err
	}
	slips, err := json.UnmarshalStrict(data, object)
	return errors.Join(append(slips, err)...)
}

// each builds every overlay and has it looked at.
func each(t *testing.T, look func(t *testing.T, overlay string, b built)) {
	t.Helper()
	for _, overlay := range overlays {
		t.Run(overlay, func(t *testing.T) {
			t.Parallel()
			b, err := build(filesys.MakeFsOnDisk(), overlay)
			if err != nil {
				t.Fatal(err)
			}
			look(t, overlay, b)
		})
	}
}

// pod is the template of weir's pods.
func (b built) pod(t *testing.T) corev1.PodTemplateSpec {
	t.Helper()
	switch {
	case b.stateful != nil && b.deployment == nil:
		return b.stateful.Spec.Template
	case b.deployment != nil && b.stateful == nil:
		return b.deployment.Spec.Template
	}
	t.Fatal("want either a Deployment or a StatefulSet")
	return corev1.PodTemplateSpec{}
}

// metas are what every object says of itself.
func (b built) metas() map[string]metav1.ObjectMeta {
	all := make(map[string]metav1.ObjectMeta)
	for _, o := range b.accounts {
		all["ServiceAccount "+o.Name] = o.ObjectMeta
	}
	for _, o := range b.services {
		all["Service "+o.Name] = o.ObjectMeta
	}
	for _, o := range b.configs {
		all["ConfigMap "+o.Name] = o.ObjectMeta
	}
	for _, o := range b.policies {
		all["NetworkPolicy "+o.Name] = o.ObjectMeta
	}
	for _, o := range b.budgets {
		all["PodDisruptionBudget "+o.Name] = o.ObjectMeta
	}
	if b.deployment != nil {
		all["Deployment "+b.deployment.Name] = b.deployment.ObjectMeta
	}
	if b.stateful != nil {
		all["StatefulSet "+b.stateful.Name] = b.stateful.ObjectMeta
	}
	return all
}
