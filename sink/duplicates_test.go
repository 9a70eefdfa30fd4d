package sink

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// sent makes records of one device that came at a time; each text is the line's own time in seconds, a blank and its body.
func sent(at time.Time, texts ...string) logbridge.Batch {
	var b logbridge.Batch
	for _, text := range texts {
		own, body, _ := strings.Cut(text, " ")
		r := line("dev_01", body)
		r.ObservedTime, r.TimeQuality = at, logbridge.TimeDevice
		var s int
		_, _ = fmt.Sscan(own, &s)
		r.Time = epoch.Add(time.Duration(s) * time.Second)
		b.Records = append(b.Records, r)
	}
	return b
}

// TestLinesSentAgain: of identical lines the n-th occurrence in an upload is stored unless one was within ten minutes.
func TestLinesSentAgain(t *testing.T) {
	e := newEnv(t, Config{MemtableBytes: 1 << 10})
	minute := func(n float64) time.Time { return epoch.Add(time.Duration(n * float64(time.Minute))) }
	change := func(b logbridge.Batch, how func(*logbridge.Record)) logbridge.Batch {
		for i := range b.Records {
			how(&b.Records[i])
		}
		return b
	}
	fill := strings.Repeat(".", 1000)
	for i, c := range []struct {
		what  string
		batch logbridge.Batch
		want  logbridge.Receipt
	}{
		{"new", sent(minute(0), "1 a"+fill, "2 b", "2 b"), logbridge.Receipt{Stored: 3}},
		{"again, in other company", sent(minute(1), "0 z", "2 b", "1 a"+fill), logbridge.Receipt{Stored: 1, Duplicate: 2}},
		{"the third b is one more", sent(minute(2), "2 b", "2 b", "2 b"), logbridge.Receipt{Stored: 1, Duplicate: 2}},
		{"another time of its own", sent(minute(2), "3 b"), logbridge.Receipt{Stored: 1}},
		{"another severity", change(sent(minute(2), "2 b"), func(r *logbridge.Record) { r.Severity = logbridge.LevelError }), logbridge.Receipt{Stored: 1}},
		{"another device", change(sent(minute(2), "2 b"), func(r *logbridge.Record) { r.Stream = "device/ABCDE12345/dev_02" }), logbridge.Receipt{Stored: 1}},
		{"another attribute", change(sent(minute(2), "2 b"), func(r *logbridge.Record) { r.Attributes = []logbridge.Attr{{Key: "tag", Value: "x"}} }), logbridge.Receipt{Stored: 1}},
		{"by the other way", change(sent(minute(2), "2 b"), func(r *logbridge.Record) { r.Source = logbridge.SourceMQTT }), logbridge.Receipt{Duplicate: 1}},
		{"without a time of its own", change(sent(minute(2), "2 b", "2 b"), func(r *logbridge.Record) { r.TimeQuality = logbridge.TimeReceived }), logbridge.Receipt{Stored: 2}},
		{"an event of a page", change(sent(minute(2), "2 b", "2 b"), func(r *logbridge.Record) { r.Source = logbridge.SourceSLS }), logbridge.Receipt{Stored: 2}},
		{"shifted, new", change(sent(minute(3), "4 c"), shifted("1970")), logbridge.Receipt{Stored: 1}},
		{"shifted by more, the same", change(sent(minute(4), "9 c"), shifted("1970")), logbridge.Receipt{Duplicate: 1}},
		{"shifted from another time", change(sent(minute(4), "4 c"), shifted("1971")), logbridge.Receipt{Stored: 1}},
		{"just within", sent(minute(9.9), "1 a"+fill), logbridge.Receipt{Duplicate: 1}},
		{"forgotten", sent(minute(10), "1 a"+fill), logbridge.Receipt{Stored: 1}},
		{"remembered anew", sent(minute(19.9), "1 a"+fill), logbridge.Receipt{Duplicate: 1}},
	} {
		if got := e.append(c.batch); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.what, got, c.want)
		}
		if i%3 == 2 {
			e.restart()
		}
	}
	if n := e.log.Stats().Segments; n < 3 {
		t.Errorf("%d segments: this test wants some", n)
	}
	if got := e.log.Ledger().Total; got.Duplicate != 8 || got.Received != got.Stored+8 {
		t.Errorf("ledger %+v", got)
	}
}

func shifted(raw string) func(*logbridge.Record) {
	return func(r *logbridge.Record) {
		r.TimeQuality, r.Attributes = logbridge.TimeShifted, []logbridge.Attr{{Key: "time_raw", Value: raw}}
	}
}

// TestPartsOfOneUpload: a batch that needs several groups is no repetition of itself, and its replay is one.
func TestPartsOfOneUpload(t *testing.T) {
	e := newEnv(t, Config{})
	var texts []string
	for range 5 {
		texts = append(texts, "1 "+strings.Repeat("x", 400<<10))
	}
	if got := e.append(sent(epoch, texts...)); got.Stored != 5 {
		t.Errorf("first: %+v", got)
	}
	if got := e.append(sent(epoch, texts...)); got.Duplicate != 5 {
		t.Errorf("again: %+v", got)
	}
}

// TestReplayLeavesTheLinesAlone: an upload that is a replay as a whole says nothing of its lines.
func TestReplayLeavesTheLinesAlone(t *testing.T) {
	d := newDuplicates(64)
	b := sent(epoch, "1 a")
	b.ReplayKey = "key"
	judgeBatch(t, d, b)
	before := d.lines.next
	if got := judgeBatch(t, d, b); got[0] {
		t.Error("a replay was kept")
	}
	if d.lines.next != before {
		t.Error("a replay's lines were remembered")
	}
}

// judgeBatch says of each record whether it is kept.
func judgeBatch(t testing.TB, d *duplicates, b logbridge.Batch) (kept []bool) {
	t.Helper()
	uploads, err := encodeBatch(b)
	if err != nil {
		t.Fatal(err)
	}
	var members []*waiting
	for _, u := range uploads {
		members = append(members, &waiting{upload: u})
	}
	var p parsed
	if err := p.parse(joinGroup(members)); err != nil {
		t.Fatal(err)
	}
	d.judge(&p)
	for _, r := range p.rows {
		kept = append(kept, r.kept)
	}
	return kept
}

// TestDuplicatesAgainstModel compares with a plain map, over restarts at random moments: a crash before a flush, which
// replays what came since the last one, and one after it.
func TestDuplicatesAgainstModel(t *testing.T) {
	type occurrence struct {
		text string
		n    int
	}
	rnd := rand.New(rand.NewPCG(7, 8))
	dir, log := t.TempDir(), slog.New(slog.NewTextHandler(testWriter{t}, nil))
	d, stored, keys := newDuplicates(windowEntries), map[occurrence]time.Time{}, map[string]bool{}
	at, last := epoch, uint64(0)
	var since []logbridge.Batch // the last flush
	duplicates, restarts := 0, 0
	for round := range 3000 {
		at = at.Add(time.Duration(rnd.IntN(20)) * time.Second)
		var texts []string
		for range 1 + rnd.IntN(6) {
			texts = append(texts, fmt.Sprintf("%d x", rnd.IntN(300)))
		}
		b := sent(at, texts...)
		if rnd.IntN(3) == 0 {
			b.ReplayKey = fmt.Sprint("key ", rnd.IntN(400))
		}
		since = append(since, b)
		got := judgeBatch(t, d, b)
		want, seen := make([]bool, len(texts)), map[string]int{}
		if b.ReplayKey == "" || !keys[b.ReplayKey] {
			for i, text := range texts {
				seen[text]++
				o := occurrence{text, seen[text]}
				if old, ok := stored[o]; !ok || at.Sub(old) >= windowAge {
					want[i], stored[o] = true, at
				}
			}
		}
		keys[b.ReplayKey] = b.ReplayKey != ""
		if !slices.Equal(got, want) {
			t.Fatalf("round %d: %v, want %v", round, got, want)
		}
		duplicates += len(want) - len(slices.DeleteFunc(want, func(k bool) bool { return !k }))
		switch rnd.IntN(30) {
		case 0: // a flush
			f := d.freeze(uint64(round + 1))
			saveTo(t, dir, d, &f)
			last, since = f.last, nil
		case 1: // a crash
			var err error
			if d, err = loadDuplicates(dir, last, windowEntries, log); err != nil {
				t.Fatal(err)
			}
			for _, b := range since {
				judgeBatch(t, d, b)
			}
			restarts++
		}
	}
	if duplicates < 1000 || restarts < 50 {
		t.Errorf("%d duplicates, %d restarts: this proves little", duplicates, restarts)
	}
	if files, err := windowFiles(dir); err != nil || len(files) > mostWindowFiles+1 {
		t.Errorf("%d files, %v", len(files), err)
	}
}

func saveTo(t testing.TB, dir string, d *duplicates, f *frozenWindow) {
	t.Helper()
	if err := saveWindow(dir, f); err != nil {
		t.Fatal(err)
	}
	d.wrote(f)
	if err := d.removeOld(dir, f); err != nil {
		t.Fatal(err)
	}
}

// TestWindowKeepsItsBound: the oldest go first and are counted, and a restart holds exactly what was held.
func TestWindowKeepsItsBound(t *testing.T) {
	const bound = 64
	dir, log := t.TempDir(), slog.New(slog.NewTextHandler(testWriter{t}, nil))
	d := newDuplicates(bound)
	rnd := rand.New(rand.NewPCG(9, 10))
	for i := range 400 {
		now := epoch.Add(time.Duration(i) * 5 * time.Second).UnixNano()
		u := &uploadHead{key: []byte(fmt.Sprint(rnd.IntN(200))), delivery: logbridge.Delivery(rnd.IntN(3)), received: now}
		d.repeats(u)
		if n := d.signed.next - d.signed.tail; n > bound {
			t.Fatalf("%d entries", n)
		}
		if i%7 == 3 {
			f := d.freeze(uint64(i + 1))
			saveTo(t, dir, d, &f)
			again, err := loadDuplicates(dir, f.last, bound, log)
			if err != nil {
				t.Fatal(err)
			}
			for k, w := range d.all() {
				a1, a2 := w.entries(w.tail)
				b1, b2 := again.all()[k].entries(again.all()[k].tail)
				if !reflect.DeepEqual(slices.Concat(a1, a2), slices.Concat(b1, b2)) {
					t.Fatalf("round %d: window %d came back different", i, k)
				}
			}
		}
	}
	if d.forgotten() == 0 {
		t.Error("nothing was counted as forgotten")
	}
	if _, known := d.delivered.find(hashOf([]byte("nosuch")), 0); known {
		t.Error("found what never came")
	}
}

// TestDamagedWindowIsReported: the start goes on without what is damaged or missing, and says so.
func TestDamagedWindowIsReported(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{"damaged": flipByte, "missing": removeFile} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var said strings.Builder
			log := slog.New(slog.NewTextHandler(&said, nil))
			d := newDuplicates(windowEntries)
			for last := range uint64(3) {
				d.repeats(&uploadHead{key: fmt.Append(nil, last)})
				f := d.freeze(last + 1)
				saveTo(t, dir, d, &f)
			}
			if err := spoil(filepath.Join(dir, windowFile{first: 2, last: 2}.name())); err != nil {
				t.Fatal(err)
			}
			d, err := loadDuplicates(dir, 3, windowEntries, log)
			if err != nil || !strings.Contains(said.String(), "level=ERROR") {
				t.Errorf("%v, said %q", err, said.String())
			}
			if !d.repeats(&uploadHead{key: []byte("2")}) {
				t.Error("what is in the sound file is forgotten")
			}
			if d.repeats(&uploadHead{key: []byte("0")}) {
				t.Error("what is behind the gap is remembered: then nothing was missing")
			}
		})
	}
}

// TestWindowAgainstMap compares the table with a map while it is full and its places are crowded.
func TestWindowAgainstMap(t *testing.T) {
	const bound = 1 << 12
	w, model := newWindow(0, bound), map[hash]uint64{}
	var order []hash
	rnd := rand.New(rand.NewPCG(11, 12))
	for n := range uint64(10 * bound) {
		h := hash{uint64(rnd.IntN(8)) * 1000, uint32(rnd.IntN(256))} // long runs of cells that are not at home
		if rnd.IntN(4) > 0 {
			h = hash{rnd.Uint64N(4 * bound), 1}
		}
		number, ok := w.find(h, 0)
		want, known := model[h]
		if known = known && want+bound >= n; known && want+bound == n {
			known = w.tail <= want
		}
		if ok != known || ok && number != want {
			t.Fatalf("step %d: %d %v, want %d %v", n, number, ok, want, known)
		}
		w.put(h, 0)
		model[h] = n
		order = append(order, h)
	}
	used := 0
	for _, c := range w.table {
		if c != 0 {
			used++
		}
	}
	newest := map[hash]bool{}
	for _, h := range order[len(order)-bound:] {
		newest[h] = true
	}
	if used != len(newest) {
		t.Errorf("%d places for %d hashes", used, len(newest))
	}
}

// BenchmarkJudge measures what the windows cost for each line, with a full window: 100 lines of one device an upload, of
// about 190 bytes a record.
func BenchmarkJudge(b *testing.B) {
	const size, groups = 100, 200
	all := make([]parsed, groups)
	for g := range all {
		var batch logbridge.Batch
		for i := range size {
			r := line(fmt.Sprint("dev_", g), fmt.Sprintf("tick %d: temperature 21.%d, humidity 40, voltage 3.31, free heap %d, uptime %d and all is well here", g*size+i, i, i*7%100000, i))
			r.TimeQuality, r.Attributes = logbridge.TimeDevice, []logbridge.Attr{{Key: "tag", Value: "sensor.c"}}
			batch.Records = append(batch.Records, r)
		}
		uploads, err := encodeBatch(batch)
		if err != nil {
			b.Fatal(err)
		}
		if err := all[g].parse(joinGroup([]*waiting{{upload: uploads[0]}})); err != nil {
			b.Fatal(err)
		}
	}
	d := newDuplicates(windowEntries)
	at := uint32(0)
	next := func(i int) *parsed {
		p := &all[i%groups]
		if i%groups == 0 {
			at++ // makes every line a new one
		}
		p.uploads[0].part = at
		return p
	}
	n := 0
	for ; d.lines.next-d.lines.tail < windowEntries; n++ {
		d.judge(next(n))
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		d.judge(next(n))
		n++
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/line")
}
