package config_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/schema"
)

const planted = "planted-and-never-to-be-seen"

// plant puts a secret wherever one can stand, and returns how many it put there.
func plant(v reflect.Value) (n int) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() && v.CanSet() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		return plant(v.Elem())
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[config.Token]() {
			v.Set(reflect.ValueOf(config.Token{Values: []schema.Secret{planted}}))
			return 1
		}
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Type.PkgPath() != reflect.TypeFor[schema.Routes]().PkgPath() && f.Type.Kind() != reflect.Map || f.Type == reflect.TypeFor[schema.Secret]() {
				n += plant(v.Field(i))
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Struct && v.CanSet() {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			return plant(v.Index(0))
		}
	case reflect.String:
		if v.Type() == reflect.TypeFor[schema.Secret]() {
			v.SetString(planted)
			return 1
		}
	}
	return n
}

func TestInForceHoldsNoSecret(t *testing.T) {
	t.Parallel()
	cfg := &config.Config{}
	cfg.Accounts = []config.Account{{Name: "acme", Lanes: []config.Lane{{Name: "sales"}}}}
	n := 0
	for _, part := range []any{
		&cfg.Broker, &cfg.Embedded, &cfg.Gateway, &cfg.Console, &cfg.Blocks,
		&cfg.Accounts[0].Settings, &cfg.Accounts[0].Lanes[0].Webhook, &cfg.Accounts[0].Lanes[0].CRM, &cfg.Accounts[0].Lanes[0].Outcomes,
	} {
		n += plant(reflect.ValueOf(part).Elem())
	}
	if n < 18 {
		t.Fatalf("got %d secrets planted, want all that there are", n)
	}
	cfg.Gateway.Listen, cfg.Console.Listen = "127.0.0.1:1", "127.0.0.1:2"
	lane := &cfg.Accounts[0].Lanes[0]
	lane.Outcomes.URL = "https://hooks.example/services/" + planted
	lane.Sources = []schema.RouteSource{{Type: "lead.created", Request: map[string]any{
		"fromPhoneNumber": "+14155550123", "dynamicVariables": map[string]any{"a": "${ data.id }", "mail": "ada@example.com"},
	}}}
	shown, set := "", 0
	for _, p := range cfg.InForce() {
		for _, s := range p.Settings {
			shown += p.Title + " " + s.Path + " " + s.Value + "\n"
			set += strings.Count(s.Value, "(set, not shown)")
		}
	}
	for _, never := range []string{planted, "5550123", "ada@"} {
		if strings.Contains(shown, never) {
			t.Errorf("got %q in:\n%s", never, shown)
		}
	}
	if set != n {
		t.Errorf("got %d secrets told of, want %d:\n%s", set, n, shown)
	}
	for _, want := range []string{
		"lane sales outcomes.url https://hooks.example/…\n", "lane sales routes[0].request.dynamicVariables.a ${ data.id }\n",
		"lane sales routes[0].request.fromPhoneNumber …23\n", "account acme auth.api_key (set, not shown)\n",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("got no %q in:\n%s", want, shown)
		}
	}
}
