package devicesim

import (
	"context"
	"log/slog"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
)

// device is one simulated device. Two goroutines serve it: one keeps its connection, the other writes and uploads.
type device struct {
	Credential
	fleet  *Fleet
	upload Upload
	dialect
	rate  float64                       // as Config.LineRate
	clock func(now time.Time) time.Time // the device's own
	log   *slog.Logger
	// level is what the device writes; until it is told, errors, as the C SDK does (tencent-iot.md 3.2).
	level atomic.Uint32
	// told wakes the writing goroutine after a change of level: devices react to one at once.
	told chan struct{}
	// conn is the live connection, nil while there is none.
	conn atomic.Pointer[connection]

	// The rest belongs to the writing goroutine.
	story     *story
	pending   []string // lines not yet acknowledged or refused, oldest first
	counted   int      // how many of them are in Sent already
	announced logbridge.Level
}

func newDevice(f *Fleet, c Credential, upload Upload) *device {
	d := &device{Credential: c, fleet: f, upload: upload, dialect: plain, rate: f.cfg.LineRate,
		clock: func(now time.Time) time.Time { return now }, log: f.log.With("device", c.ID.String()),
		story: newStory(c.ID), told: make(chan struct{}, 1)}
	d.announced = logbridge.LevelError
	d.level.Store(uint32(d.announced))
	return d
}

func (d *device) run(ctx context.Context, start time.Duration) {
	if !sleep(ctx, start) {
		return
	}
	// The connection outlives ctx until the last upload is done, since that may need it.
	connected, disconnect := context.WithCancel(context.WithoutCancel(ctx))
	var keeper sync.WaitGroup
	keeper.Go(func() { d.stayConnected(connected) })
	d.work(ctx)
	disconnect()
	keeper.Wait()
}

// stayConnected connects, asks and obeys until ctx ends; every connection has a client of its own, since paho's tokens
// are not to be trusted across its automatic reconnect (mqtt-broker.md 5).
func (d *device) stayConnected(ctx context.Context) {
	pause := backoff{}
	for ctx.Err() == nil {
		c, err := d.connect(ctx)
		if err != nil {
			d.fleet.stats.failed(err)
			d.log.Debug("no connection", "err", err)
		} else {
			pause.reset()
			d.conn.Store(c)
			d.fleet.stats.connected.Add(1)
			d.fleet.stats.connects.Add(1)
			c.serve(ctx, d.fleet.cfg.AskEvery)
			d.conn.Store(nil)
			d.fleet.stats.connected.Add(-1)
			c.close()
		}
		if err == nil && d.fleet.cfg.Script == ScriptStorm {
			continue // all come back at once
		}
		sleep(ctx, pause.next())
	}
}

// obey sets the level that the server asks for.
func (d *device) obey(level logbridge.Level) {
	if d.level.Swap(uint32(level)) == uint32(level) {
		return
	}
	select {
	case d.told <- struct{}{}:
	default: // it has yet to look at the change before
	}
}

// shortestStep bounds how often a busy device wakes to write.
const shortestStep = 50 * time.Millisecond

// longestStep bounds what a device catches up on after it was held up.
const longestStep = 5 * time.Second

// work writes lines and uploads them until ctx ends, then uploads once more.
func (d *device) work(ctx context.Context) {
	every := d.fleet.cfg.UploadEvery
	uploads := time.NewTimer(rand.N(every) + time.Millisecond)
	defer uploads.Stop()
	writes := time.NewTimer(0)
	defer writes.Stop()
	pause := backoff{least: every}
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), uploadTimeout)
			d.uploadAll(stop)
			cancel()
			return
		case now := <-writes.C:
			d.write(now, min(now.Sub(last), longestStep))
			last = now
			writes.Reset(d.step())
		case <-d.told:
			d.announce(d.clock(time.Now()), logbridge.Level(d.level.Load()))
			uploads.Reset(0)
		case <-uploads.C:
			// What is on its way is finished even if ctx ends meanwhile: its outcome belongs into the counts.
			once, cancel := context.WithTimeout(context.WithoutCancel(ctx), uploadTimeout)
			if d.uploadAll(once) {
				pause.reset()
				uploads.Reset(every)
			} else {
				uploads.Reset(pause.next())
			}
			cancel()
		}
	}
}

// step is a random time until the next thing happens.
func (d *device) step() time.Duration {
	s := time.Duration(rand.ExpFloat64() / d.rate * float64(time.Second))
	return min(max(s, shortestStep), longestStep)
}

// write writes what happened in elapsed: as many lines as the rate says, a fraction by chance.
func (d *device) write(now time.Time, elapsed time.Duration) {
	level := logbridge.Level(d.level.Load())
	now = d.clock(now)
	d.announce(now, level)
	whole, fraction := math.Modf(d.rate * elapsed.Seconds())
	if rand.Float64() < fraction {
		whole++
	}
	for range int(whole) {
		if line := d.story.next(now); line.Level <= level {
			d.add(line)
		}
	}
}

// announce writes what the C SDK itself says after a change to warn or above (tencent-iot.md 3.2).
func (d *device) announce(now time.Time, level logbridge.Level) {
	if level != d.announced && level >= logbridge.LevelWarn {
		d.add(d.story.announcement(now, level))
	}
	d.announced = level
}

func (d *device) add(line tencent.Line) {
	if len(d.pending) == mostPending {
		d.pending = d.pending[1:]
		d.counted = max(d.counted-1, 0)
		d.fleet.stats.dropped.Add(1)
	}
	d.pending = append(d.pending, tencent.FormatLine(line))
	d.fleet.stats.written.Add(1)
}

// backoff gives growing, jittered pauses.
type backoff struct{ least, now time.Duration }

// longestPause keeps a fleet's return within a minute of the server's.
const longestPause = 30 * time.Second

func (b *backoff) next() time.Duration {
	if b.now == 0 {
		b.now = max(b.least, 250*time.Millisecond)
	}
	pause := b.now/2 + rand.N(b.now)
	b.now = min(b.now*2, longestPause)
	return pause
}

func (b *backoff) reset() { b.now = 0 }

// sleep waits for d and reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}
