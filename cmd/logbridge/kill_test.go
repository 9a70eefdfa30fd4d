package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
)

// killRounds, each with its own random moment. In the last one the server is asked to end, which loses no more.
const killRounds = 5

// A round ends after so many answers: enough that each of them fills a segment, at a moment within it that is random.
const leastAnswers, moreAnswers = 250, 250

// witness knows every line that was sent and every line that was acknowledged.
type witness struct {
	mu    sync.Mutex
	sent  map[string]bool
	acked map[string]bool
	// answers yet to come until enough is closed.
	answers int
	enough  chan struct{}
	// torn are uploads whose answer never came; they are sent again, byte for byte.
	torn []upload
}

func (w *witness) note(list *map[string]bool, lines ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range lines {
		(*list)[l] = true
	}
}

// acknowledged is note for the lines of one answer.
func (w *witness) acknowledged(lines ...string) {
	w.note(&w.acked, lines...)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.answers--; w.answers == 0 {
		close(w.enough)
	}
}

// batch makes a few lines that no one else sends.
func (w *witness) batch(who string, round, n int) []string {
	lines := make([]string, 1+n%4)
	for i := range lines {
		lines[i] = fmt.Sprintf("%s-%d-%d-%d", who, round, n, i)
	}
	w.note(&w.sent, lines...)
	return lines
}

// loops upload over every surface until the server is gone. They return when all of them have noticed.
func (w *witness) loops(s *process, round int) *sync.WaitGroup {
	client := &http.Client{Timeout: patience}
	var all sync.WaitGroup
	until := func(who string, send func(n int, lines []string) error) {
		all.Go(func() {
			for n := 0; ; n++ {
				lines := w.batch(who, round, n)
				if send(n, lines) != nil {
					return
				}
				w.acknowledged(lines...)
			}
		})
	}
	url := s.url()
	for _, name := range []string{"http-a", "http-b", "http-c"} {
		until(name, func(n int, lines []string) error {
			u, err := newUpload(device("dev_02"), fmt.Sprintf("%s%d%d", name, round, n), prefixed(lines)...)
			if err != nil {
				return err
			}
			if err = u.send(client, url); err != nil {
				w.mu.Lock()
				w.torn = append(w.torn, u)
				w.mu.Unlock()
			}
			return err
		})
	}
	until("sls", func(_ int, lines []string) error { return track(client, url, lines...) })
	until("cls", func(_ int, lines []string) error {
		for _, l := range lines {
			if err := trackCLS(client, url, l); err != nil {
				return err
			}
			w.note(&w.acked, l)
		}
		return nil
	})
	dev := s.dial(device("dev_01"))
	for _, name := range []string{"mqtt-a", "mqtt-b"} {
		until(name, func(_ int, lines []string) error {
			token := dev.client.Publish(tencent.ReportTopic(dev.id), 1, false, strings.Join(prefixed(lines), "\n"))
			if !token.WaitTimeout(patience) {
				return fmt.Errorf("no answer")
			}
			return token.Error()
		})
	}
	return &all
}

func prefixed(lines []string) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = "INF|2026-11-21 10:55:44|kill.c|" + l
	}
	return out
}

// TestKillLosesNothing kills the server at random moments while every surface uploads. After each restart every
// acknowledged line must be there exactly once, and no line twice, replays of torn uploads included.
func TestKillLosesNothing(t *testing.T) {
	// Segments are small, so that many are written, renamed and dropped from the commit log while the server is killed.
	home := newPlace(t, e2eConfig+"memtable_bytes: 65536\n")
	w := &witness{sent: map[string]bool{}, acked: map[string]bool{}}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for round := range killRounds {
		s := home.start(anyone, anyone)
		w.check(t, s)
		w.answers, w.enough = leastAnswers+random.IntN(moreAnswers), make(chan struct{})
		all := w.loops(s, round)
		select {
		case <-w.enough:
		case <-time.After(patience):
			t.Fatalf("round %d: the answers do not come", round)
		}
		signal := syscall.SIGKILL
		if round == killRounds-1 {
			signal = syscall.SIGTERM
		}
		if code := s.stop(signal); signal == syscall.SIGTERM && code != exitOK {
			t.Errorf("exit code %d after SIGTERM under load:\n%s", code, s.output())
		}
		all.Wait()
	}
	s := home.start(anyone, anyone)
	w.check(t, s)
	for _, u := range w.torn {
		if err := u.send(&http.Client{Timeout: patience}, s.url()); err != nil {
			t.Errorf("replay of a torn upload: %v", err)
		}
	}
	stored := w.check(t, s)
	for _, u := range w.torn {
		for line := range w.sent {
			if strings.Contains(string(u.body), line+`"`) && stored[line] != 1 {
				t.Errorf("replayed line %s is stored %d times", line, stored[line])
			}
		}
	}
	segments, err := filepath.Glob(filepath.Join(home.dir, "data", "segments", "*.parquet"))
	if err != nil || len(segments) < killRounds {
		t.Errorf("only %d segments were written: %v", len(segments), err)
	}
	t.Logf("%d segments, %d lines sent, %d acknowledged, %d stored, %d torn uploads replayed", len(segments), len(w.sent), len(w.acked), len(stored), len(w.torn))
	if len(w.acked) < 100*killRounds/5 {
		t.Errorf("only %d lines were acknowledged: this proves little", len(w.acked))
	}
}

// check compares what is stored with what was sent and acknowledged.
func (w *witness) check(t *testing.T, s *process) map[string]int {
	t.Helper()
	stored := map[string]int{}
	ledger := s.ledger()
	wantLedgerSum(t, ledger)
	for _, source := range []logbridge.Source{"mqtt", "reportlog", "sls", "cls"} {
		lines := bodies(s.records("source=" + string(source)))
		for _, line := range lines {
			stored[line]++
		}
		if n := ledger.Sources[source].Stored; n != uint64(len(lines)) {
			t.Errorf("the ledger says that %d lines of %s are stored, and there are %d", n, source, len(lines))
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for line := range w.acked {
		if stored[line] != 1 {
			t.Errorf("acknowledged line %s is stored %d times", line, stored[line])
		}
	}
	for line, n := range stored {
		if n > 1 || !w.sent[line] {
			t.Errorf("line %s is stored %d times, sent: %t", line, n, w.sent[line])
		}
	}
	return stored
}
