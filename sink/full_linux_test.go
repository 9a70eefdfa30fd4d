package sink

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// TestDiskFull fills a small disk to the last byte while uploads come in. They are refused as unavailable, reads go on,
// and when there is room again so do the uploads, without a restart; what was acknowledged is there once.
func TestDiskFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root may mount the small disk that this test fills")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=160m"); err != nil {
		t.Skipf("SKIPPED: no small disk can be mounted here: %v", err)
	}
	e := &env{t: t, dir: dir, cfg: Config{MemtableBytes: 1 << 20}}
	e.start()
	t.Cleanup(func() {
		e.stop()
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil { // segments may be open until they are collected
			t.Error(err)
		}
	})
	up := &uploads{e: e, acked: map[string]bool{}}
	stop := up.start(8)
	up.until(func() bool { return up.stored.Load() > 20_000 })
	ballast := filepath.Join(dir, "ballast")
	fill(t, ballast)
	refused := up.refused.Load()
	up.until(func() bool { return up.refused.Load() > refused+100 })
	if err := e.log.Ready(); !errors.Is(err, logbridge.ErrUnavailable) {
		t.Errorf("ready on a full disk: %v", err)
	}
	if got := e.query(logbridge.Query{Limit: 100}); len(got) != 100 {
		t.Errorf("%d records on a full disk", len(got))
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	stored := up.stored.Load()
	up.until(func() bool { return up.stored.Load() > stored+20_000 })
	stop()
	if err := e.log.Ready(); err != nil {
		t.Errorf("not ready with room on the disk: %v", err)
	}
	up.check()
	e.restart()
	up.check()
}

// fill writes until the disk has no byte left.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int{1 << 20, 4096, 1} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
}

// uploads are uploaders that go on whatever they are answered, and what became of what they sent.
type uploads struct {
	e               *env
	stored, refused atomic.Int64
	mu              sync.Mutex
	acked           map[string]bool
}

func (u *uploads) start(n int) (stop func()) {
	var all sync.WaitGroup
	var ended atomic.Bool
	for i := range n {
		all.Go(func() {
			for k := 0; !ended.Load(); k++ {
				u.send(fmt.Sprintf("uploader %d, upload %d", i, k))
			}
		})
	}
	return func() { ended.Store(true); all.Wait() }
}

// send appends ten lines.
func (u *uploads) send(text string) {
	var b logbridge.Batch
	for i := range 10 {
		b.Records = append(b.Records, line("dev", fmt.Sprint(text, ", line ", i)))
	}
	_, err := u.e.log.Append(u.e.t.Context(), b)
	if errors.Is(err, logbridge.ErrUnavailable) {
		u.refused.Add(1)
		time.Sleep(time.Millisecond) // as a sender does before it tries again
		return
	}
	if err != nil {
		u.e.t.Error(err)
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := range b.Records {
		u.acked[b.Records[i].Body] = true
	}
	u.stored.Add(int64(len(b.Records)))
}

// until polls, since what it waits for is a count.
func (u *uploads) until(enough func() bool) {
	u.e.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !enough(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			u.e.t.Fatalf("%d stored and %d refused after two minutes", u.stored.Load(), u.refused.Load())
		}
	}
}

// check finds everything that was acknowledged, once, and compares the ledger of this run.
func (u *uploads) check() {
	u.e.t.Helper()
	found := map[string]int{}
	for _, r := range u.e.query(logbridge.Query{}) {
		found[r.Body]++
	}
	missing, twice := 0, 0
	for body := range u.acked {
		if found[body] == 0 {
			missing++
		}
	}
	for _, n := range found {
		if n > 1 {
			twice++
		}
	}
	u.e.t.Logf("acknowledged %d, found %d, missing %d, twice %d, refused %d uploads", len(u.acked), len(found), missing, twice, u.refused.Load())
	if missing > 0 || twice > 0 || len(found) != len(u.acked) {
		u.e.t.Errorf("of %d acknowledged records %d are missing and %d are there twice; %d are there", len(u.acked), missing, twice, len(found))
	}
}
