package sink

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
)

// histogramBars is about how many bars Grafana draws above the lines that it shows.
const histogramBars = 60

// commonText is in many lines and in all parts of the time.
const commonText = "timeout"

// grafanaQuestions are what Grafana asks before and while somebody looks at lines.
func grafanaQuestions(t storeTally, g *storeData) []storeQuestion {
	everything := time.Duration(t.Records) * recordStep
	since, until := g.window()
	bars := func(over time.Duration) logbridge.CountBy {
		return logbridge.CountBy{Field: "level", Step: over / histogramBars, Origin: since}
	}
	streams, products := t.streams(g)
	product := g.devices[0].id.Product
	inProduct := func(s logbridge.Stream) bool { return strings.HasPrefix(string(s), "device/"+product+"/") }
	rare := map[string]uint64{"": uint64(t.Rare)}
	if t.Rare == 0 {
		clear(rare)
	}
	all, window := byName(t.Levels), byName(t.WindowLevels)
	return []storeQuestion{
		{"histogram of all by level, 60 bars", "", askBars(logbridge.Query{}, bars(everything), all), 1},
		{"histogram of 31 % of the time by level, 60 bars", "", askBars(logbridge.Query{Since: since, Until: until}, bars(until.Sub(since)), window), 1},
		{"histogram of one product by level, 60 bars", "", askBars(logbridge.Query{Product: product}, bars(everything), byName(t.ProductLevels)), 1},
		{"histogram of one product, found by a predicate", "", askBars(logbridge.Query{Streams: inProduct}, bars(everything), byName(t.ProductLevels)), 1},
		{"histogram of lines with a substring, 60 bars", "", askBars(logbridge.Query{Contains: rareNeedle, Where: logbridge.InLine},
			logbridge.CountBy{Step: everything / histogramBars}, rare), 1},
		{"label values: all devices", "", askCount(logbridge.Query{}, "stream", streams), 1},
		{"label values: all products", "", askCount(logbridge.Query{}, "product", products), 1},
		{"substring in lines, nowhere", "1000 ms", askLast(logbridge.Query{Contains: "no such text in any record"}, 0), 1},
		{"substring in lines, rare", "1000 ms", askLast(logbridge.Query{Contains: rareNeedle}, t.Rare), 1},
		{"substring in lines, common: last 1000", "", askLast(logbridge.Query{Contains: commonText}, min(t.Common, lastLines)), 1},
	}
}

// streams counts the records of each stream and product.
func (t *storeTally) streams(g *storeData) (streams, products map[string]uint64) {
	streams, products = map[string]uint64{}, map[string]uint64{}
	for i, n := range t.Lines {
		if n > 0 {
			streams[string(g.devices[i].stream)] += uint64(n)
			products[g.devices[i].id.Product] += uint64(n)
		}
	}
	for stream, n := range t.WebStreams {
		streams[string(stream)] += n
		products[""] += n
	}
	return streams, products
}

// askBars asks for a histogram, and checks the sums of its bars and where they begin.
func askBars(q logbridge.Query, by logbridge.CountBy, want map[string]uint64) func(context.Context, *Log, int) error {
	return func(ctx context.Context, l *Log, _ int) error {
		counts, err := l.Count(ctx, q, by)
		if err != nil {
			return err
		}
		for _, c := range counts {
			if c.Time.Sub(by.Origin)%by.Step != 0 && !by.Origin.IsZero() {
				return fmt.Errorf("a bar begins at %s", c.Time)
			}
		}
		return compareSums(counts, by.Field, want)
	}
}

// askLast asks for the last lines with a text in them, as somebody sees them.
func askLast(q logbridge.Query, want int) func(context.Context, *Log, int) error {
	q.Where, q.Limit = logbridge.InLine, lastLines
	return func(ctx context.Context, l *Log, _ int) error {
		n := 0
		for r, err := range l.Query(ctx, q) {
			if err != nil {
				return err
			}
			if !q.MatchContent(r.Body, r.Attributes) {
				return fmt.Errorf("%q does not hold %q", r.Body, q.Contains)
			}
			n++
		}
		if n != want {
			return fmt.Errorf("%d lines contain %q, want %d", n, q.Contains, want)
		}
		return nil
	}
}
