package registry

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/natsd"
	"github.com/logbridge/logbridge/natsd/natstest"
)

const (
	product = "ABCDE12345"
	psk     = "bXktMTYtYnl0ZS1rZXkhIQ=="
	secret  = "PRODUCTSECRET0123456789A"
)

var testKey = SealKey{1, 2, 3}

func TestMain(m *testing.M) { os.Exit(natstest.Run(m)) }

// start is a node: embedded, and in the second round of the tests on the cluster.
func start(t testing.TB, dir string) *natsd.Node {
	t.Helper()
	n, err := natsd.New(natsd.Config{Dir: dir, URL: natstest.URL(t, dir), SyncAlways: true}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(n) })
	return n
}

// end shuts a node down; a second time does nothing.
func end(n *natsd.Node) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	n.Run(ctx)
}

func open(t testing.TB, n *natsd.Node) *Registry {
	t.Helper()
	r, err := New(t.Context(), n, testKey, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantKind(t *testing.T, what string, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: %v, want %v", what, err, kind)
	}
}

func device(name string) logbridge.Device {
	return logbridge.Device{ID: logbridge.DeviceID{Product: product, Device: name}, PSK: psk, Tags: map[string]string{"site": "lab"}}
}

// fill registers one of each.
func fill(t testing.TB, r *Registry) {
	t.Helper()
	ctx := t.Context()
	must(t, r.PutProduct(ctx, logbridge.Product{ID: product, Secret: secret, AllowRegister: true, TimeZone: "Asia/Shanghai"}))
	must(t, r.PutDevice(ctx, device("dev:01")))
	must(t, r.PutSLSProject(ctx, logbridge.SLSProject{Name: "myproj", Hosts: []string{"127.0.0.1", "Logs.Example.com"}}))
	must(t, r.PutLogstore(ctx, logbridge.Logstore{Project: "myproj", Name: "mystore", WebTracking: true, Origins: []string{"*"}, WebRules: someRules()}))
	must(t, r.PutAccessKey(ctx, logbridge.AccessKey{Project: "myproj", ID: "LTAItestkey", Secret: "testAccessKeySecretValue"}))
	must(t, r.PutCLSTopic(ctx, logbridge.CLSTopic{ID: "topic-1", AnonymousWrite: true}))
	must(t, r.PutTopicKey(ctx, logbridge.TopicKey{Topic: "topic-1", ID: "AKIDtestkey", Secret: "testTopicKeySecretValue"}))
}

// content is everything a registry holds, as text, to compare.
func content(r *Registry) string {
	return fmt.Sprintf("%v %v %v %v %v %v %v %v", r.Products(), slices.Collect(r.Devices("")), r.SLSProjects(),
		r.Logstores("myproj"), r.AccessKeys("myproj"), r.CLSTopics(), r.TopicKeys("topic-1"), r.Tokens())
}

func TestEverythingSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir)
	r := open(t, n)
	fill(t, r)
	_, plain, err := r.CreateToken(t.Context(), "grafana", logbridge.RoleViewer, noEnd)
	must(t, err)
	d, err := r.Device(device("dev:01").ID)
	must(t, err)
	if d.PSK != psk || d.Tags["site"] != "lab" {
		t.Errorf("device %v", d)
	}
	before := content(r)
	end(n)

	r = open(t, start(t, dir))
	if after := content(r); after != before {
		t.Errorf("after the restart\n%s\nwant\n%s", after, before)
	}
	if who, err := r.Authenticate(plain); err != nil || who.Name != "grafana" {
		t.Errorf("token after the restart: %v, %v", who, err)
	}
}

// TestNoSecretInTheDataFolder looks for each secret, as it is and in the encodings it could be in, in the raw files.
func TestNoSecretInTheDataFolder(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir)
	r := open(t, n)
	fill(t, r)
	_, token, err := r.CreateToken(t.Context(), "grafana", logbridge.RoleAdmin, noEnd)
	must(t, err)
	must(t, r.Provision(t.Context(), Provision{
		Products: []ProvisionProduct{{ID: "FGHIJ67890", Secret: "ANOTHERSECRET0123456789A", Devices: []ProvisionDevice{{Name: "d", PSK: "c2VjcmV0LXNlY3JldC1zZQ=="}}}},
		SLS:      []ProvisionProject{{Project: "other", AccessKeys: []ProvisionAccessKey{{ID: "LTAI2", Secret: "anotherAccessKeySecretValue"}}}},
		CLS:      []ProvisionTopic{{Topic: "other", AccessKeys: []ProvisionAccessKey{{ID: "AKID2", Secret: "anotherTopicKeySecretValue"}}}},
	}, nil))
	temporary, err := r.IssueTemporaryKey(t.Context(), "myproj", "mystore", 0)
	must(t, err)
	root, _ := r.temporary.Get(temporaryRoot)
	end(n)

	var raw []byte
	must(t, filepath.WalkDir(natstest.Folder(dir), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			var b []byte
			b, err = os.ReadFile(path)
			raw = append(raw, b...)
		}
		if errors.Is(err, fs.ErrNotExist) { // servers of a cluster run on, and write their indexes anew
			return nil
		}
		return err
	}))
	for _, public := range []string{"grafana", "Asia/Shanghai", "myproj"} { // proves that the search would find something
		if !bytes.Contains(raw, []byte(public)) {
			t.Errorf("%q is not in the data folder: the search looks at the wrong files", public)
		}
	}
	for _, s := range []string{psk, secret, "testAccessKeySecretValue", "testTopicKeySecretValue", "anotherTopicKeySecretValue", "ANOTHERSECRET0123456789A", "c2VjcmV0LXNlY3JldC1zZQ==",
		"anotherAccessKeySecretValue", writeToken, *root, temporary.Secret, temporary.Token, token, strings.TrimPrefix(token, tokenPrefix), string(testKey[:])} {
		for _, form := range encodings(s) {
			if bytes.Contains(raw, form) {
				t.Errorf("the secret %q is in the data folder as %q", s, form)
			}
		}
	}
}

// encodings gives a secret as it is, in hexadecimal, and as it looks inside of base64 text, whatever stands before it.
func encodings(s string) [][]byte {
	forms := [][]byte{[]byte(s), []byte(hex.EncodeToString([]byte(s)))}
	for before := range 3 {
		for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := e.EncodeToString(append(make([]byte, before), s...))
			forms = append(forms, []byte(text[(before*8+5)/6:len(text)-1])) // without the characters it shares with its neighbours
		}
	}
	return forms
}

func TestWrongSealKey(t *testing.T) {
	n := start(t, t.TempDir())
	fill(t, open(t, n))
	_, err := New(t.Context(), n, SealKey{9}, slog.New(slog.DiscardHandler))
	wantKind(t, "another key", err, logbridge.ErrInvalid)
	if err == nil || !strings.Contains(err.Error(), "not the one that the secrets in the data folder were sealed with") || strings.Contains(err.Error(), "\n") {
		t.Errorf("not one clear sentence: %v", err)
	}
	_, err = New(t.Context(), n, SealKey{}, slog.New(slog.DiscardHandler))
	wantKind(t, "no key", err, logbridge.ErrInvalid)
}

// TestSealedValueCannotBeMoved gives one device the stored value of another, as an intruder with a copy might.
func TestSealedValueCannotBeMoved(t *testing.T) {
	n := start(t, t.TempDir())
	r := open(t, n)
	fill(t, r)
	ctx := t.Context()
	kv := r.store.KV()
	e, err := kv.Get(ctx, natsd.Key(kindDevice, product, "dev:01"))
	must(t, err)
	_, err = kv.Put(ctx, natsd.Key(kindDevice, product, "dev02"), e.Value())
	must(t, err)
	r = open(t, n)
	if d, err := r.Device(logbridge.DeviceID{Product: product, Device: "dev02"}); err == nil {
		t.Errorf("the moved secret opened: %v", d.ID)
	}
	_, err = r.Device(device("dev:01").ID)
	must(t, err)
}

func TestAnotherRegistryHearsOfEverything(t *testing.T) {
	n := start(t, t.TempDir())
	writer, reader := open(t, n), open(t, n)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- reader.Run(ctx) }()
	fill(t, writer)
	must(t, writer.PutCLSTopic(t.Context(), logbridge.CLSTopic{ID: "last"}))
	eventually(t, func() bool { _, err := reader.CLSTopic("last"); return err == nil })
	if got, want := content(reader), content(writer); got != want {
		t.Errorf("heard\n%s\nwant\n%s", got, want)
	}
	if p, ok := reader.ProjectByHost("logs.example.com:8080"); !ok || p.Name != "myproj" {
		t.Error("the host is not known to the other")
	}
	must(t, writer.DeleteDevice(t.Context(), device("dev:01").ID))
	eventually(t, func() bool { _, err := reader.Device(device("dev:01").ID); return err != nil })
	cancel()
	must(t, <-done)
}

// eventually lets others work until ok, for a minute at most.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(deadline) {
			t.Fatal("it never came")
		}
		runtime.Gosched()
	}
}

func TestFamilies(t *testing.T) {
	r := open(t, start(t, t.TempDir()))
	ctx := t.Context()
	wantKind(t, "device of no product", r.PutDevice(ctx, device("d")), logbridge.ErrNotFound)
	wantKind(t, "logstore of no project", r.PutLogstore(ctx, logbridge.Logstore{Project: "myproj", Name: "mystore"}), logbridge.ErrNotFound)
	wantKind(t, "key of no project", r.PutAccessKey(ctx, logbridge.AccessKey{Project: "myproj", ID: "id", Secret: "s"}), logbridge.ErrNotFound)
	wantKind(t, "key of no topic", r.PutTopicKey(ctx, logbridge.TopicKey{Topic: "topic-1", ID: "id", Secret: "s"}), logbridge.ErrNotFound)
	fill(t, r)
	err := r.DeleteProduct(ctx, product)
	wantKind(t, "product with devices", err, logbridge.ErrInvalid)
	if err != nil && !strings.Contains(err.Error(), "still has a device") {
		t.Errorf("does not say how many: %v", err)
	}
	wantKind(t, "project with stores", r.DeleteSLSProject(ctx, "myproj"), logbridge.ErrInvalid)
	must(t, r.PutSLSProject(ctx, logbridge.SLSProject{Name: "second", Hosts: []string{"b.example.com"}}))
	wantKind(t, "host of another", r.PutSLSProject(ctx, logbridge.SLSProject{Name: "third", Hosts: []string{"B.example.com"}}), logbridge.ErrInvalid)
	wantKind(t, "key of another", r.PutAccessKey(ctx, logbridge.AccessKey{Project: "second", ID: "LTAItestkey", Secret: "s"}), logbridge.ErrInvalid)

	must(t, r.DeleteDevice(ctx, device("dev:01").ID))
	wantKind(t, "device twice", r.DeleteDevice(ctx, device("dev:01").ID), logbridge.ErrNotFound)
	must(t, r.DeleteProduct(ctx, product))
	must(t, r.DeleteLogstore(ctx, "myproj", "mystore"))
	must(t, r.DeleteAccessKey(ctx, "LTAItestkey"))
	must(t, r.DeleteSLSProject(ctx, "myproj"))
	wantKind(t, "topic with keys", r.DeleteCLSTopic(ctx, "topic-1"), logbridge.ErrInvalid)
	must(t, r.PutCLSTopic(ctx, logbridge.CLSTopic{ID: "topic-2"}))
	must(t, r.PutTopicKey(ctx, logbridge.TopicKey{Topic: "topic-2", ID: "AKIDtestkey", Secret: "another"}))
	if k, err := r.TopicKey("topic-1", "AKIDtestkey"); err != nil || k.Secret != "testTopicKeySecretValue" || len(r.TopicKeys("topic-1")) != 1 {
		t.Errorf("the key of the same id of another topic: %+v, %v, %d keys", k, err, len(r.TopicKeys("topic-1")))
	}
	must(t, r.DeleteTopicKey(ctx, "topic-1", "AKIDtestkey"))
	wantKind(t, "topic key twice", r.DeleteTopicKey(ctx, "topic-1", "AKIDtestkey"), logbridge.ErrNotFound)
	must(t, r.DeleteCLSTopic(ctx, "topic-1"))
	if _, ok := r.ProjectByHost("127.0.0.1"); ok {
		t.Error("a deleted project still has its host")
	}
}

// TestFamilyRace adds devices while the product is being deleted: no device without a product may remain.
func TestFamilyRace(t *testing.T) {
	r := open(t, start(t, t.TempDir()))
	ctx := t.Context()
	for round := range 20 {
		must(t, r.PutProduct(ctx, logbridge.Product{ID: product}))
		var wg sync.WaitGroup
		wg.Go(func() { r.PutDevice(ctx, device("d")) })
		wg.Go(func() { r.DeleteProduct(ctx, product) })
		wg.Wait()
		_, noProduct := r.Product(product)
		_, noDevice := r.Device(device("d").ID)
		if noProduct != nil && noDevice == nil {
			t.Fatalf("round %d: a device without its product", round)
		}
		r.DeleteDevice(ctx, device("d").ID)
		r.DeleteProduct(ctx, product)
	}
}

func TestDevicesByPages(t *testing.T) {
	r := open(t, start(t, t.TempDir()))
	ctx := t.Context()
	var want []string
	for _, p := range []string{"AAAAAAAAAA", "BBBBBBBBBB"} {
		must(t, r.PutProduct(ctx, logbridge.Product{ID: p}))
		for i := range 5 {
			name := fmt.Sprintf("d%d", 4-i)
			must(t, r.PutDevice(ctx, logbridge.Device{ID: logbridge.DeviceID{Product: p, Device: name}, PSK: psk}))
			want = append(want, p+"/"+name)
		}
	}
	slices.Sort(want)
	var all []string
	for d := range r.Devices("") {
		all = append(all, d.ID.String())
	}
	if !slices.Equal(all, want) {
		t.Errorf("all: %q, want %q", all, want)
	}
	var b []string
	after := logbridge.DeviceID{}
	for page := -1; page != 0; { // two at a time
		page = 0
		for d := range r.DevicesAfter("BBBBBBBBBB", after) {
			b = append(b, d.ID.String())
			after = d.ID
			if page++; page == 2 {
				break
			}
		}
	}
	if !slices.Equal(b, want[5:]) {
		t.Errorf("by pages: %q, want %q", b, want[5:])
	}
}

func TestProjectByHost(t *testing.T) {
	r := open(t, start(t, t.TempDir()))
	ctx := t.Context()
	must(t, r.PutSLSProject(ctx, logbridge.SLSProject{Name: "myproj", Hosts: []string{"127.0.0.1", "Logs.Example.com", "::1", "other.example.com"}}))
	must(t, r.PutSLSProject(ctx, logbridge.SLSProject{Name: "other"}))
	must(t, r.PutSLSProject(ctx, logbridge.SLSProject{Name: "Upper"}))
	for host, want := range map[string]string{
		"127.0.0.1": "myproj", "127.0.0.1:8080": "myproj", "logs.example.com": "myproj", "LOGS.example.com.:443": "myproj",
		"[::1]:8080": "myproj", "[::1]": "myproj", "myproj.cn-hangzhou.log.aliyuncs.com": "myproj", "MyProj.localhost:80": "myproj",
		"other.example.com": "myproj", "other.example.org": "other", "Upper.example.com": "Upper",
		"localhost": "", "myproj": "", "": "", "unknown.example.com": "", "10.0.0.1": "",
	} {
		p, ok := r.ProjectByHost(host)
		if p.Name != want || ok != (want != "") {
			t.Errorf("%q means %q, want %q", host, p.Name, want)
		}
	}
}

func TestBulk(t *testing.T) {
	r := open(t, start(t, t.TempDir()))
	must(t, r.PutProduct(t.Context(), logbridge.Product{ID: product}))
	var wg sync.WaitGroup
	const workers, each = 8, 50
	for i := range workers {
		wg.Go(func() {
			for j := range each {
				d := device(fmt.Sprintf("d%d-%d", i, j))
				if err := r.PutDevice(t.Context(), d); err != nil {
					t.Error(err)
				} else if _, err := r.Device(d.ID); err != nil {
					t.Errorf("own write not read: %v", err)
				}
			}
		})
	}
	wg.Wait()
	n := 0
	for range r.Devices(product) {
		n++
	}
	if n != workers*each {
		t.Errorf("%d devices, want %d", n, workers*each)
	}
}

func BenchmarkDevice(b *testing.B) {
	r := open(b, start(b, b.TempDir()))
	fill(b, r)
	id := device("dev:01").ID
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Device(id); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPutDevice(b *testing.B) {
	r := open(b, start(b, b.TempDir()))
	fill(b, r)
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := r.PutDevice(b.Context(), device("dev:01")); err != nil {
				b.Error(err)
			}
		}
	})
}
