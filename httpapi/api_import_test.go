package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// imported is what an import answered.
type imported struct {
	made     map[string]string // secrets by device
	would    []string          // of a dry run, the device behind what it would do
	bad      map[int]string    // reasons by line
	summary  map[string]any
	failure  string
	progress int
}

func (w *world) importDevices(body io.Reader) imported {
	w.t.Helper()
	return w.importTo("/devices/import", body)
}

func (w *world) importTo(path string, body io.Reader) imported {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), "POST", w.url+apiPath+path, body)
	check(w.t, err)
	r.Header.Set("Authorization", "Bearer "+adminToken)
	resp, err := http.DefaultTransport.RoundTrip(r)
	check(w.t, err)
	defer resp.Body.Close()
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != ndjson {
		w.t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	out := imported{made: map[string]string{}, bad: map[int]string{}}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		out.add(w.t, lines.Bytes())
	}
	if out.summary == nil {
		w.t.Error("there is no summary")
	}
	return out
}

func (i *imported) add(t *testing.T, line []byte) {
	t.Helper()
	var v struct {
		importedDevice
		Progress, Summary map[string]any
	}
	check(t, json.Unmarshal(line, &v))
	switch {
	case i.summary != nil:
		t.Errorf("behind the summary: %s", line)
	case v.Summary != nil:
		i.summary, i.failure = v.Summary, v.Error
	case v.Progress != nil:
		i.progress++
	case v.Error != "":
		i.bad[v.Line] = v.Error
	case v.Would != "":
		i.would = append(i.would, v.Would+" "+v.Device)
	default:
		i.made[v.Product+"/"+v.Device] = v.PSK
	}
}

func (i *imported) counts() string {
	return fmt.Sprint(i.summary["lines"], " ", i.summary["created"], " ", i.summary["changed"], " ", i.summary["unchanged"], " ", i.summary["bad"], " ", i.summary["complete"])
}

func TestImport(t *testing.T) {
	w := start(t)
	file := strings.Join([]string{
		`{"product":"ABCDE12345","device":"new-1","tags":{"site":"x"}}`,
		`{"product":"ABCDE12345","device":"new-2","psk":"c2VjcmV0"}`,
		``,
		`{"product":"ABCDE12345","device":"dev_01","tags":{"site":"y"}}`,
		`{"product":"NOSUCH1234","device":"d"}`,
		`{"product":"ABCDE12345","device":"bad name"}`,
		`{"product":"ABCDE12345","device":"d","tag":{}}`,
		`{"product":"ABCDE12345","device":"d","psk":"no base64!"}`,
		`{"product":`,
		`{"product":"ABCDE12345","device":"d"} {}`,
		`{"product":"ABCDE12345","device":"` + strings.Repeat("x", maxImportLine) + `"}`,
		`{"product":"ABCDE12345","device":"new-3","certificate_subject":"first"}`,
		`{"product":"ABCDE12345","device":"new-3","certificate_subject":"second"}`,
	}, "\r\n")
	got := w.importDevices(strings.NewReader(file))
	if got.counts() != "12 3 2 0 7 true" || len(got.made) != 1 || len(got.made["ABCDE12345/new-1"]) != 24 || got.failure != "" {
		t.Errorf("%s, made %v, %q", got.counts(), got.made, got.failure)
	}
	for line, says := range map[int]string{5: "NOSUCH1234", 6: "bad name", 7: "tag", 8: "psk", 9: "JSON", 10: "more behind", 11: "65536"} {
		if !strings.Contains(got.bad[line], says) {
			t.Errorf("line %d: %q does not say %q", line, got.bad[line], says)
		}
	}
	device := func(name string) logbridge.Device {
		d, err := w.reg.Device(logbridge.DeviceID{Product: "ABCDE12345", Device: name})
		check(t, err)
		return d
	}
	if d := device("new-1"); d.PSK != got.made["ABCDE12345/new-1"] || d.Tags["site"] != "x" {
		t.Errorf("%+v", d)
	}
	if d := device("new-3"); d.CertificateSubject != "second" || d.PSK != "" {
		t.Errorf("of two lines about one device the first holds: %+v", d)
	}
	if d := device("dev_01"); d.Tags["site"] != "y" || d.Certificate == "" || d.PSK == "" {
		t.Errorf("what a line does not name was changed: %+v", d)
	}
	again := w.importDevices(strings.NewReader(strings.ReplaceAll(file, "first", "second")))
	if again.counts() != "12 0 0 5 7 true" || len(again.made) != 0 || device("new-1").PSK != got.made["ABCDE12345/new-1"] {
		t.Errorf("repeated: %s, made %v", again.counts(), again.made)
	}
	audit := w.records(logbridge.Query{Stream: logbridge.AuditStream})
	if n := len(audit); n != 1 || attr(audit[0], "action") != "import-devices" || !strings.Contains(attr(audit[0], "after"), `"created":3`) {
		t.Errorf("%d audit records: %+v", n, audit)
	}
	if empty := w.importDevices(strings.NewReader("")); empty.counts() != "0 0 0 0 0 true" {
		t.Errorf("of nothing: %s", empty.counts())
	}
}

// TestImportAnswersMeanwhile: secrets and progress come while the body is still being sent, and a body that breaks off is told.
func TestImportAnswersMeanwhile(t *testing.T) {
	w := start(t)
	body, send := io.Pipe()
	r, err := http.NewRequestWithContext(t.Context(), "POST", w.url+apiPath+"/devices/import", body)
	check(t, err)
	r.Header.Set("Authorization", "Bearer "+adminToken)
	go fmt.Fprintln(send, `{"product":"ABCDE12345","device":"new-1"}`)
	resp, err := http.DefaultTransport.RoundTrip(r)
	check(t, err)
	defer resp.Body.Close()
	lines, out := bufio.NewScanner(resp.Body), imported{made: map[string]string{}, bad: map[int]string{}}
	for (len(out.made) == 0 || out.progress == 0) && lines.Scan() {
		out.add(t, lines.Bytes())
	}
	if len(out.made) != 1 || out.progress == 0 {
		t.Errorf("%+v", out)
	}
	fmt.Fprintln(send, `{"product":"ABCDE12345","device":"new-2"}`)
	for len(out.made) < 2 && lines.Scan() {
		out.add(t, lines.Bytes())
	}
	send.CloseWithError(errors.New("pulled out"))
	if _, err := w.reg.Device(logbridge.DeviceID{Product: "ABCDE12345", Device: "new-2"}); err != nil {
		t.Error(err)
	}
}

// TestImportStops at what is no line's fault, and says so.
func TestImportStops(t *testing.T) {
	full := &fullDevices{}
	w := start(t, func(_ *Config, d *Deps) { full.Devices, d.Devices = d.Devices, full })
	var file strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&file, "{\"product\":\"ABCDE12345\",\"device\":\"new-%d\"}\n", i)
	}
	got := w.importDevices(strings.NewReader(file.String()))
	if got.summary["complete"] != false || !strings.Contains(got.failure, "disk full") || got.summary["created"].(float64) < 100 || len(got.made) != int(got.summary["created"].(float64)) {
		t.Errorf("%v %q, %d made", got.summary, got.failure, len(got.made))
	}
}

// fullDevices takes no more than 100 devices, and a few that are on their way.
type fullDevices struct {
	Devices
	mu    sync.Mutex
	taken int
}

func (f *fullDevices) PutDevice(ctx context.Context, d logbridge.Device) error {
	f.mu.Lock()
	f.taken++
	full := f.taken > 100
	f.mu.Unlock()
	if full {
		return fmt.Errorf("%w: disk full", logbridge.ErrUnavailable)
	}
	return f.Devices.PutDevice(ctx, d)
}

// TestExport: what comes out goes in again, secrets only for an administrator, and of what the token sees.
func TestExport(t *testing.T) {
	w := start(t)
	w.importDevices(strings.NewReader(`{"product":"ABCDE12345","device":"new-1","tags":{"site":"x"}}` + "\n" + `{"product":"ABCDE12345","device":"new-2","certificate_subject":"CN=two"}`))
	export := func(query, token string, want int) string {
		t.Helper()
		a := w.send("GET", apiPath+"/devices/export?"+query, "", "Authorization", "Bearer "+token)
		if a.StatusCode != want {
			t.Fatalf("%s: %d %s", query, a.StatusCode, a.body)
		}
		return a.body
	}
	plain, secret := export("", adminToken, 200), export("secrets=true", adminToken, 200)
	psk := func(name string) string {
		d, err := w.reg.Device(logbridge.DeviceID{Product: "ABCDE12345", Device: name})
		check(t, err)
		return d.PSK
	}
	if n := strings.Count(plain, "\n"); n != 3 || strings.Contains(plain, psk("new-1")) || strings.Contains(plain, "psk") || !strings.Contains(plain, "BEGIN CERTIFICATE") {
		t.Errorf("%d devices: %s", n, plain)
	}
	if !strings.Contains(secret, psk("new-1")) || !strings.Contains(secret, psk("dev_01")) {
		t.Errorf("without secrets: %s", secret)
	}
	if got := export("tag=site:x", adminToken, 200); got != `{"product":"ABCDE12345","device":"new-1","tags":{"site":"x"}}`+"\n" {
		t.Errorf("filtered: %s", got)
	}
	for _, text := range []string{plain, secret} {
		if again := w.importDevices(strings.NewReader(text)); again.counts() != "3 0 0 3 0 true" {
			t.Errorf("imported where it comes from: %s %v", again.counts(), again.bad)
		}
	}
	_, operator, err := w.reg.CreateToken(t.Context(), "op", logbridge.RoleOperator, time.Time{}, "device/OTHER12345", "device/ABCDE12345/new-2")
	check(t, err)
	export("secrets=true", operator, 403)
	if got := export("", operator, 200); strings.Count(got, "\n") != 1 || !strings.Contains(got, "new-2") {
		t.Errorf("to a token that sees one: %s", got)
	}
	r := w.send("POST", apiPath+"/devices/import", secret, "Authorization", "Bearer "+operator)
	if strings.Count(r.body, "scope of this token") != 2 || !strings.Contains(r.body, `"unchanged":1,"bad":2`) {
		t.Errorf("imported by a token that sees one: %s", r.body)
	}
}

// FuzzImportLines: whatever is sent, every line is read once, and what is a device comes out as it is written down.
func FuzzImportLines(f *testing.F) {
	f.Add([]byte(`{"product":"ABCDE12345","device":"d","psk":"c2VjcmV0","tags":{"a":"b"}}` + "\n\r\n{}\n"))
	f.Add([]byte(`{"device":1}` + "\n" + strings.Repeat("x", maxImportLine+1) + "\n{"))
	f.Fuzz(func(t *testing.T, body []byte) {
		lines, n := bufio.NewReaderSize(bytes.NewReader(body), maxImportLine), 0
		for {
			text, err := readLine(lines)
			if err == io.EOF {
				break
			}
			n++
			job := importJob{number: n}
			if err != nil || len(text) == 0 || job.parse(text) != nil {
				continue
			}
			written, err := json.Marshal(job.line)
			again := importJob{}
			if err != nil || again.parse(written) != nil || !reflect.DeepEqual(again.line, job.line) {
				t.Errorf("%q became %s: %v", text, written, err)
			}
		}
		if want := bytes.Count(body, []byte("\n")); n != want && n != want+1 {
			t.Errorf("%d lines of %d", n, want)
		}
	})
}
