package natsd

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/logbridge/logbridge"
)

// TestServerIsFull: what an outside server has no room for is refused at once as something that may work later, what is there can be
// read, and once there is room again it is written.
func TestServerIsFull(t *testing.T) {
	srv := serve(t, &server.Options{JetStreamMaxStore: 1 << 20})
	n := startWith(t, Config{URL: "nats://" + srv.Addr().String(), SyncAlways: true, Replicas: 1})
	w := open(t, n)
	large := strings.Repeat("x", 60_000)
	put, err := 0, error(nil)
	for err == nil && put < 100 {
		if err = w.Put(t.Context(), fmt.Sprint("k", put), large); err == nil {
			put++
		}
	}
	if !errors.Is(err, logbridge.ErrUnavailable) || put < 5 || put == 100 {
		t.Fatalf("%d values were put, and then: %v", put, err)
	}
	if v, _ := open(t, n).Get("k0"); v == nil || *v != large {
		t.Error("what is there cannot be read")
	}
	if err := n.JetStream().DeleteStream(t.Context(), "KV_words"); err != nil { // as room is made on a server
		t.Fatal(err)
	}
	if err := open(t, n).Put(t.Context(), "after", large); err != nil {
		t.Error(err)
	}
}
