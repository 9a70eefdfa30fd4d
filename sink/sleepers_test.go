package sink

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logbridge/logbridge"
)

// groupOf is a group that holds a record of each of these streams.
func groupOf(streams ...string) *parsed {
	p := &parsed{}
	for _, s := range streams {
		p.rows = append(p.rows, parsedRow{row: row{stream: []byte(s)}, kept: true})
	}
	return p
}

// TestWhoIsWoken: a tail of one stream by a group that holds a stored record of it alone, a tail of more by each that holds one.
func TestWhoIsWoken(t *testing.T) {
	repetition := groupOf("device/p/a")
	repetition.rows[0].kept = false
	groups := []*parsed{groupOf("device/p/a"), groupOf("device/p/b", "device/p/b"), groupOf(), repetition, groupOf("device/p/b", "device/p/a", "device/p/c")}
	for stream, want := range map[string][]uint64{"device/p/a": {1, 5}, "device/p/b": {2, 5}, "device/p/c": {5}, "device/p/d": nil, "": {1, 2, 5}} {
		s := newSleepers()
		tail := s.join(stream)
		ctx, cancel := context.WithCancel(t.Context())
		var got []uint64
		for seq, p := range groups {
			var first uint64
			var woken bool
			var waiting sync.WaitGroup
			turn, done := context.WithCancel(ctx)
			waiting.Go(func() { first, woken = tail.wait(turn, uint64(seq)) })
			for asleep := 0; asleep == 0; runtime.Gosched() {
				s.mu.Lock()
				asleep = len(tail.watch.asleep)
				s.mu.Unlock()
			}
			s.committed(uint64(seq+1), p)
			s.mu.Lock()
			if len(tail.watch.asleep) > 0 {
				done() // it sleeps on
			}
			s.mu.Unlock()
			waiting.Wait()
			done()
			if woken {
				got = append(got, first)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("a tail of %q is woken by %v, want %v", stream, got, want)
		}
		// What it has not looked at yet lets it not sleep at all.
		if len(want) > 0 {
			if first, ok := tail.wait(ctx, 0); !ok || first != 1 {
				t.Errorf("a tail of %q that has looked at nothing: %d, %t", stream, first, ok)
			}
		}
		cancel()
		tail.leave()
		if s.there.Load() != 0 || len(s.one) != 0 || s.many.tails != 0 || len(s.many.asleep) != 0 {
			t.Errorf("left behind by a tail of %q: %+v", stream, s)
		}
	}
}

// TestSleepersAgainstAModel: with many committers' groups in order and many tails that come, look and go, no tail sleeps
// while something that concerns it lies behind what it has looked at.
func TestSleepersAgainstAModel(t *testing.T) {
	const groups, streams = 3000, 5
	s := newSleepers()
	var mu sync.Mutex
	var log [][]string // what has been committed, by sequence from 1 on
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var tails sync.WaitGroup
	for n := range 4 * (streams + 1) {
		stream := ""
		if n%(streams+1) < streams {
			stream = fmt.Sprint("s", n%(streams+1))
		}
		tails.Go(func() {
			me := s.join(stream)
			defer func() { me.leave() }()
			rnd := rand.New(rand.NewPCG(uint64(n), 1))
			seen, after := 0, 0
			for {
				mu.Lock()
				all := log
				mu.Unlock()
				for ; after < len(all); after++ {
					for _, s := range all[after] {
						if stream == "" || s == stream {
							seen++
						}
					}
				}
				if after == groups {
					return
				}
				if rnd.IntN(20) == 0 { // goes, and comes back
					me.leave()
					me = s.join(stream)
					continue
				}
				first, ok := me.wait(ctx, uint64(after))
				if !ok {
					t.Errorf("tail of %q sleeps at %d", stream, after)
					return
				}
				mu.Lock()
				for g := after; g < int(first)-1; g++ {
					for _, s := range log[g] {
						if stream == "" || s == stream {
							t.Errorf("tail of %q is sent to group %d, and group %d has something for it", stream, first, g+1)
						}
					}
				}
				mu.Unlock()
				after = max(after, int(first)-1)
			}
		})
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for seq := 1; seq <= groups; seq++ {
		var names []string
		for range rnd.IntN(3) {
			names = append(names, fmt.Sprint("s", rnd.IntN(streams)))
		}
		if seq == groups {
			names = []string{"s0", "s1", "s2", "s3", "s4"}
		}
		mu.Lock()
		log = append(log, names)
		mu.Unlock()
		s.committed(uint64(seq), groupOf(names...))
	}
	tails.Wait()
}

// TestTailLooksSeldom: however often a tail is woken, its looks are tailPause apart.
func TestTailLooksSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSleepers()
		tl := tail{ctx: t.Context(), sleeper: s.join("")}
		defer tl.leave()
		stop := make(chan struct{})
		go func() {
			for seq := uint64(1); ; seq++ {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
					s.committed(seq, groupOf("device/p/a"))
				}
			}
		}()
		looks, begin := 0, time.Now()
		for reached := uint64(0); time.Since(begin) < time.Second; looks++ {
			looked := time.Now()
			reached, _ = tl.wait(t.Context(), reached)
			if !tl.pause(looked) {
				t.Fatal("it ends")
			}
		}
		close(stop)
		if most := int(time.Second / tailPause); looks > most || looks < most/2 {
			t.Errorf("%d looks in a second of 1000 groups, want about %d", looks, most)
		}
		ctx, cancel := context.WithCancel(t.Context())
		tl.ctx = ctx
		cancel()
		if tl.pause(time.Now()) {
			t.Error("it pauses when its context has ended")
		}
	})
}

// lines gives numbered records of a device.
func lines(device string, from, n int) (b logbridge.Batch) {
	for i := range n {
		b.Records = append(b.Records, line(device, fmt.Sprint(from+i)))
	}
	return b
}
