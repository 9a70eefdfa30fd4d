package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
)

// e2eConfig is what the tests of the whole program start with.
const e2eConfig = `
provision:
  products:
    - id: ABCDE12345
      level: error
      devices:
        - {name: dev_01, psk: bXktMTYtYnl0ZS1rZXkhIQ==, tags: {site: lab}}
        - {name: dev_02, psk: bXktMTYtYnl0ZS1rZXkhIQ==}
  sls:
    - project: myproj
      hosts: [127.0.0.1]
      logstores: [{name: mystore, web_tracking: true, origins: ["*"]}]
  cls:
    - {topic: topic-1, anonymous_write: true}
`

const (
	e2ePSK = "bXktMTYtYnl0ZS1rZXkhIQ=="
	anyone = "127.0.0.1:0"
)

func device(name string) logbridge.DeviceID {
	return logbridge.DeviceID{Product: "ABCDE12345", Device: name}
}

// testDevice is a device on paho, with what it was told.
type testDevice struct {
	t      testing.TB
	id     logbridge.DeviceID
	client mqtt.Client
	told   chan tencent.LevelReplyFields
}

// dial logs in with what "device login" printed.
func (s *process) dial(id logbridge.DeviceID) *testDevice {
	t := s.place.t
	t.Helper()
	var l login
	for line := range strings.Lines(s.run("device", "login", id.String())) {
		for name, to := range map[string]*string{"client id": &l.ClientID, "user name": &l.UserName, "password": &l.Password} {
			if value, ok := strings.CutPrefix(line, name); ok {
				*to = strings.TrimSpace(value)
			}
		}
	}
	d := &testDevice{t: t, id: id, told: make(chan tencent.LevelReplyFields, 100)}
	o := mqtt.NewClientOptions().AddBroker("tcp://" + s.addr("mqtt")).SetAutoReconnect(false)
	o.SetClientID(l.ClientID).SetUsername(l.UserName).SetPassword(l.Password)
	d.client = mqtt.NewClient(o)
	d.done(d.client.Connect())
	t.Cleanup(func() { d.client.Disconnect(0) })
	d.done(d.client.Subscribe(tencent.OperationResultTopic(id), 1, func(_ mqtt.Client, m mqtt.Message) {
		reply, err := tencent.ParseLevelReply(m.Payload())
		if err != nil || len(m.Payload()) > tencent.MaxLevelReply {
			t.Errorf("level message %q: %v", m.Payload(), err)
		}
		d.told <- reply
	}))
	return d
}

func (d *testDevice) done(token mqtt.Token) {
	d.t.Helper()
	if !token.WaitTimeout(patience) || token.Error() != nil {
		d.t.Fatalf("%s: %v", d.id, token.Error())
	}
}

// hears waits for the next level and wants it to be this one.
func (d *testDevice) hears(want logbridge.Level, token string) {
	d.t.Helper()
	select {
	case got := <-d.told:
		if got.Level != want || got.ClientToken != token {
			d.t.Errorf("%s was told %s (token %q), want %s (%q)", d.id, got.Level, got.ClientToken, want, token)
		}
	case <-time.After(patience):
		d.t.Fatalf("%s was not told %s", d.id, want)
	}
}

func (d *testDevice) ask(token string) {
	d.t.Helper()
	d.done(d.client.Publish(tencent.OperationTopic(d.id), 0, false, tencent.LevelRequestPayload(token)))
}

func (d *testDevice) report(lines ...string) {
	d.t.Helper()
	d.done(d.client.Publish(tencent.ReportTopic(d.id), 1, false, strings.Join(lines, "\n")))
}

// upload is a signed POST to /device/reportlog, as the C SDK makes it.
type upload struct {
	body   []byte
	header http.Header
}

func newUpload(id logbridge.DeviceID, nonce string, lines ...string) (upload, error) {
	body := tencent.EncodeUpload(id, lines)
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	signature, err := tencent.Sign(e2ePSK, tencent.HMACSHA1, "127.0.0.1", "/device/reportlog", stamp, nonce, body)
	h := http.Header{}
	for name, value := range map[string]string{"X-TC-Algorithm": tencent.HMACSHA1, "X-TC-Timestamp": stamp, "X-TC-Nonce": nonce, "X-TC-Signature": signature} {
		h.Set(name, value)
	}
	return upload{body, h}, err
}

// send returns nil when the answer is a success for a device.
func (u upload) send(client *http.Client, url string) error {
	req, err := http.NewRequest(http.MethodPost, url+"/device/reportlog", bytes.NewReader(u.body))
	if err != nil {
		return err
	}
	req.Header = u.header
	answer, err := call(client, req)
	if err == nil && (!strings.HasPrefix(answer, `{"Response":`) || strings.Contains(answer, `"Error"`)) {
		err = fmt.Errorf("answer %s", answer)
	}
	return err
}

// call makes a request and wants status 200.
func call(client *http.Client, req *http.Request) (string, error) {
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", res.StatusCode, answer)
	}
	return string(answer), err
}

// track sends events to the logstore.
func track(client *http.Client, url string, events ...string) error {
	var logs []map[string]string
	for _, e := range events {
		logs = append(logs, map[string]string{"event": e})
	}
	body, err := json.Marshal(map[string]any{"__logs__": logs, "__topic__": "shop"})
	if err != nil {
		return err
	}
	req, err := http.NewRequest(http.MethodPost, url+"/logstores/mystore/track?APIVersion=0.6.0", bytes.NewReader(body))
	if err != nil {
		return err
	}
	_, err = call(client, req)
	return err
}

// trackCLS sends one event to the topic.
func trackCLS(client *http.Client, url, event string) error {
	req, err := http.NewRequest(http.MethodGet, url+"/track?topic_id=topic-1&event="+event, nil)
	if err != nil {
		return err
	}
	_, err = call(client, req)
	return err
}

// bodies are the lines of a list of records, events as their field.
func bodies(list []found) []string {
	var out []string
	for _, r := range list {
		if r.Body == "" {
			out = append(out, r.Attributes["event"])
		} else {
			out = append(out, r.Body)
		}
	}
	slices.Sort(out)
	return out
}

func wantBodies(t *testing.T, list []found, want ...string) {
	t.Helper()
	if got := bodies(list); !slices.Equal(got, want) {
		t.Errorf("records %q, want %q", got, want)
	}
}

// TestWholeProgram is the main job, end to end: a device, a page and an operator, over a restart.
func TestWholeProgram(t *testing.T) {
	home := newPlace(t, e2eConfig)
	s := home.start(anyone, anyone)
	dev := s.dial(device("dev_01"))
	dev.ask("ABCDE12345-1")
	dev.hears(logbridge.LevelError, "ABCDE12345-1")
	if out := s.run("level", "set", "ABCDE12345/dev_01", "debug", "--for", "30m", "--reason", "e2e"); !strings.Contains(out, "debug, for 30m0s") {
		t.Errorf("level set printed %q", out)
	}
	dev.hears(logbridge.LevelDebug, "")

	dev.report("DBG|2026-11-21 10:55:44|main.c|by mqtt", "INF|2026-11-21 10:55:45|main.c|by mqtt too")
	client := &http.Client{Timeout: patience}
	up, err := newUpload(device("dev_01"), "1", "ERR|2026-11-21 10:55:46|main.c|by http")
	for range 2 { // a replay is acknowledged and stored once
		if err == nil {
			err = up.send(client, s.url())
		}
	}
	for _, err := range []error{err, track(client, s.url(), "cart", "buy"), trackCLS(client, s.url(), "page")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	check := func(s *process) {
		t.Helper()
		wantBodies(t, s.records("source=mqtt"), "by mqtt", "by mqtt too")
		wantBodies(t, s.records("source=reportlog"), "by http")
		wantBodies(t, s.records("source=sls&project=myproj&logstore=mystore"), "buy", "cart")
		wantBodies(t, s.records("source=cls&topic=topic-1"), "page")
		if out := s.run("logs", "-p", "ABCDE12345", "-d", "dev_0*", "--level", "error", "--grep", "by http", "--since", "2020-01-01T00:00:00Z"); strings.Count(out, "\n") != 1 || !strings.Contains(out, "ERROR ABCDE12345/dev_01 by http") {
			t.Errorf("logs printed %q", out)
		}
		if out := s.run("level", "ls"); !strings.Contains(out, "ABCDE12345/dev_01") || !strings.Contains(out, "e2e") {
			t.Errorf("level ls printed %q", out)
		}
	}
	check(s)
	if !slices.ContainsFunc(s.records("source=audit"), func(r found) bool { return strings.Contains(fmt.Sprint(r), "e2e") }) {
		t.Error("the change of level is not in the audit stream")
	}
	if code := s.stop(syscall.SIGTERM); code != exitOK {
		t.Fatalf("exit code %d after SIGTERM:\n%s", code, s.output())
	}
	s = home.start(anyone, anyone)
	check(s)
	dev = s.dial(device("dev_01"))
	dev.ask("again")
	dev.hears(logbridge.LevelDebug, "again")
	s.run("level", "clear", "ABCDE12345/dev_01", "--reason", "done")
	dev.hears(logbridge.LevelError, "")
	second, err := home.program("logbridge", append(home.args, "--http", anyone, "--mqtt", anyone)...).CombinedOutput()
	if err == nil || !strings.Contains(string(second), "another logbridge works on the data folder") {
		t.Errorf("a second process on the folder: %v\n%s", err, second)
	}
	if code := s.stop(os.Interrupt.(syscall.Signal)); code != exitOK {
		t.Errorf("exit code %d after SIGINT", code)
	}
}

// TestStockToolsTakeADevicesPlace runs the very command lines that "device login" prints.
func TestStockToolsTakeADevicesPlace(t *testing.T) {
	for _, tool := range []string{"mosquitto_sub", "mosquitto_rr", "mosquitto_pub"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIPPED: %s is not installed (Debian: mosquitto-clients); what device login prints is not run", tool)
		}
	}
	s := newPlace(t, e2eConfig).start(anyone, anyone)
	tools := map[string]string{}
	for line := range strings.Lines(s.run("device", "login", "ABCDE12345/dev_01")) {
		if name, _, ok := strings.Cut(line, " "); ok && strings.HasPrefix(name, "mosquitto_") {
			tools[name] = strings.TrimSpace(line)
		}
	}
	shell := func(command string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
		return string(out)
	}
	if out := shell(tools["mosquitto_rr"] + " -W 20"); !strings.Contains(out, `"log_level":1`) {
		t.Errorf("mosquitto_rr printed %q", out)
	}
	shell(tools["mosquitto_pub"])
	wantBodies(t, s.records("source=mqtt"), "hello from the shell")

	heard := make(chan string, 1)
	go func() {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", tools["mosquitto_sub"]+" -C 1 -W 30").CombinedOutput()
		heard <- fmt.Sprintln(string(out), err)
	}()
	limit := time.Now().Add(patience)
	for !s.device(device("dev_01")).Online { // each turn is a request
		select {
		case out := <-heard:
			t.Fatalf("mosquitto_sub ended before it was told anything: %s", out)
		default:
		}
		if time.Now().After(limit) {
			t.Fatal("mosquitto_sub does not log in")
		}
	}
	// Not by a command, whose start may take as long as a device has to ask before it is told unasked.
	level := map[string]string{"level": "info", "for": "5m", "reason": "tools"}
	if err := s.operator().call(t.Context(), http.MethodPut, devicePath(device("dev_01"))+"/level", level, nil); err != nil {
		t.Fatal(err)
	}
	if out := <-heard; !strings.Contains(out, `$log/operation/result/ABCDE12345/dev_01 {"type":"get_log_level","log_level":3`) {
		t.Errorf("mosquitto_sub printed %q", out)
	}
}

// TestFollowGoesOnOverARestart follows with the real command while the server goes away and comes back.
func TestFollowGoesOnOverARestart(t *testing.T) {
	home := newPlace(t, e2eConfig)
	s := home.start(kept(t))
	client := &http.Client{Timeout: patience}
	follow, out := s.follow("--source", "sls")
	lines := json.NewDecoder(out)
	n := 0
	for round := range 3 {
		for range 5 {
			n++
			if err := track(client, s.url(), strconv.Itoa(n)); err != nil {
				t.Fatal(err)
			}
		}
		for i := n - 4; i <= n; i++ {
			var r found
			if err := lines.Decode(&r); err != nil || r.Attributes["event"] != strconv.Itoa(i) {
				t.Fatalf("event %d: got %q, %v", i, r.Attributes["event"], err)
			}
		}
		if round < 2 {
			addr := s.addr("http")
			s.stop([]syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}[round])
			s = home.start(addr, anyone)
		}
	}
	if err := follow.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := follow.Wait(); err != nil {
		t.Errorf("logs -f ended with %v", err)
	}
}

func TestSecretsAreMadeOnceAndOnlyTheirPathsPrinted(t *testing.T) {
	home := newPlace(t, e2eConfig)
	s := home.start(anyone, anyone)
	token, err := os.ReadFile(home.tokenFile())
	if err != nil {
		t.Fatal(err)
	}
	seal, err := os.ReadFile(filepath.Join(home.dir, "seal-key"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{home.tokenFile(), filepath.Join(home.dir, "seal-key")} {
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", file, info.Mode(), err)
		}
		if !strings.Contains(s.output(), "path="+file) {
			t.Errorf("the path %s is not printed", file)
		}
	}
	s.stop(syscall.SIGTERM)
	s = home.start(anyone, anyone)
	again, err := os.ReadFile(home.tokenFile())
	if err != nil || !bytes.Equal(token, again) {
		t.Error("the token changed at the restart")
	}
	for _, secret := range []string{strings.TrimSpace(string(token)), strings.TrimSpace(string(seal)), e2ePSK} {
		if strings.Contains(s.output(), secret) {
			t.Error("a secret is in the log")
		}
	}
}
