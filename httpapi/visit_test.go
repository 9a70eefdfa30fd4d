package httpapi

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/sls"
)

const writeToken1, writeToken2 = "write-token-number-1", "write-token-number-2"

// ruled makes a logstore and a topic with the same rules.
func (w *world) ruled(name string, rules logbridge.WebRules) {
	w.t.Helper()
	check(w.t, w.reg.PutLogstore(w.t.Context(), logbridge.Logstore{Project: "myproj", Name: name, WebTracking: true, WebRules: rules}))
	check(w.t, w.reg.PutCLSTopic(w.t.Context(), logbridge.CLSTopic{ID: name, AnonymousWrite: true, WebRules: rules}))
}

func slsTrackOf(store string) string { return "/logstores/" + store + "/track?APIVersion=0.6.0" }
func clsTrackOf(topic string) string { return "/tracklog?topic_id=" + topic }

// last is the newest record of a stream.
func (w *world) last(stream logbridge.Stream) logbridge.Record {
	w.t.Helper()
	all := w.records(logbridge.Query{Stream: stream})
	if len(all) == 0 {
		w.t.Fatalf("nothing in %s", stream)
	}
	return all[len(all)-1]
}

func TestWriteTokens(t *testing.T) {
	w := start(t)
	w.ruled("guarded", logbridge.WebRules{WriteTokens: []string{writeToken1, writeToken2}})
	good := 0
	for _, row := range []struct{ name, method, path, body string }{
		{"SLS host prefix", "POST", "/w/" + writeToken1 + slsTrackOf("guarded"), oneLog},
		{"SLS host prefix with a slash at its end", "POST", "/w/" + writeToken1 + "/" + slsTrackOf("guarded"), oneLog},
		{"SLS host prefix with the project", "POST", "/w/" + writeToken2 + "/sls/myproj" + slsTrackOf("guarded"), oneLog},
		{"SLS host prefix with the project and a slash at its end", "POST", "/w/" + writeToken2 + "/sls/myproj/" + slsTrackOf("guarded"), oneLog},
		{"SLS query", "GET", slsTrackOf("guarded") + "&k=v&write_token=" + writeToken2, ""},
		{"CLS host prefix", "POST", "/w/" + writeToken1 + clsTrackOf("guarded"), oneCLSLog},
		{"CLS host prefix with ours", "POST", "/w/" + writeToken1 + "/cls" + clsTrackOf("guarded"), oneCLSLog},
		{"CLS query", "GET", "/track?write_token=" + writeToken1 + "&topic_id=guarded&k=v", ""},
	} {
		checkEmptySuccess(t, row.name, w.send(row.method, row.path, row.body))
		good++
	}
	checkEmptySuccess(t, "header", w.send("POST", slsTrackOf("guarded"), oneLog, "X-Logbridge-Write-Token", writeToken1))
	if a := w.send("GET", "/logstores/guarded/track_ua.gif?APIVersion=0.6.0&k=v&write_token="+writeToken1, ""); a.body != string(sls.GIF) {
		t.Errorf("pixel: %d %q", a.StatusCode, a.body)
	}
	got := w.records(logbridge.Query{})
	if len(got) != good+2 {
		t.Errorf("%d records, want %d", len(got), good+2)
	}
	for _, r := range got {
		if attr(r, "k") != "v" || strings.Contains(fmt.Sprint(r), writeToken1) || strings.Contains(fmt.Sprint(r), writeToken2) {
			t.Errorf("record %+v", r)
		}
	}
	for _, row := range []struct{ name, path string }{
		{"none", ""}, {"another", "/w/write-token-number-3"}, {"a part of one", "/w/write-token-number-"}, {"empty", "/w/"},
	} {
		checkSLSError(t, row.name, w.send("POST", row.path+slsTrackOf("guarded"), oneLog), 401, "Unauthorized")
		checkCLSError(t, row.name, w.send("POST", row.path+clsTrackOf("guarded"), oneCLSLog), 403, "NotAllowed")
	}
	if a := w.send("GET", "/logstores/guarded/track.gif?APIVersion=0.6.0&k=v", ""); a.body != string(sls.GIF) {
		t.Errorf("refused pixel: %d %q", a.StatusCode, a.body)
	}
	if n, m := w.refused("sls/myproj/guarded", writeToken), w.refused("cls/guarded", writeToken); n != 5 || m != 4 {
		t.Errorf("%d and %d counted", n, m)
	}
	// A signature needs no token, and the prefix leads nowhere else.
	body := `{"__logs__":[{"k":"v"}]}`
	checkEmptySuccess(t, "signed", w.send("POST", "/logstores/guarded", body, signed("/logstores/guarded", "", body, keyID, keySecret, time.Now())...))
	if a := w.send("GET", "/w/"+writeToken1+"/api/v1/products", "", "Authorization", "Bearer "+adminToken); a.StatusCode != 404 {
		t.Errorf("/w/…/api: %d", a.StatusCode)
	}
}

func TestWebLimits(t *testing.T) {
	w := start(t)
	w.ruled("small", logbridge.WebRules{Limits: logbridge.WebLimits{RequestBytes: 400, QueryBytes: 100, Events: 3, Fields: 4, KeyBytes: 8, ValueBytes: 50}})
	event := func(n int, fields string) (inSLS, inCLS string) {
		logs := strings.TrimSuffix(strings.Repeat("{"+fields+"},", n), ",")
		contents := strings.TrimSuffix(strings.Repeat(`{"contents":{`+fields+`}},`, n), ",")
		return `{"__logs__":[` + logs + `]}`, `{"logs":[` + contents + `]}`
	}
	for _, row := range []struct {
		name   string
		n      int
		fields string
		good   bool
	}{
		{"within", 3, `"a":"1","b":"2","c":"3"`, true},
		{"the last field", 1, `"a":"1","b":"2","c":"3","d":"4"`, true},
		{"too many events", 4, `"a":"1"`, false},
		{"too many fields", 1, `"a":"1","b":"2","c":"3","d":"4","e":"5"`, false},
		{"a long key", 1, `"123456789":"1"`, false},
		{"a long value", 1, `"a":"` + strings.Repeat("x", 51) + `"`, false},
		{"a large body", 1, `"a":"1"` + strings.Repeat(" ", 400), false},
	} {
		inSLS, inCLS := event(row.n, row.fields)
		if row.good {
			checkEmptySuccess(t, row.name, w.send("POST", slsTrackOf("small"), inSLS))
			checkEmptySuccess(t, row.name, w.send("POST", clsTrackOf("small"), inCLS))
			continue
		}
		before := [2]uint64{w.refused("sls/myproj/small", tooLarge), w.refused("cls/small", tooLarge)}
		checkSLSError(t, row.name, w.send("POST", slsTrackOf("small"), inSLS), 400, "PostBodyTooLarge")
		checkCLSError(t, row.name, w.send("POST", clsTrackOf("small"), inCLS), 413, "LogSizeExceed")
		if w.refused("sls/myproj/small", tooLarge) == before[0] || w.refused("cls/small", tooLarge) == before[1] {
			t.Errorf("%s: not counted", row.name)
		}
	}
	bomb := zlibOf(t, `{"__logs__":[{"a":"`+strings.Repeat(" ", 10000)+`"}]}`)
	checkSLSError(t, "bomb", w.send("POST", slsTrackOf("small"), bomb, "x-log-compresstype", "deflate"), 400, "PostBodyTooLarge")
	long := strings.Repeat("x", 100)
	checkSLSError(t, "query", w.send("GET", slsTrackOf("small")+"&a="+long, ""), 400, "PostBodyTooLarge")
	checkCLSError(t, "query", w.send("GET", "/track?topic_id=small&a="+long, ""), 413, "LogSizeExceed")
	if n := len(w.records(logbridge.Query{})); n != 8 {
		t.Errorf("%d records", n)
	}
	// The server's settings hold for stores that say nothing.
	inSLS, inCLS := event(1, `"`+strings.Repeat("k", 1025)+`":"1"`)
	checkSLSError(t, "default", w.send("POST", trackPath, inSLS), 400, "PostBodyTooLarge")
	checkCLSError(t, "default", w.send("POST", clsTrackOf("topic-1"), inCLS), 413, "LogSizeExceed")
}

func TestRatesOfStores(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	w := startWith(t, func(s *Server) { s.rates.now = func() time.Time { return at } })
	w.ruled("slow", logbridge.WebRules{Limits: logbridge.WebLimits{AddressEvents: 1}}) // ten at once
	ten := `{"__logs__":[` + strings.TrimSuffix(strings.Repeat(`{"k":"v"},`, 10), ",") + `]}`
	tenCLS := `{"logs":[` + strings.TrimSuffix(strings.Repeat(`{"contents":{"k":"v"}},`, 10), ",") + `]}`
	checkEmptySuccess(t, "SLS", w.send("POST", slsTrackOf("slow"), ten))
	checkSLSError(t, "SLS", w.send("POST", slsTrackOf("slow"), oneLog), 403, "WriteQuotaExceed")
	checkEmptySuccess(t, "CLS", w.send("POST", clsTrackOf("slow"), tenCLS, "Content-Type", "application/json"))
	// SDK 1.0.13 repeats everything but 200 and 413 at once; 2.0.0 waits after 429.
	checkCLSError(t, "CLS 1.0.13", w.send("POST", clsTrackOf("slow"), oneCLSLog, "Content-Type", "application/json"), 413, "SpeedQuotaExceed")
	checkCLSError(t, "CLS 2.0.0", w.send("POST", clsTrackOf("slow"), oneCLSLog, "Content-Type", "text/plain"), 429, "SpeedQuotaExceed")
	if a := w.send("GET", "/track.gif?topic_id=slow&k=v", ""); a.body != string(sls.GIF) {
		t.Errorf("pixel: %d %q", a.StatusCode, a.body)
	}
	if n, m := w.refused("sls/myproj/slow", overRate), w.refused("cls/slow", overRate); n != 1 || m != 3 {
		t.Errorf("%d and %d counted", n, m)
	}
	// The operator's own keys are not bound by the rate of an address.
	body := `{"__logs__":[{"k":"v"}]}`
	checkEmptySuccess(t, "signed", w.send("POST", "/logstores/slow", body, signed("/logstores/slow", "", body, keyID, keySecret, time.Now())...))
	at = at.Add(time.Second)
	checkEmptySuccess(t, "a second later", w.send("POST", slsTrackOf("slow"), oneLog))
	checkSLSError(t, "no more", w.send("POST", slsTrackOf("slow"), oneLog), 403, "WriteQuotaExceed")
}

func TestRates(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	r := newRates()
	r.now = func() time.Time { return at }
	one, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	s := &spender{stream: "sls/p/s", address: one, own: rate{events: 2}, all: rate{events: 3, bytes: 100}}
	if !r.has(s) || !r.spend(s, 20, 10) || r.has(s) || r.spend(s, 1, 1) {
		t.Error("an address has ten seconds' worth at once")
	}
	t2 := *s
	t2.address = other
	if !r.spend(&t2, 10, 10) || r.spend(&t2, 10, 10) {
		t.Error("all addresses together have ten seconds' worth")
	}
	at = at.Add(5 * time.Second)
	if !r.spend(s, 10, 10) || r.spend(s, 1, 1) {
		t.Error("it comes back with time")
	}
	at = at.Add(-time.Hour)
	if r.spend(s, 1, 1) {
		t.Error("a clock that was set back adds nothing")
	}
	at = at.Add(2 * time.Hour)
	if !r.spend(s, 1000, 5000) {
		t.Error("what is larger than a full allowance passes when that is full")
	}
	at = at.Add(10 * time.Second)
	if r.spend(s, 1, 1) {
		t.Error("and leaves a debt")
	}
	v6 := &spender{stream: "sls/p/s6", address: netip.MustParseAddr("2001:db8::1"), own: rate{bytes: 1}}
	same := *v6
	same.address = netip.MustParseAddr("2001:db8::ffff:2")
	if !r.spend(v6, 1, 10) || r.spend(&same, 1, 10) {
		t.Error("a /64 is one address")
	}
	for i := range maxRates + 10 {
		v6.address = netip.AddrFrom4([4]byte{byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)})
		r.spend(v6, 1, 1)
	}
	if n := len(r.left); n > maxRates {
		t.Errorf("%d allowances are kept", n)
	}
}

func TestAddressForms(t *testing.T) {
	w := start(t, func(c *Config, _ *Deps) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")} })
	hashed := regexp.MustCompile(`^[a-z2-7]{16}$`)
	for _, row := range []struct{ form, from, want string }{
		{"", "192.0.2.77", "192.0.2.0"}, {"", "2001:db8:1:2:3::4", "2001:db8:1::"}, {"", "127.0.0.1", "127.0.0.1"},
		{"none", "192.0.2.77", "<none>"}, {"masked", "192.0.2.77", "192.0.2.0"}, {"full", "192.0.2.77", "192.0.2.77"}, {"hashed", "192.0.2.77", ""},
	} {
		name := "form-" + row.form
		w.ruled(name, logbridge.WebRules{Privacy: logbridge.WebPrivacy{Address: logbridge.AddressForm(row.form)}})
		checkEmptySuccess(t, name, w.send("POST", slsTrackOf(name), oneLog, HeaderXForwardedFor, row.from))
		checkEmptySuccess(t, name, w.send("POST", clsTrackOf(name), oneCLSLog, HeaderXForwardedFor, row.from)) // says a source of its own
		source := attr(w.last(logbridge.SLSStream("myproj", name)), "__source__")
		tag := attr(w.last(logbridge.CLSStream(name)), "__tag__:__client_ip__")
		wantTag := row.want
		switch row.form {
		case "":
			wantTag = "<none>"
		case "hashed":
			if !hashed.MatchString(source) || !hashed.MatchString(tag) || source == tag {
				t.Errorf("hashed: %q, %q", source, tag)
			}
			continue
		}
		if source != row.want || tag != wantTag {
			t.Errorf("%q of %s: source %q, tag %q", row.form, row.from, source, tag)
		}
	}
	day := time.Unix(1_700_000_000, 0)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	first := w.hashAddress(a, "sls/p/s", day)
	if first != w.hashAddress(a, "sls/p/s", day.Add(time.Hour/2)) || first == w.hashAddress(b, "sls/p/s", day) ||
		first == w.hashAddress(a, "sls/p/s", day.Add(24*time.Hour)) || first == w.hashAddress(a, "sls/p/t", day) {
		t.Error("a hash is of an address, a store and a day")
	}
}

func TestOptOut(t *testing.T) {
	w := start(t)
	for i, header := range []string{"DNT", "Sec-GPC"} {
		for _, form := range []logbridge.OptOut{"", logbridge.OptOutIgnore, logbridge.OptOutAddress, logbridge.OptOutEvent} {
			name := fmt.Sprintf("opt-%s%d", form, i)
			w.ruled(name, logbridge.WebRules{Privacy: logbridge.WebPrivacy{OptOut: form}})
			pixel := "/logstores/" + name + "/track_ua.gif?APIVersion=0.6.0&k=v"
			w.send("GET", pixel, "", "User-Agent", "agent", header, "1")
			w.send("GET", pixel, "", "User-Agent", "agent", header, "0")
			checkEmptySuccess(t, name, w.send("POST", clsTrackOf(name), oneCLSLog, header, "1"))
			got := w.records(logbridge.Query{Stream: logbridge.SLSStream("myproj", name)})
			want, source, agent := 2, "127.0.0.1", "agent"
			switch form {
			case logbridge.OptOutAddress:
				source, agent = "<none>", "<none>"
			case logbridge.OptOutEvent:
				want = 1
			}
			if len(got) != want || attr(got[0], "__source__") != source || attr(got[0], "__userAgent__") != agent || attr(got[0], "k") != "v" {
				t.Errorf("%s %s: %+v", header, form, got)
			}
			dropped := uint64(0)
			for _, s := range w.sink.Ledger().Streams {
				if s.Stream == logbridge.CLSStream(name) {
					dropped = s.Dropped["opt_out"]
				}
			}
			if (dropped == 1) != (form == logbridge.OptOutEvent) {
				t.Errorf("%s %s: %d dropped", header, form, dropped)
			}
		}
	}
}

func TestBots(t *testing.T) {
	for agent, want := range map[string]string{
		"": "", "Go-http-client/1.1": "", "okhttp/4.9.0": "",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36":   "",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 MicroMessenger/8.0.42 [Pinterest/iOS]": "",
		"Mozilla/5.0 (Linux; Android 9; CUBOT) AppleWebKit/537.36 Chrome/90.0 Mobile Safari/537.36":                         "",
		"Mozilla/5.0 (Linux; Android 10; SogouMobileBrowser) Safari/537.36":                                                 "",
		"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)":                                          botSearch,
		"Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)":                               botSearch,
		"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)":            botAI,
		"facebookexternalhit/1.1": botPreview,
		"Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)": botMonitor,
		"Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/131.0.0.0 Safari/537.36": botHeadless,
		"curl/8.5.0": botScript,
		"SomethingElseBot/1.0 (+https://a.example)": botOther,
	} {
		if got := botClass(agent); got != want {
			t.Errorf("%q is %q, want %q", agent, got, want)
		}
	}
	w := start(t)
	checkEmptySuccess(t, "bot", w.send("POST", trackPath, `{"__logs__":[{"a":"1"},{"a":"2"}]}`, "User-Agent", "GPTBot/1.2"))
	checkEmptySuccess(t, "browser", w.send("POST", clsTrackOf("topic-1"), oneCLSLog, "User-Agent", "Mozilla/5.0"))
	got := w.records(logbridge.Query{})
	if len(got) != 3 || attr(got[0], botField) != botAI || attr(got[1], botField) != botAI || attr(got[1], "a") != "2" || attr(got[2], botField) != "<none>" {
		t.Errorf("%+v", got)
	}
	var c botCache
	for i := range 3 * maxBotCache {
		c.class(fmt.Sprintf("agent/%d", i))
	}
	n := 0
	c.known.Range(func(any, any) bool { n++; return true })
	if n > maxBotCache {
		t.Errorf("%d User-Agents are remembered", n)
	}
}
