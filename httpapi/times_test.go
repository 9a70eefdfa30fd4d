package httpapi

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/recorded"
	"github.com/logbridge/logbridge/wire/tencent"
)

// deviceText is a time as a device in the product's zone writes it, to the second.
func deviceText(t time.Time) string {
	return t.In(time.FixedZone("Asia/Shanghai", 8*60*60)).Format("2006-01-02 15:04:05")
}

// instant reads a time of an answer.
func instant(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, text)
	check(t, err)
	return at
}

// times queries a stream, oldest position first.
func (w *world) times(filter string) []line {
	w.t.Helper()
	lines := w.logs(filter + "&since=1700-01-01T00:00:00Z&direction=forward")
	bodies := map[string]line{}
	for _, l := range lines {
		bodies[l.Body+l.Attributes["n"]] = l
	}
	var ordered []line
	for i := range lines {
		ordered = append(ordered, bodies[strconv.Itoa(i)])
	}
	return ordered
}

// wantTime says what is expected of one line: its time as sent, plus by, or the time of receipt if at is zero.
type wantTime struct {
	quality, raw string
	at           time.Time
	by           time.Duration
}

// checkTimes compares to within slack, since receipt is a moment after a test makes its times.
func checkTimes(t *testing.T, name string, got []line, want ...wantTime) {
	t.Helper()
	const slack = time.Minute
	if len(got) != len(want) {
		t.Fatalf("%s: %d lines", name, len(got))
	}
	for i, l := range got {
		at, observed := instant(t, l.Time), instant(t, l.Observed_Time)
		expected, near := want[i].at.Add(want[i].by), slack
		switch {
		case want[i].at.IsZero():
			expected, near = observed, 0
		case want[i].quality == "device":
			near = 0
		}
		raw, has := l.Attributes["time_raw"]
		if l.Time_Quality != want[i].quality || at.Sub(expected).Abs() > near || raw != want[i].raw || has != (raw != "") {
			t.Errorf("%s: line %d is %+v, want %+v", name, i, l, want[i])
		}
	}
}

func TestTimesOfDeviceLines(t *testing.T) {
	w := start(t)
	const h = time.Hour
	now := time.Now().Truncate(time.Second)
	nonce := 0
	// post sends lines with these times, by a device whose request says sent, and gives what is found of them.
	post := func(sent string, times ...string) []line {
		t.Helper()
		nonce++
		id := logbridge.DeviceID{Product: device01.Product, Device: fmt.Sprintf("clock_%d", nonce)}
		check(t, w.reg.PutDevice(t.Context(), logbridge.Device{ID: id, PSK: recorded.PSK}))
		var messages []string
		for i, text := range times {
			messages = append(messages, fmt.Sprintf("INF|%s|a.c|%d", text, i))
		}
		body := tencent.EncodeUpload(id, messages)
		if code := checkDeviceAnswer(t, w.raw(signedBody(t, recorded.PSK, fmt.Sprint(nonce), sent, body))); code != "" {
			t.Fatal(code)
		}
		return w.times("device=" + id.Device)
	}
	at := func(d time.Duration) time.Time { return now.Add(d) }
	said := func(d time.Duration) string { return deviceText(at(d)) }
	unix := func(d time.Duration) string { return strconv.FormatInt(at(d).Unix(), 10) }

	checkTimes(t, "backlog", post(unix(0), said(-900*h), said(-899*h)),
		wantTime{quality: "device", at: at(-900 * h)}, wantTime{quality: "device", at: at(-899 * h)})
	checkTimes(t, "backlog, device without a clock for requests", post("1609430400", said(-900*h)), wantTime{quality: "device", at: at(-900 * h)})
	checkTimes(t, "ahead, no timestamp", post("0", said(h), said(2*h)),
		wantTime{"shifted", said(h), at(h), -2 * h}, wantTime{"shifted", said(2 * h), at(2 * h), -2 * h})
	checkTimes(t, "ahead, timestamp as well", post(unix(2*h), said(2*h-5*time.Minute)),
		wantTime{"shifted", said(2*h - 5*time.Minute), at(-5 * time.Minute), 0})
	checkTimes(t, "slow, timestamp as well", post(unix(-70*h), said(-90*h), said(-70*h)),
		wantTime{"shifted", said(-90 * h), at(-90 * h), 70 * h}, wantTime{"shifted", said(-70 * h), at(-70 * h), 70 * h})
	checkTimes(t, "never set, time of requests from the server", post(unix(0), "1970-01-01 08:00:05", "1970-01-01 09:00:05"),
		wantTime{"shifted", "1970-01-01 08:00:05", at(-h), 0}, wantTime{"shifted", "1970-01-01 09:00:05", at(0), 0})
	checkTimes(t, "set in between", post(unix(0), "2000-01-01 00:00:05", said(-h)),
		wantTime{"shifted", "2000-01-01 00:00:05", at(-h), 0}, wantTime{quality: "device", at: at(-h)})
	checkTimes(t, "no times", post(unix(0), "", "2026-13-01 00:00:00", "0000-00-00 00:00:00", "0001-01-01 00:00:00", "9999-12-31 23:59:59"),
		wantTime{quality: "received"}, wantTime{quality: "received", raw: "2026-13-01 00:00:00"}, wantTime{quality: "received", raw: "0000-00-00 00:00:00"},
		wantTime{quality: "received", raw: "0001-01-01 00:00:00"}, wantTime{quality: "received", raw: "9999-12-31 23:59:59"})
}

func TestTimesOfWebEvents(t *testing.T) {
	w := start(t)
	now := time.Now().Truncate(time.Second)
	rfc := func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
	future, past := now.Add(24*time.Hour), now.Add(-24*time.Hour)

	// web events of one request, in seconds, milliseconds, and what is no time of an event.
	const form = `{"%[1]s":[%[2]s]}`
	events := func(list string, event string, times ...string) string {
		all := ""
		for i, t := range times {
			if i > 0 {
				all += ","
			}
			all += fmt.Sprintf(event, i, t)
		}
		return fmt.Sprintf(form, list, all)
	}
	signedEvents := func(name string, want []wantTime, times ...string) {
		t.Helper()
		check(t, w.reg.PutLogstore(t.Context(), logbridge.Logstore{Project: "myproj", Name: name}))
		body, path := events("__logs__", `{"n":"%d","__time__":%s}`, times...), "/logstores/"+name
		checkEmptySuccess(t, name, w.send("POST", path, body, signed(path, "", body, keyID, keySecret, now)...))
		checkTimes(t, name, w.times("logstore="+name), want...)
	}
	signedEvents("past", []wantTime{{quality: "device", at: past}, {quality: "device", at: past}},
		fmt.Sprint(past.Unix()), fmt.Sprint(past.UnixMilli()))
	signedEvents("future", []wantTime{{"shifted", rfc(past), past, now.Sub(future)}, {"shifted", rfc(future), now, 0}},
		fmt.Sprint(past.Unix()), fmt.Sprint(future.UnixMilli()))
	signedEvents("unset", []wantTime{{"shifted", "1970-01-01T00:00:01Z", past, 0}, {quality: "device", at: past}, {quality: "received"}},
		"1", fmt.Sprint(past.Unix()), "0")
	signedEvents("garbled", []wantTime{{"shifted", "2262-01-01T00:00:00Z", now, 0}, {quality: "received"}},
		"9214646400000000000", "9223372036854775808")

	topicEvents := func(name string, want []wantTime, times ...string) {
		t.Helper()
		check(t, w.reg.PutCLSTopic(t.Context(), logbridge.CLSTopic{ID: name, AnonymousWrite: true}))
		body := events("logs", `{"contents":{"n":"%d"},"time":%s}`, times...)
		checkEmptySuccess(t, name, w.send("POST", "/tracklog?topic_id="+name, body))
		checkTimes(t, name, w.times("topic="+name), want...)
	}
	topicEvents("past-1", []wantTime{{quality: "device", at: past}, {quality: "received"}, {quality: "received"}}, fmt.Sprint(past.UnixMicro()), "0", "null")
	topicEvents("future-1", []wantTime{{"shifted", rfc(future), now, 0}}, fmt.Sprint(future.UnixMilli()))
	topicEvents("vendors-example", []wantTime{{"shifted", "1973-11-29T21:33:09Z", now, 0}}, "123456789")
	topicEvents("unreadable", []wantTime{{quality: "received", raw: "today"}, {quality: "received", raw: "-1"}}, `"today"`, "-1")

	checkEmptySuccess(t, "anonymous", w.send("POST", trackPath, `{"__logs__":[{"n":"0","__time__":1700000000}]}`))
	checkTimes(t, "anonymous", w.times("logstore=mystore"), wantTime{quality: "received"})
	if a := w.send("GET", "/cls/track.gif?topic_id=topic-1&n=0&time=1700000000", ""); a.StatusCode != 200 {
		t.Errorf("pixel: %d", a.StatusCode)
	}
	checkTimes(t, "pixel", w.times("topic=topic-1"), wantTime{quality: "received"})
}
