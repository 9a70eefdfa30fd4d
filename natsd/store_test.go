package natsd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/natsd/natstest"
)

func TestMain(m *testing.M) { os.Exit(natstest.Run(m)) }

func start(t *testing.T, dir string) *Node {
	t.Helper()
	return startWith(t, Config{Dir: dir, URL: natstest.URL(t, dir), SyncAlways: true})
}

// embedded is start for tests that are about the embedded server.
func embedded(t *testing.T, dir string) *Node { return startWith(t, Config{Dir: dir}) }

func startWith(t *testing.T, cfg Config) *Node {
	t.Helper()
	n, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(n) })
	return n
}

// end shuts a node down; a second time does nothing.
func end(n *Node) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	n.Run(ctx)
}

// change is what Changed was called with.
type change struct {
	key, before, after string
}

// words is a table of strings, in which "bad" cannot be decoded.
type words struct {
	*Table[string, string]
	store   *Store
	changes chan change
}

func open(t *testing.T, n *Node) *words {
	t.Helper()
	s, err := OpenStore(t.Context(), n, "words", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	w := &words{store: s, changes: make(chan change, 10_000)}
	str := func(p *string) string {
		if p == nil {
			return ""
		}
		return *p
	}
	w.Table = NewTable(s, "word", Codec[string, string]{
		Names:   func(k string) []string { return []string{k} },
		Key:     func(n []string) (string, bool) { return strings.Join(n, ""), len(n) == 1 },
		Compare: strings.Compare,
		Encode:  func(_ string, v string) ([]byte, error) { return []byte(v), nil },
		Decode: func(_ string, b []byte) (string, error) {
			if string(b) == "bad" {
				return "", logbridge.ErrInvalid
			}
			return string(b), nil
		},
		Changed: func(k string, before, after *string, _ uint64) { w.changes <- change{k, str(before), str(after)} },
	})
	if err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

// follow runs the watch and gives a function that ends it.
func (w *words) follow(t *testing.T) func() {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.store.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func (w *words) want(t *testing.T, want ...change) {
	t.Helper()
	for _, c := range want {
		select {
		case got := <-w.changes:
			if got != c {
				t.Fatalf("change %q, want %q", got, c)
			}
		case <-t.Context().Done():
			t.Fatalf("no change, want %q", c)
		}
	}
}

func (w *words) list(after string) (out []string) {
	for k, v := range w.After(after) {
		out = append(out, k+"="+*v)
	}
	return out
}

func TestStoreReadsOwnWritesAndSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir)
	w := open(t, n)
	ctx := t.Context()
	for _, k := range []string{"b", "a:/*>.", "c"} {
		if err := w.Put(ctx, k, k+"1"); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Put(ctx, "b", "b2"); err != nil {
		t.Fatal(err)
	}
	if done, err := w.Delete(ctx, "c"); !done || err != nil {
		t.Fatal(done, err)
	}
	if done, err := w.Delete(ctx, "c"); done || err != nil {
		t.Fatal(done, err)
	}
	want := []string{"a:/*>.=a:/*>.1", "b=b2"}
	if got := w.list(""); !slices.Equal(got, want) || w.Len() != 2 {
		t.Errorf("%q, want %q", got, want)
	}
	w.want(t, change{"b", "", "b1"}, change{"a:/*>.", "", "a:/*>.1"}, change{"c", "", "c1"}, change{"b", "b1", "b2"}, change{"c", "c1", ""})
	end(n)

	w = open(t, start(t, dir))
	if got := w.list(""); !slices.Equal(got, want) {
		t.Errorf("after the restart %q, want %q", got, want)
	}
}

func TestWatchBringsWhatOthersWriteAndNothingTwice(t *testing.T) {
	n := start(t, t.TempDir())
	mine := open(t, n)
	theirs := open(t, n)
	ctx := t.Context()
	if err := theirs.Put(ctx, "before", "run"); err != nil { // between Load and Run
		t.Fatal(err)
	}
	stop := mine.follow(t)
	mine.want(t, change{"before", "", "run"})
	if err := mine.Put(ctx, "own", "1"); err != nil {
		t.Fatal(err)
	}
	if done, err := mine.Delete(ctx, "own"); !done || err != nil {
		t.Fatal(done, err)
	}
	if err := theirs.Put(ctx, "other", "1"); err != nil {
		t.Fatal(err)
	}
	// The watch brings everything in order, own writes too: these must not be told twice. A value that is gone before the watch
	// comes to it need not be told, since one value is kept for each key.
	mine.want(t, change{"own", "", "1"}, change{"own", "1", ""}, change{"other", "", "1"})
	if done, err := theirs.Delete(ctx, "other"); !done || err != nil {
		t.Fatal(done, err)
	}
	mine.want(t, change{"other", "1", ""})
	stop()
	if len(mine.changes) > 0 {
		t.Errorf("also told: %q", <-mine.changes)
	}
}

func TestDeleteIfLosesToANewerValue(t *testing.T) {
	n := start(t, t.TempDir())
	a, b := open(t, n), open(t, n)
	ctx := t.Context()
	if err := a.Put(ctx, "k", "1"); err != nil {
		t.Fatal(err)
	}
	_, revision := a.Get("k")
	if err := b.Put(ctx, "k", "2"); err != nil { // a does not watch and does not know
		t.Fatal(err)
	}
	if done, err := a.DeleteIf(ctx, "k", revision); done || err != nil {
		t.Fatalf("DeleteIf with an old revision: %v, %v", done, err)
	}
	if done, err := a.Delete(ctx, "k"); !done || err != nil {
		t.Fatalf("Delete: %v, %v", done, err)
	}
	if v, _ := a.Get("k"); v != nil {
		t.Errorf("after Delete: %q", *v)
	}
	if done, err := b.Delete(ctx, "k"); done || err != nil {
		t.Fatalf("Delete of what another deleted: %v, %v", done, err)
	}
	if v, _ := b.Get("k"); v != nil {
		t.Errorf("after Delete: %q", *v)
	}
}

// TestOlderEventNeverWins hands events to a table in every order: the newest decides.
func TestPutIfLosesToANewerValue(t *testing.T) {
	n := start(t, t.TempDir())
	a, b := open(t, n), open(t, n)
	ctx := t.Context()
	put := func(w *words, value string, revision uint64, want bool) uint64 {
		t.Helper()
		if done, err := w.PutIf(ctx, "k", value, revision); done != want || err != nil {
			t.Fatalf("put %s over revision %d: %v, %v", value, revision, done, err)
		}
		_, revision = w.Get("k")
		return revision
	}
	first := put(a, "1", 0, true)
	put(b, "2", 0, false) // it is there already, which b has not heard
	second := put(b, "2", first, true)
	put(a, "3", first, false)
	if done, err := b.DeleteIf(ctx, "k", second); !done || err != nil {
		t.Fatal(done, err)
	}
	put(a, "3", first, false)
	put(a, "3", second, false) // what was deleted does not come back
	if done, err := a.PutIf(ctx, "k", strings.Repeat("x", maxValue+1), 0); done || !errors.Is(err, logbridge.ErrTooLarge) {
		t.Errorf("a large value: %v, %v", done, err)
	}
}

func TestOlderEventNeverWins(t *testing.T) {
	events := []struct {
		value    string
		revision uint64
	}{{"1", 1}, {"2", 2}, {"", 3}, {"4", 4}}
	for range 200 {
		w := &Table[string, string]{items: map[string]*item[string, string]{}}
		w.index.compare = strings.Compare
		order := rand.Perm(len(events))
		last := 1 + rand.IntN(len(events))
		highest := 0
		for _, i := range order[:last] {
			e := events[i]
			v := &e.value
			if e.value == "" {
				v = nil
			}
			w.set("k", v, e.revision)
			highest = max(highest, i)
		}
		got, _ := w.Get("k")
		if want := events[highest].value; (got == nil) != (want == "") || got != nil && *got != want {
			t.Fatalf("order %v: not the newest", order[:last])
		}
	}
}

func TestUnreadableValueIsPassedOver(t *testing.T) {
	n := start(t, t.TempDir())
	w := open(t, n)
	ctx := t.Context()
	for key, value := range map[string]string{Key("word", "good"): "1", Key("word", "x"): "bad", "word.%%": "1", Key("word"): "1",
		Key("word", "a", "b"): "1", Key("newer", "kind"): "1"} {
		key = strings.ReplaceAll(key, "%", "=") // a key that is no base64url
		if _, err := w.store.KV().PutString(ctx, key, value); err != nil {
			t.Fatal(key, err)
		}
	}
	if got := open(t, n).list(""); !slices.Equal(got, []string{"good=1"}) {
		t.Errorf("%q", got)
	}
}

func TestTooLargeAndUnavailable(t *testing.T) {
	n := start(t, t.TempDir())
	w := open(t, n)
	if err := w.Put(t.Context(), "k", strings.Repeat("x", maxValue+1)); !errors.Is(err, logbridge.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Put(ctx, "k", "v"); !errors.Is(err, logbridge.ErrUnavailable) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestListingUnderChange compares the listing with a sorted map while values come and go, page by page.
func TestListingUnderChange(t *testing.T) {
	w := &Table[int, int]{items: map[int]*item[int, int]{}}
	w.index.compare = cmp.Compare[int]
	want := map[int]bool{}
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		for range r.IntN(40) {
			k := 1 + r.IntN(2000)
			_, revision := w.Get(k)
			revision++
			if r.IntN(3) > 0 {
				w.set(k, &k, revision)
				want[k] = true
			} else if want[k] {
				w.set(k, nil, revision)
				delete(want, k)
			}
		}
		after := r.IntN(2000)
		var got, sorted []int
		for k := range w.After(after) {
			got = append(got, k)
		}
		for k := range want {
			if k > after {
				sorted = append(sorted, k)
			}
		}
		slices.Sort(sorted)
		if !slices.Equal(got, sorted) || w.Len() != len(want) {
			t.Fatalf("round %d: %d listed, want %d; %d live, want %d", round, len(got), len(sorted), w.Len(), len(want))
		}
	}
}

// TestConcurrentWriters lets two stores write the same keys; both must end with what the bucket holds.
func TestConcurrentWriters(t *testing.T) {
	n := start(t, t.TempDir())
	stores := []*words{open(t, n), open(t, n)}
	stores[0].follow(t)
	stores[1].follow(t)
	var wg sync.WaitGroup
	for i, w := range stores {
		for j := range 4 {
			wg.Go(func() {
				for k := range 30 {
					key := fmt.Sprint("k", k%5)
					if k%4 == 3 {
						if _, err := w.Delete(t.Context(), key); err != nil {
							t.Error(err)
						}
					} else if err := w.Put(t.Context(), key, fmt.Sprint(i, j, k)); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	for _, w := range stores { // a last word that both hear, after all the others
		if err := w.Put(t.Context(), "end", "x"); err != nil {
			t.Fatal(err)
		}
	}
	truth := open(t, n)
	_, last := truth.Get("end")
	for _, w := range stores {
		for _, revision := w.Get("end"); revision < last; _, revision = w.Get("end") {
			<-w.changes
		}
		for k := range 5 {
			key := fmt.Sprint("k", k)
			got, _ := w.Get(key)
			want, _ := truth.Get(key)
			if (got == nil) != (want == nil) || got != nil && *got != *want {
				t.Errorf("%s differs from the bucket", key)
			}
		}
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add(".\r000") // found: line breaks in base64
	f.Add("device.QUJDREUxMjM0NQ.ZGV2XzAx")
	f.Add("level")
	f.Add("x..y")
	f.Add("x.QQ==")
	f.Fuzz(func(t *testing.T, key string) {
		kind, names, err := ParseKey(key)
		if err == nil && Key(kind, names...) != key {
			t.Errorf("%q reads as %q %q", key, kind, names)
		}
	})
}
