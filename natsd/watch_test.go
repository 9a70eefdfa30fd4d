package natsd

import (
	"errors"
	"testing"

	"github.com/logbridge/logbridge/natsd/natstest"
)

// TestWhenAWatchIsGivenUp goes through what the looks at a bucket may find, one after the other.
func TestWhenAWatchIsGivenUp(t *testing.T) {
	type look struct {
		read, there uint64
		all         bool
		want        error
	}
	for name, row := range map[string]struct {
		began uint64
		looks []look
		gap   uint64
	}{
		"nothing new":                  {5, []look{{5, 5, true, nil}, {5, 5, true, nil}}, 0},
		"it comes in time":             {5, []look{{5, 6, true, nil}, {6, 6, true, nil}}, 0},
		"slow, but it comes":           {5, []look{{6, 90, true, nil}, {7, 95, true, nil}, {8, 99, true, nil}}, 0},
		"lost":                         {5, []look{{6, 6, true, nil}, {6, 7, true, nil}, {6, 7, true, errBehind}}, 0},
		"lost at the beginning":        {5, []look{{5, 7, false, nil}, {5, 7, false, errBehind}}, 0},
		"new since the last look only": {5, []look{{6, 6, true, nil}, {6, 9, true, nil}, {9, 9, true, nil}}, 0},
		"the end was compacted away":   {5, []look{{5, 7, true, nil}, {5, 7, true, nil}, {5, 7, true, nil}}, 7},
		"and then there is something":  {5, []look{{5, 7, true, nil}, {5, 7, true, nil}, {5, 8, true, nil}, {8, 8, true, nil}}, 7},
		"and then something is lost":   {5, []look{{5, 7, true, nil}, {5, 7, true, nil}, {8, 8, true, nil}, {8, 9, true, nil}, {8, 9, true, errBehind}}, 7},
		"an old leader knows less":     {5, []look{{9, 7, true, nil}, {9, 7, true, nil}, {9, 9, true, nil}}, 0},
	} {
		s := &Store{}
		p := progress{began: row.began}
		for i, l := range row.looks {
			s.last.Store(l.read)
			if err := s.compare(&p, l.there, l.all); !errors.Is(err, l.want) {
				t.Errorf("%s: look %d: %v, want %v", name, i, err, l.want)
			}
		}
		if s.gap != row.gap {
			t.Errorf("%s: the gap reaches to %d, want %d", name, s.gap, row.gap)
		}
	}
	s, p := &Store{}, progress{}
	s.last.Store(100)
	var err error
	looks := 0
	for ; err == nil && looks < 100; looks++ {
		err = s.compare(&p, 3, true)
	}
	if !errors.Is(err, errReplaced) || looks != replacedAfter {
		t.Errorf("another bucket: %v after %d looks", err, looks)
	}
}

// TestWatchLosesItsConsumer: the server forgets it, as when it is killed, and says nothing; what is written then comes all the same.
func TestWatchLosesItsConsumer(t *testing.T) {
	dir := t.TempDir()
	if natstest.URL(t, dir) == "" {
		return // a server in this process forgets nothing
	}
	n := start(t, dir)
	w, other := open(t, n), open(t, n)
	w.follow(t)
	if err := other.Put(t.Context(), "a", "1"); err != nil {
		t.Fatal(err)
	}
	w.want(t, change{"a", "", "1"})
	s, err := n.JetStream().Stream(t.Context(), "KV_words")
	if err != nil {
		t.Fatal(err)
	}
	names := s.ConsumerNames(t.Context())
	lost := 0
	for name := range names.Name() {
		if err := s.DeleteConsumer(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		lost++
	}
	if lost == 0 || names.Err() != nil {
		t.Fatalf("%d consumers, %v", lost, names.Err())
	}
	if err := other.Put(t.Context(), "a", "2"); err != nil {
		t.Fatal(err)
	}
	w.want(t, change{"a", "1", "2"})
}
