package sink

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
)

// The web events of the store benchmark.

var (
	webStreams = [...]logbridge.Stream{
		logbridge.SLSStream("shop-prod", "pageviews"), logbridge.SLSStream("shop-prod", "clicks"),
		logbridge.SLSStream("console", "frontend"), logbridge.CLSStream("6f2c1a0e-8d43-4b7e-9a51-0c2f4e7d9b16"),
	}
	webEventNames = [...]string{"page_view", "click", "api_call", "page_leave", "resource_error", "add_to_cart", "search", "login"}
	webPaths      = [...]string{
		"/", "/devices", "/devices/%d", "/devices/%d/logs", "/products/%d", "/api/v2/devices/%d/shadow", "/cart", "/search?q=%d",
		"/orders/%d", "/settings/profile", "/login", "/api/v2/telemetry/%d",
	}
	webReferrers = [...]string{
		"", "https://www.google.com/", "https://shop.example.com/", "https://shop.example.com/devices", "https://www.baidu.com/link", "android-app://com.tencent.mm",
	}
	webStatuses = [...]string{"200", "304", "404", "302", "500", "403", "502", "429"}
	webAgents   = [...]string{
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.0.0 Safari/537.36",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_%d like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 MicroMessenger/8.0.50",
		"Mozilla/5.0 (Linux; Android 15; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.0.0 Mobile Safari/537.36",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/%d.1 Safari/605.1.15",
	}
	// webAttributes are the keys in the order in which a page sends them; the last four are often missing.
	webAttributes = [...]string{"event", "path", "status", "duration_ms", "session", "user_id", "agent", "referrer", "lang", "screen"}
	webLanguages  = [...]string{"zh-CN", "en-US", "zh-TW", "de-DE", "ja-JP"}
	webScreens    = [...]string{"1920x1080", "390x844", "1536x864", "2560x1440", "412x915"}
)

// webEvents is what one page sends at a time: events of one session and one user, received when they were sent.
func (g *storeData) webEvents(n int) logbridge.Batch {
	received := g.now.Add(time.Duration(5_000_000 + g.rnd.IntN(90_000_000)))
	stream := webStreams[skewed(g.rnd, len(webStreams))]
	source := logbridge.SourceSLS
	if _, ok := stream.Topic(); ok {
		source = logbridge.SourceCLS
	}
	visit := map[string]string{
		"session":  fmt.Sprintf("%016x", g.rnd.Uint64()),
		"user_id":  strconv.Itoa(100_000 + g.rnd.IntN(40_000)),
		"agent":    fmt.Sprintf(webAgents[skewed(g.rnd, len(webAgents))], 100+skewed(g.rnd, 12)),
		"referrer": webReferrers[skewed(g.rnd, len(webReferrers))],
		"lang":     webLanguages[skewed(g.rnd, len(webLanguages))],
		"screen":   webScreens[skewed(g.rnd, len(webScreens))],
	}
	size := 6 + g.rnd.IntN(len(webAttributes)-5)
	records := make([]logbridge.Record, n)
	for i := range records {
		attrs := make([]logbridge.Attr, size)
		for k, key := range webAttributes[:size] {
			attrs[k] = logbridge.Attr{Key: key, Value: g.webValue(key, visit)}
		}
		g.tally.Statuses[attrs[2].Value]++
		records[i] = logbridge.Record{
			Time: received, ObservedTime: received, TimeQuality: logbridge.TimeReceived, Source: source, Stream: stream,
			Severity: logbridge.LevelInfo, Attributes: attrs,
		}
	}
	return logbridge.Batch{Records: records}
}

func (g *storeData) webValue(key string, visit map[string]string) string {
	switch key {
	case "event":
		return webEventNames[skewed(g.rnd, len(webEventNames))]
	case "path":
		path := webPaths[skewed(g.rnd, len(webPaths))]
		if strings.Contains(path, "%d") {
			return fmt.Sprintf(path, 1000+g.rnd.IntN(storeDevices))
		}
		return path
	case "status":
		if g.rnd.IntN(5) > 0 {
			return webStatuses[0]
		}
		return webStatuses[skewed(g.rnd, len(webStatuses))]
	case "duration_ms":
		return strconv.Itoa(int(8 * g.rnd.ExpFloat64() * g.rnd.ExpFloat64() * 12))
	}
	return visit[key]
}
