package natsd

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"
)

// openSockets lists the listening TCP sockets of this process's network namespace as the kernel shows them.
func openSockets(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	for _, file := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Skipf("no %s on this system: %v", file, err)
		}
		for _, line := range strings.Split(string(b), "\n")[1:] {
			f := strings.Fields(line)
			const inode, state, listen = 9, 3, "0A"
			if len(f) > inode && f[state] == listen {
				found[f[inode]] = true
			}
		}
	}
	return found
}

// ownSockets keeps those that this process holds.
func ownSockets(t *testing.T) int {
	t.Helper()
	listening := openSockets(t)
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, fd := range fds {
		link, _ := os.Readlink("/proc/self/fd/" + fd.Name())
		inode, ok := strings.CutPrefix(link, "socket:[")
		if ok && listening[strings.TrimSuffix(inode, "]")] {
			n++
		}
	}
	return n
}

func TestOpensNoPortAndKeepsValues(t *testing.T) {
	dir := t.TempDir()
	before := ownSockets(t)
	for round := range 2 {
		n, err := New(Config{Dir: dir}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if got := ownSockets(t); got != before {
			t.Errorf("listening sockets: %d with the server, %d without", got, before)
		}
		kv, err := n.Bucket(t.Context(), "test")
		if err != nil {
			t.Fatal(err)
		}
		if round == 0 {
			_, err = kv.PutString(t.Context(), "key", "value")
		} else {
			var e interface{ Value() []byte }
			e, err = kv.Get(t.Context(), "key")
			if err == nil && string(e.Value()) != "value" {
				t.Errorf("value %q after the restart", e.Value())
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := n.Run(ctx); err != nil {
			t.Fatal(err)
		}
	}
}
