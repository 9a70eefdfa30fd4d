package httpapi

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/logbridge/logbridge"
)

// Requests use each other's memory, one after the other: what is sent at the same time, in any mix of sizes and surfaces and beside requests
// that are refused, is stored as it was sent, once.
func TestManyPagesAtOnce(t *testing.T) {
	w := start(t)
	const senders, requests = 8, 30
	sizes := [...]int{1, 10, 3, 40}
	events := func(name string, n int) (list []string) {
		for i := range n {
			e := fmt.Sprintf("%s-%d", name, i)
			list = append(list, fmt.Sprintf(`{"a":%[1]q,"b":%[1]q,"c":"\u0063-%[1]s"}`, e))
		}
		return list
	}
	sent := 0
	var wg sync.WaitGroup
	for s := range senders {
		for r := range requests {
			sent += sizes[(s+r)%len(sizes)]
		}
		wg.Go(func() {
			for r := range requests {
				list := events(fmt.Sprintf("%d-%d", s, r), sizes[(s+r)%len(sizes)])
				path, body := trackPath, `{"__logs__":[`+strings.Join(list, ",")+`],"__topic__":"t","__source__":"s"}`
				if r%3 == 0 {
					path, body = "/tracklog?topic_id=topic-1", `{"logs":[{"time":1,"contents":`+strings.Join(list, `},{"time":1,"contents":`)+`}],"source":"s"}`
				}
				if a := w.send("POST", path, body); a.StatusCode != http.StatusOK {
					t.Errorf("%d %s", a.StatusCode, a.body)
				}
				if a := w.send("POST", trackPath, body+"}"); a.StatusCode != http.StatusBadRequest {
					t.Errorf("%d %s", a.StatusCode, a.body)
				}
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, r := range w.records(logbridge.Query{}) {
		said := map[string]string{}
		for _, a := range r.Attributes {
			said[a.Key] = a.Value
		}
		a := said["a"]
		if said["b"] != a || said["c"] != "c-"+a || said["__source__"] != "s" || seen[a] {
			t.Errorf("%v, seen before: %t", r.Attributes, seen[a])
		}
		seen[a] = true
	}
	if len(seen) != sent {
		t.Errorf("%d events are stored of %d", len(seen), sent)
	}
}
