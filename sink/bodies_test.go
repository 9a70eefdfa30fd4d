package sink

import "testing"

func TestBodies(t *testing.T) {
	for n := 1; n <= maxGroup; n += max(n/7, 1) {
		b := takeBody(n)
		if c := cap(*b); len(*b) != 0 || c < n || c >= max(2*n, 512) {
			t.Errorf("for %d bytes: %d of %d", n, len(*b), c)
		}
		w := &waiting{upload: upload{body: append(*b, 1), room: b}}
		releaseBodies([]*waiting{w, {upload: upload{head: []byte{1}}}}) // the second is a report
		if w.body != nil || w.room != nil {
			t.Error("what was given back is still had")
		}
	}
}
