package registry

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/logbridge/logbridge"
)

// bases is a BaseLevels in memory.
type bases struct {
	mu    sync.Mutex
	of    map[string]logbridge.Level
	calls int
	fail  error
}

func (b *bases) ProductBase(product string) (logbridge.Level, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l, ok := b.of[product]
	return l, ok
}

func (b *bases) SetBase(_ context.Context, product string, l logbridge.Level, by logbridge.Actor, _ string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return b.fail
	}
	if by.Name != "config" {
		return fmt.Errorf("set by %v", by)
	}
	b.of[product] = l
	b.calls++
	return nil
}

func parse(t *testing.T, text string) Provision {
	t.Helper()
	var file struct {
		Provision Provision `yaml:"provision"`
	}
	must(t, yaml.UnmarshalWithOptions([]byte(text), &file, yaml.Strict()))
	return file.Provision
}

// example is the YAML of design.md 7.
func example(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("testdata/provision.yaml")
	must(t, err)
	return string(b)
}

func TestProvisionTheExample(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir)
	r := open(t, n)
	levels := &bases{of: map[string]logbridge.Level{}}
	must(t, r.Provision(t.Context(), parse(t, example(t)), levels))

	p, _ := r.Product(product)
	if want := (logbridge.Product{ID: product, Secret: secret, TimeZone: "Asia/Shanghai"}); p != want {
		t.Errorf("%v, want %v", p, want)
	}
	d, _ := r.Device(logbridge.DeviceID{Product: product, Device: "dev_01"})
	if d.PSK != psk || !maps.Equal(d.Tags, map[string]string{"site": "lab"}) {
		t.Errorf("%v", d)
	}
	if levels.of[product] != logbridge.LevelError {
		t.Error("no level")
	}
	if p, ok := r.ProjectByHost("logs.example.com"); !ok || p.Name != "myproj" {
		t.Error("no host")
	}
	if k, err := r.AccessKey("LTAItestkey"); err != nil || k.Secret != "secret" || k.Project != "myproj" {
		t.Errorf("%v, %v", k, err)
	}
	if s, err := r.Logstore("myproj", "mystore"); err != nil || !s.WebTracking || len(s.Origins) != 1 {
		t.Errorf("%v, %v", s, err)
	}
	if c, err := r.CLSTopic("topic-1"); err != nil || !c.AnonymousWrite {
		t.Errorf("%v, %v", c, err)
	}
	if k, err := r.TopicKey("topic-1", "AKIDtestkey"); err != nil || k.Secret != "secret" {
		t.Errorf("%v, %v", k, err)
	}

	// The same again, after a restart too, writes nothing.
	before := revisions(t, r)
	must(t, r.Provision(t.Context(), parse(t, example(t)), levels))
	end(n)
	r = open(t, start(t, dir))
	must(t, r.Provision(t.Context(), parse(t, example(t)), levels))
	if after := revisions(t, r); after != before {
		t.Errorf("revisions %s, want %s", after, before)
	}
	if levels.calls != 1 {
		t.Errorf("the level was set %d times", levels.calls)
	}
}

// revisions is the number of writes there have been to both buckets.
func revisions(t *testing.T, r *Registry) string {
	t.Helper()
	var out []string
	for _, name := range []string{bucket, provisionBucket} {
		s, err := r.node.JetStream().Stream(t.Context(), "KV_"+name)
		must(t, err)
		out = append(out, fmt.Sprint(s.CachedInfo().State.LastSeq))
	}
	return strings.Join(out, " ")
}

// TestOperatorAndYAML is the rule: what the operator changed stays; what he did not touch follows the YAML.
func TestOperatorAndYAML(t *testing.T) {
	const operatorPSK, yamlPSK = "b3BlcmF0b3Itb3BlcmF0bw==", "eWFtbC15YW1sLXlhbWwteQ=="
	dir := t.TempDir()
	n := start(t, dir)
	r := open(t, n)
	ctx := t.Context()
	levels := &bases{of: map[string]logbridge.Level{}}
	must(t, r.Provision(ctx, parse(t, example(t)), levels))

	// The operator changes a field of each.
	d, err := r.Device(logbridge.DeviceID{Product: product, Device: "dev_01"})
	must(t, err)
	d.PSK = operatorPSK
	must(t, r.PutDevice(ctx, d))
	p, err := r.Product(product)
	must(t, err)
	p.Secret = "" // taken away is a change too
	must(t, r.PutProduct(ctx, p))
	levels.of[product] = logbridge.LevelInfo
	s, err := r.Logstore("myproj", "mystore")
	must(t, err)
	s.WebTracking = false
	must(t, r.PutLogstore(ctx, s))
	end(n)

	check := func(step string, r *Registry, wantZone, wantSite string, allow bool) {
		t.Helper()
		d, err := r.Device(d.ID)
		must(t, err)
		p, err := r.Product(product)
		must(t, err)
		s, err := r.Logstore("myproj", "mystore")
		must(t, err)
		if d.PSK != operatorPSK || p.Secret != "" || levels.of[product] != logbridge.LevelInfo || s.WebTracking {
			t.Errorf("%s: the operator's change is gone: %v %v %v %v", step, d.PSK, p.Secret, levels.of[product], s.WebTracking)
		}
		if p.TimeZone != wantZone || d.Tags["site"] != wantSite || p.AllowRegister != allow {
			t.Errorf("%s: zone %q, tags %v, register %v; want %q, %q, %v", step, p.TimeZone, d.Tags, p.AllowRegister, wantZone, wantSite, allow)
		}
	}
	n = start(t, dir)
	r = open(t, n)
	must(t, r.Provision(ctx, parse(t, example(t)), levels))
	check("same YAML", r, "Asia/Shanghai", "lab", false)

	changed := strings.NewReplacer("Asia/Shanghai", "Europe/Berlin", "site: lab", "site: field", psk, yamlPSK, "level: error", "level: warn",
		"allow_register: false", "allow_register: true", secret, "YETANOTHERSECRET0123456").Replace(example(t))
	must(t, r.Provision(ctx, parse(t, changed), levels))
	check("changed YAML", r, "Europe/Berlin", "field", true)

	// What the YAML says no more is left alone.
	must(t, r.Provision(ctx, Provision{Products: []ProvisionProduct{{ID: product}}}, levels))
	check("shorter YAML", r, "Europe/Berlin", "field", true)
	must(t, r.Provision(ctx, parse(t, example(t)), levels))
	check("back", r, "Asia/Shanghai", "lab", false)

	// When the operator agrees with the YAML again, the field follows it again.
	d.PSK = yamlPSK
	must(t, r.PutDevice(ctx, d))
	must(t, r.Provision(ctx, parse(t, changed), levels))
	must(t, r.Provision(ctx, parse(t, example(t)), levels))
	if d, _ := r.Device(d.ID); d.PSK != psk {
		t.Errorf("psk %q, want the YAML's", d.PSK)
	}
}

func TestProvisionWhatTheOperatorMade(t *testing.T) {
	r := open(t, start(t, t.TempDir()))
	ctx := t.Context()
	must(t, r.PutProduct(ctx, logbridge.Product{ID: product, TimeZone: "Europe/Berlin"}))
	levels := &bases{of: map[string]logbridge.Level{}}
	must(t, r.Provision(ctx, parse(t, example(t)), levels))
	p, _ := r.Product(product)
	if p.TimeZone != "Europe/Berlin" || p.Secret != secret || levels.of[product] != logbridge.LevelError {
		t.Errorf("only what was absent is to be set: %v %v", p, levels.of)
	}
	// A deleted device is absent as a whole and comes back.
	id := logbridge.DeviceID{Product: product, Device: "dev_01"}
	must(t, r.DeleteDevice(ctx, id))
	must(t, r.Provision(ctx, parse(t, example(t)), levels))
	if d, err := r.Device(id); err != nil || d.PSK != psk {
		t.Errorf("%v, %v", d, err)
	}
}

func TestProvisionedDeviceWithoutPSK(t *testing.T) {
	r := open(t, start(t, t.TempDir()))
	p := Provision{Products: []ProvisionProduct{{ID: product, Devices: []ProvisionDevice{{Name: "d"}}}}}
	must(t, r.Provision(t.Context(), p, nil))
	first, err := r.Device(device("d").ID)
	if err != nil || first.PSK == "" {
		t.Fatalf("%v, %v", first, err)
	}
	must(t, r.Provision(t.Context(), p, nil))
	if again, _ := r.Device(first.ID); again.PSK != first.PSK {
		t.Error("it got another psk the second time")
	}
	p.Products[0].Devices[0].PSK = psk
	must(t, r.Provision(t.Context(), p, nil))
	if named, _ := r.Device(first.ID); named.PSK != psk {
		t.Error("a psk that the YAML says later is not applied")
	}
}

func TestProvisionFaults(t *testing.T) {
	r := open(t, start(t, t.TempDir()))
	bad := logbridge.Level(9)
	err := r.Provision(t.Context(), Provision{
		Products: []ProvisionProduct{
			{ID: product, Devices: []ProvisionDevice{{Name: "a", PSK: psk}, {Name: "b"}, {Name: "c", PSK: "hush!", Tags: map[string]string{"": ""}}, {Name: "a"}}},
			{ID: "short", Secret: "hush", TimeZone: "Nowhere", Level: &bad, Devices: []ProvisionDevice{{Name: "fine"}, {Name: "not/fine"}}},
		},
		SLS: []ProvisionProject{
			{Project: "proj", Hosts: []string{"a.example.com"}, AccessKeys: []ProvisionAccessKey{{ID: "k"}}, Logstores: []ProvisionLogstore{{Name: "s"}}},
			{Project: "other", Hosts: []string{"A.example.com"}},
		},
		CLS: []ProvisionTopic{{Topic: "t", AccessKeys: []ProvisionAccessKey{{ID: "k"}}}},
	}, nil)
	wantKind(t, "faults", err, logbridge.ErrInvalid)
	text := fmt.Sprint(err)
	for _, where := range []string{"products[0].devices[2].psk: ", "products[0].devices[2].tags: ", "products[0].devices[3]: ", "at products[0].devices[0]",
		"products[1].id: ", "products[1].secret: ", "products[1].time_zone: ", "products[1].level: ", "products[1].devices[1].name: ",
		"sls[0].access_keys[0].secret: ", "sls[0].logstores[0].name: ", "sls[1]: ", "cls[0].topic: ", "cls[0].access_keys[0].secret: "} {
		if !strings.Contains(text, where) {
			t.Errorf("nothing about %q in\n%s", where, text)
		}
	}
	if n := strings.Count(text, "\n") + 1; n != 14 { // products[1].level is there twice
		t.Errorf("%d faults:\n%s", n, text)
	}
	if strings.Contains(text, "hush") {
		t.Error("a secret is told")
	}
	if len(r.Products()) > 0 || len(r.SLSProjects()) > 0 {
		t.Error("something was applied")
	}
}

// TestProvisionAsPeopleWrite reads values that YAML takes for numbers.
func TestProvisionAsPeopleWrite(t *testing.T) {
	p := parse(t, "provision: {products: [{id: 0123456789, level: 4, devices: [{name: 42, tags: {floor: 2}}]}]}")
	got := p.Products[0]
	if got.ID != "0123456789" || *got.Level != logbridge.LevelDebug || got.Devices[0].Name != "42" || got.Devices[0].Tags["floor"] != "2" {
		t.Errorf("%+v", got)
	}
}

func TestProvisionTellsWhatCouldNotBeStored(t *testing.T) {
	r := open(t, start(t, t.TempDir()))
	levels := &bases{of: map[string]logbridge.Level{}, fail: errors.New("disk is full")}
	err := r.Provision(t.Context(), parse(t, example(t)), levels)
	if err == nil || !strings.Contains(err.Error(), "products[0]: disk is full") {
		t.Errorf("%v", err)
	}
	levels.fail = nil
	must(t, r.Provision(t.Context(), parse(t, example(t)), levels))
	if levels.of[product] != logbridge.LevelError {
		t.Error("the level is not made good")
	}
}
