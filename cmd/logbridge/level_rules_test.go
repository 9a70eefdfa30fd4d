package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/devicesim"
)

// simulated is a running fleet of simulated devices, and who of them has written a debug line.
type simulated struct {
	ids   []logbridge.DeviceID
	mu    sync.Mutex
	debug map[string]bool
}

// simulate provisions and runs n devices, of which the odd ones have the tag site=lab.
func simulate(t *testing.T, n int) (home *place, s *process, fleet *simulated) {
	t.Helper()
	var config strings.Builder
	_, _ = config.WriteString("provision:\n  products:\n    - id: ABCDE12345\n      level: error\n      devices:\n")
	fleet = &simulated{debug: map[string]bool{}}
	var credentials []devicesim.Credential
	for i := range n {
		id := device(fmt.Sprintf("dev_%02d", i))
		_, _ = fmt.Fprintf(&config, "        - {name: %s, psk: %s, tags: {site: %s}}\n", id.Device, e2ePSK, [...]string{"hall", "lab"}[i%2])
		fleet.ids, credentials = append(fleet.ids, id), append(credentials, devicesim.Credential{ID: id, PSK: e2ePSK})
	}
	home = newPlace(t, config.String())
	s = home.start(kept(t))
	devices, err := devicesim.New(devicesim.Config{Broker: s.addr("mqtt"), HTTP: s.url(), Devices: credentials, LineRate: 10,
		UploadEvery: 200 * time.Millisecond, Acked: fleet.acked}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = devices.Run(ctx) }) // always nil
	t.Cleanup(func() { cancel(); running.Wait() })
	return home, s, fleet
}

func (f *simulated) acked(id logbridge.DeviceID, lines []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, "DBG") }) {
		f.debug[id.Device] = true
	}
}

// wrote are the names of the devices that have written a debug line.
func (f *simulated) wrote() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var names []string
	for name := range f.debug {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// within are the names of the devices of a percentage.
func (f *simulated) within(percent int) []string {
	var names []string
	for _, id := range f.ids {
		if id.Slot() < percent*logbridge.Slots/100 {
			names = append(names, id.Device)
		}
	}
	return names
}

// all waits until every device of the product is as it should be.
func (s *process) all(what string, so func(deviceState) bool) {
	s.place.t.Helper()
	for limit := time.Now().Add(patience); ; { // each turn is a request
		var page struct {
			Devices []deviceState `json:"devices"`
		}
		if err := s.operator().call(s.place.t.Context(), http.MethodGet, "/devices?product=ABCDE12345&limit=1000", nil, &page); err != nil {
			s.place.t.Fatal(err)
		}
		not := slices.DeleteFunc(page.Devices, so)
		if len(not) == 0 {
			return
		}
		if time.Now().After(limit) {
			s.place.t.Fatalf("%s: not so for %d devices, such as %+v", what, len(not), not[0])
		}
	}
}

// ruleID is the id in what level set printed.
func ruleID(t *testing.T, out string) string {
	t.Helper()
	id, _, ok := strings.Cut(strings.TrimPrefix(out, "rule "), ":")
	if !ok || !strings.HasPrefix(out, "rule ") {
		t.Fatalf("level set printed %q", out)
	}
	return id
}

// TestTenPercentAreRaised: a tenth of the fleet is raised for a time; just those devices hear of it and say more, and they fall
// back at its end, once while the server runs and once over a restart.
func TestTenPercentAreRaised(t *testing.T) {
	home, s, fleet := simulate(t, 40)
	tenth := fleet.within(10)
	if len(tenth) == 0 || len(tenth) > 10 {
		t.Fatalf("%d devices are in 10 %%", len(tenth))
	}
	within := func(d deviceState) bool { return slices.Contains(tenth, d.Device) }
	s.all("asked at error", func(d deviceState) bool { return d.Online && d.Desired == "error" && d.State != "offline" })

	set := []string{"level", "set", "--product", "ABCDE12345", "--percent", "10", "debug", "--for", "30m", "--reason", "rollout"}
	if out := s.run(append(set, "--dry-run")...); !strings.HasPrefix(out, fmt.Sprintf("would match   %s, %d of them connected: ABCDE12345/%s", many(len(tenth), "device"), len(tenth), tenth[0])) {
		t.Errorf("dry run printed %q", out)
	}
	id := ruleID(t, s.run(set...))
	s.all("the tenth at debug, and seen", func(d deviceState) bool {
		if within(d) {
			return d.Desired == "debug" && d.State == "seen" && d.Rule == id && d.Reason == "rollout"
		}
		return d.Desired == "error" && d.Rule == ""
	})
	if out := s.run("level", "show", id); !strings.Contains(out, "product=ABCDE12345 percent=10") || !strings.Contains(out, fmt.Sprintf("seen %d", len(tenth))) {
		t.Errorf("level show printed %q", out)
	}
	if out := s.run("level", "ls"); !strings.Contains(out, id) || !strings.Contains(out, "rollout") {
		t.Errorf("level ls printed %q", out)
	}
	s.run("level", "extend", id, "--for", "1s", "--reason", "enough")
	s.all("back at error, and told", func(d deviceState) bool { return d.Desired == "error" && d.State != "offline" && d.Rule == "" })
	if got := fleet.wrote(); !slices.Equal(got, tenth) {
		t.Errorf("debug lines of %q, want those of %q", got, tenth)
	}
	wantRuleRecords(t, s, id, tenth)

	// Once more, with the end while the server is away, and another rule that lasts.
	lasts := ruleID(t, s.run("level", "set", "--product", "ABCDE12345", "--glob", "dev_3*", "--tag", "site=lab", "info", "--for", "1h", "--reason", "lasts"))
	id = ruleID(t, s.run(set...))
	s.all("the tenth at debug again", func(d deviceState) bool { return !within(d) || d.State == "seen" })
	s.run("level", "extend", id, "--for", "1s")
	if code := s.stop(syscall.SIGTERM); code != exitOK {
		t.Fatalf("exit code %d:\n%s", code, s.output())
	}
	s = home.start(s.addr("http"), s.addr("mqtt"))
	s.all("as the rule that lasts says, and asked", func(d deviceState) bool {
		want := "error"
		if strings.HasPrefix(d.Device, "dev_3") && d.Tags["site"] == "lab" {
			want = "info"
		}
		return d.Online && d.Desired == want && d.State != "offline" && (d.Rule == lasts) == (want == "info")
	})
	if out := s.run("level", "ls"); strings.Contains(out, id) || !strings.Contains(out, lasts) {
		t.Errorf("level ls printed %q", out)
	}
	s.run("level", "clear", lasts, "--reason", "done")
	s.all("all at error", func(d deviceState) bool { return d.Desired == "error" && d.State != "offline" })
	if got := fleet.wrote(); !slices.Equal(got, tenth) {
		t.Errorf("debug lines of %q, want those of %q", got, tenth)
	}
}

// wantRuleRecords waits for what is in the audit stream about a rule, and for the marker lines of its devices, which come after
// what they tell of.
func wantRuleRecords(t *testing.T, s *process, id string, devices []string) {
	t.Helper()
	audit, marked := s.ruleRecords(id)
	for limit := time.Now().Add(patience); len(marked) < 3*len(devices) && time.Now().Before(limit); { // each turn is a request
		audit, marked = s.ruleRecords(id)
	}
	n := fmt.Sprint(len(devices))
	if want := []string{"rule.set admin " + n + " " + n + " error debug", "rule.change admin " + n + " " + n + " debug debug", "level.expire expiry " + n + " " + n + " debug error"}; !slices.Equal(audit, want) {
		t.Errorf("audit records %q, want %q", audit, want)
	}
	for _, name := range devices {
		for _, what := range []string{"rule.set debug", "rule.change debug", "level.expire error"} {
			if !slices.Contains(marked, "device/ABCDE12345/"+name+" "+what) {
				t.Errorf("%s has no marker line for %s", name, what)
			}
		}
	}
	if len(marked) != 3*len(devices) {
		t.Errorf("%d marker lines", len(marked))
	}
}

// ruleRecords are the audit records of a rule, and its marker lines.
func (s *process) ruleRecords(id string) (audit, marked []string) {
	for _, r := range s.records("source=audit") {
		switch {
		case r.Attributes["rule"] != id:
		case r.Stream == "audit":
			audit = append(audit, strings.Join([]string{r.Attributes["action"], r.Attributes["actor"], r.Attributes["matched"], r.Attributes["marked"], r.Attributes["before"], r.Attributes["after"]}, " "))
		default:
			marked = append(marked, r.Stream+" "+r.Attributes["action"]+" "+r.Attributes["after"])
		}
	}
	return audit, marked
}
