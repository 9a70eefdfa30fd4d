package sink

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/logbridge/logbridge"
)

// What the store benchmark is loaded with: records of storeDevices devices and of some web pages, the same ones for the same
// number of records. On average a record takes about 190 bytes in the sink's own encoding (recordSize).
const (
	storeDevices = 10_000
	storeSeed    = 20261121

	// recordStep is the mean time from one record to the next: 10 M of them are six hours.
	recordStep = 2160 * time.Microsecond

	// A tenth of the records are web events. Batches of both sorts are about as long as each other's double, so the share
	// of batches is higher.
	webBatches = 0.17

	// lineBatch and webBatch bound a batch: what a device keeps until it uploads, and what a page sends at a time.
	lineBatch, webBatch = 19, 10

	// A device's lines are up to lineGap seconds apart, so the first one of a batch is at most oldestLine old.
	lineGap    = 8
	oldestLine = (lineBatch-1)*lineGap*time.Second + time.Second

	// The hot device sends hotShare of the batches while between hotFrom and hotUntil of the records are made.
	hotShare, hotFrom, hotUntil = 0.05, 0.5, 0.97

	// rareShare of the device lines hold rareNeedle.
	rareShare = 4e-6
)

// storeBegin is the time of the first record.
var storeBegin = time.Date(2026, 11, 21, 2, 0, 0, 0, time.UTC)

// storeTally is what the records hold, as the generator counted it.
type storeTally struct {
	Records, Bytes int
	Levels         [logbridge.LevelDebug + 1]uint64
	WindowLevels   [logbridge.LevelDebug + 1]uint64 // with an event time within window
	Statuses       map[string]uint64                // of the web events' field
	Rare           int                              // records that hold rareNeedle
	Lines          []int                            // of each device
	ProductLevels  [logbridge.LevelDebug + 1]uint64 // of device 0's product
	WebStreams     map[logbridge.Stream]uint64
	Common         int // lines that hold commonText
}

// storeData makes the batches, one after the other.
type storeData struct {
	rnd     *rand.Rand
	records int
	now     time.Time
	devices []storeDevice
	lines   [len(deviceKinds)][]template
	rare    template
	recent  recentLines
	tally   storeTally

	text []byte // of the batch
	ends []int  // of the texts in it
}

// storeDevice is what a device's lines tell of, and how it changes.
type storeDevice struct {
	id                     logbridge.DeviceID
	stream                 logbridge.Stream
	source                 logbridge.Source
	packet, seq, heap      int
	temperature, rssi, vol int // temperature in tenths, vol in millivolts
	booted                 time.Time
	conn                   string
}

func newStoreData(records int) *storeData {
	g := &storeData{rnd: rand.New(rand.NewPCG(storeSeed, 1)), records: records, now: storeBegin, rare: compile(rareLine, "", "", 0)[0]}
	g.tally = storeTally{Statuses: map[string]uint64{}, WebStreams: map[logbridge.Stream]uint64{}, Lines: make([]int, storeDevices)}
	for i, kind := range deviceKinds {
		g.lines[i] = append(compile(sdkLines, "", "", 0), compile(deviceLines, kind[0], kind[1], i)...)
	}
	for i := range storeDevices {
		kind := i % len(deviceKinds)
		d := storeDevice{
			id:     logbridge.DeviceID{Product: fmt.Sprintf("PR0D%06d", 100*kind+7), Device: fmt.Sprintf("%s_%06x", deviceKinds[kind][0], i*1009)},
			source: logbridge.SourceReportLog, packet: g.rnd.IntN(40_000), seq: g.rnd.IntN(1_000_000), heap: 90_000 + g.rnd.IntN(90_000),
			temperature: 150 + g.rnd.IntN(500), rssi: 40 + g.rnd.IntN(45), vol: 3100 + g.rnd.IntN(1100),
			booted: storeBegin.Add(-time.Duration(g.rnd.IntN(3_000_000)) * time.Second),
			conn:   strconv.FormatUint(uint64(g.rnd.IntN(60_466_176)), 36),
		}
		if i%7 == 0 {
			d.source = logbridge.SourceMQTT
		}
		d.stream = d.id.Stream()
		g.devices = append(g.devices, d)
	}
	return g
}

// window is a part of the time of all records whose ends lie within segments.
func (g *storeData) window() (since, until time.Time) {
	span := time.Duration(g.records) * recordStep
	return storeBegin.Add(span * 31 / 100), storeBegin.Add(span * 62 / 100)
}

// next makes one batch; false when all records are made.
func (g *storeData) next() (logbridge.Batch, bool) {
	left := g.records - g.tally.Records
	if left == 0 {
		return logbridge.Batch{}, false
	}
	var b logbridge.Batch
	if g.rnd.Float64() < webBatches {
		b = g.webEvents(min(left, 1+g.rnd.IntN(webBatch)))
	} else {
		b = g.deviceLines(min(left, 1+g.rnd.IntN(lineBatch)))
	}
	g.now = g.now.Add(time.Duration(float64(recordStep) * float64(len(b.Records)) * (0.5 + g.rnd.Float64())))
	g.count(b.Records)
	return b, true
}

func (g *storeData) count(records []logbridge.Record) {
	since, until := g.window()
	for i := range records {
		r := &records[i]
		size, err := recordSize(r)
		if err != nil {
			panic(err)
		}
		g.tally.Records++
		g.tally.Bytes += size
		g.tally.Levels[r.Severity]++
		if id, device := r.Stream.Device(); !device {
			g.tally.WebStreams[r.Stream]++
		} else if id.Product == g.devices[0].id.Product {
			g.tally.ProductLevels[r.Severity]++
		}
		if (&logbridge.Query{Contains: commonText, Where: logbridge.InLine}).MatchContent(r.Body, r.Attributes) {
			g.tally.Common++
		}
		if !r.Time.Before(since) && r.Time.Before(until) {
			g.tally.WindowLevels[r.Severity]++
		}
	}
}

// pickDevice gives any device, or the hot one, which is device 0, more often while it is hot.
func (g *storeData) pickDevice() int {
	done := float64(g.tally.Records) / float64(g.records)
	if done >= hotFrom && done < hotUntil && g.rnd.Float64() < hotShare {
		return 0
	}
	return g.rnd.IntN(storeDevices)
}

// deviceLines is one upload: lines of the seconds or minutes before it, in bursts, with the device's whole seconds.
func (g *storeData) deviceLines(n int) logbridge.Batch {
	number := g.pickDevice()
	d := &g.devices[number]
	g.tally.Lines[number] += n
	received := g.now.Add(time.Duration(20_000_000 + g.rnd.IntN(380_000_000)))
	ages := make([]int, n) // of the lines, in seconds
	for i := n - 2; i >= 0; i-- {
		ages[i] = ages[i+1]
		if g.rnd.IntN(3) == 0 {
			ages[i] += 1 + g.rnd.IntN(lineGap)
		}
	}
	records, tags := make([]logbridge.Record, n), make([]logbridge.Attr, n)
	g.text, g.ends = g.text[:0], g.ends[:0]
	for i := range records {
		at := g.now.Add(-time.Duration(ages[i]) * time.Second).Truncate(time.Second)
		t := g.appendNewLine(number, at)
		tags[i] = logbridge.Attr{Key: "tag", Value: t.tag}
		records[i] = logbridge.Record{
			Time: at, ObservedTime: received, Source: d.source, Stream: d.stream, Severity: t.level, Attributes: tags[i : i+1 : i+1],
		}
	}
	text, start := string(g.text), 0
	for i, end := range g.ends {
		records[i].Body, start = text[start:end], end
	}
	return logbridge.Batch{Records: records}
}

// appendNewLine writes a line that the device has not written in that second before, so that the sink stores all of them.
func (g *storeData) appendNewLine(number int, at time.Time) *template {
	start := len(g.text)
	for {
		t := g.pickTemplate(number)
		g.appendLine(t, &g.devices[number], at)
		if !g.recent.add(g.now, lineName{number, at.Unix(), textHash(g.text[start:])}) {
			g.text = g.text[:start]
			continue
		}
		g.ends = append(g.ends, len(g.text))
		if t == &g.rare {
			g.tally.Rare++
		}
		return t
	}
}

func (g *storeData) pickTemplate(device int) *template {
	if g.rnd.Float64() < rareShare {
		return &g.rare
	}
	all := g.lines[device%len(deviceKinds)]
	return &all[g.rnd.IntN(len(all))]
}

func (g *storeData) appendLine(t *template, d *storeDevice, at time.Time) {
	for i := range t.pieces {
		p := &t.pieces[i]
		if p.kind == "" {
			g.text = append(g.text, p.text...)
		} else {
			g.appendPiece(p, d, at)
		}
	}
}

// lineName tells a line from others of its device and second.
type lineName struct {
	device int
	second int64
	text   uint64 // hash
}

func textHash(text []byte) uint64 {
	h := fnv.New64a()
	h.Write(text)
	return h.Sum64()
}

// recentLines are the lines that a batch could repeat: the sink would take one that a device says again, in another upload
// and with the same second, for a repetition, and not store it.
type recentLines struct {
	young, old map[lineName]struct{}
	since      time.Time // no line is in young from before
}

// add reports whether the line is new.
func (l *recentLines) add(now time.Time, line lineName) bool {
	if now.Sub(l.since) > oldestLine {
		l.young, l.old, l.since = map[lineName]struct{}{}, l.young, now
	}
	_, young := l.young[line]
	_, old := l.old[line]
	l.young[line] = struct{}{}
	return !young && !old
}

// appendPiece writes a varying part of a line and moves the device's state on.
func (g *storeData) appendPiece(p *piece, d *storeDevice, at time.Time) {
	rnd := g.rnd
	number := func(n int) { g.text = strconv.AppendInt(g.text, int64(n), 10) }
	decimal := func(n, digits int) {
		pow := [...]int{1, 10, 100}[digits]
		number(n / pow)
		g.text = append(g.text, '.')
		for ; digits > 0; digits-- {
			pow /= 10
			g.text = append(g.text, byte('0'+n/pow%10))
		}
	}
	add := func(s string) { g.text = append(g.text, s...) }
	switch p.kind {
	case "n":
		number(rnd.IntN(p.n))
	case "x":
		var bits uint64
		for i := range p.n {
			if i%16 == 0 {
				bits = rnd.Uint64()
			}
			g.text = append(g.text, "0123456789abcdef"[bits&15])
			bits >>= 4
		}
	case "pid":
		d.packet = (d.packet + 1) % 65536
		number(d.packet)
	case "seq":
		d.seq++
		number(d.seq)
	case "prod":
		add(d.id.Product)
	case "dev":
		add(d.id.Device)
	case "id":
		add(d.conn)
	case "sec":
		number(int(at.Unix()))
	case "ms":
		number(int(at.UnixMilli()) + rnd.IntN(1000))
	case "temp":
		d.temperature = max(10, d.temperature+rnd.IntN(7)-3)
		decimal(d.temperature, 1)
	case "hum":
		number(30 + (d.temperature/8+rnd.IntN(3))%65)
	case "volt":
		decimal((d.vol-rnd.IntN(40))/10, 2)
	case "rssi":
		number(-d.rssi - rnd.IntN(6))
	case "heap":
		d.heap = max(8000, d.heap+8*(rnd.IntN(81)-40))
		number(d.heap)
	case "up":
		number(int(at.Sub(d.booted) / time.Second))
	case "ip":
		add("43.139.8.")
		number(11 + rnd.IntN(12))
	case "ap":
		add(apNames[len(d.conn)*d.rssi%len(apNames)])
	case "mode":
		add(modes[skewed(rnd, len(modes))])
	case "err":
		add(errCodes[skewed(rnd, len(errCodes))])
	case "why":
		add(reasons[skewed(rnd, len(reasons))])
	default:
		panic("no such piece: " + p.kind)
	}
}

// skewed gives a number below n, the small ones more often.
func skewed(rnd *rand.Rand, n int) int { return min(rnd.IntN(n), rnd.IntN(n)) }
