package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge/natsd/natstest"
)

// examined runs doctor as a process of its own and gives its exit code and what it found, by check.
func (p *place) examined(args ...string) (code int, found map[string][]finding) {
	p.t.Helper()
	cmd := p.program("logbridge", append([]string{"doctor", "-o", "json", "--syncs", "3", "--data", filepath.Join(p.dir, "data"), "--seal-key", filepath.Join(p.dir, "seal-key")}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	var answer struct{ Checks []finding }
	if err := json.Unmarshal(out, &answer); err != nil {
		p.t.Fatalf("%v: %s\n%s", err, out, stderr.String())
	}
	found = map[string][]finding{}
	for _, f := range answer.Checks {
		found[f.Check] = append(found[f.Check], f)
	}
	return cmd.ProcessState.ExitCode(), found
}

// expect fails the test unless a finding of check has this state and both texts.
func (p *place) expect(found map[string][]finding, check, state, detail, do string) {
	p.t.Helper()
	for _, f := range found[check] {
		if f.State == state && strings.Contains(f.Detail, detail) && strings.Contains(f.Do, do) {
			return
		}
	}
	p.t.Errorf("%s: %+v, want %s with %q and %q", check, found[check], state, detail, do)
}

func TestDoctorBesideARunningServer(t *testing.T) {
	home := newPlace(t, "")
	code, found := home.examined("--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0")
	if code != exitOK {
		t.Errorf("before the first start: exit code %d, %+v", code, found)
	}
	home.expect(found, "data folder", stateOK, "not there yet", "")
	home.expect(found, "seal key", stateOK, "not there yet", "")
	home.expect(found, "address --http", stateOK, "at each start", "")
	if f := found["disk sync"]; len(f) != 1 || !strings.Contains(f[0].Detail, "of 3:") {
		t.Errorf("disk sync: %+v", f)
	}
	if _, err := os.Stat(filepath.Join(home.dir, "data")); err == nil {
		t.Error("doctor has made the data folder")
	}

	s := home.start(anyone, anyone)
	code, found = home.examined("--http", s.addr("http"), "--mqtt", s.addr("mqtt"))
	if code != exitOK {
		t.Errorf("beside the server: exit code %d, %+v", code, found)
	}
	home.expect(found, "data folder", stateOK, "a server works on it", "")
	home.expect(found, "address --http", stateOK, "taken by the server that runs", "")
	home.expect(found, "clock", stateOK, "as the server's", "")
	home.expect(found, "seal key", stateOK, "outside the data folder", "")
	home.expect(found, "administrator's token", stateOK, "admin-token", "")
	if left, err := filepath.Glob(filepath.Join(home.dir, "data", ".doctor-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestDoctorSaysWhatIsWrongAllTogether(t *testing.T) {
	home := newPlace(t, "retention_age: 5m\nnosuch: 1\n")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	data := filepath.Join(home.dir, "data")
	if err := os.MkdirAll(filepath.Join(data, "nats"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "admin-token"), []byte("short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().String()
	_ = free.Close()
	code, found := home.examined("--config", filepath.Join(home.dir, "logbridge.yaml"), "--http", taken.Addr().String(), "--mqtt", port, "--admin", port,
		"--mqtt-max-connections", "9999999")
	if code != exitFailure {
		t.Errorf("exit code %d", code)
	}
	home.expect(found, "configuration", stateFailed, "nosuch", "")
	home.expect(found, "configuration", stateFailed, "--retention-age: use at least", "")
	home.expect(found, "data folder", stateWarning, "read by other users", "chmod 700")
	home.expect(found, "seal key", stateFailed, "but the data is", "put the copy of the key back")
	home.expect(found, "administrator's token", stateFailed, "one word", "--admin-token-file")
	home.expect(found, "address --http", stateFailed, "is taken by", "choose another port with --http")
	home.expect(found, "address --admin", stateFailed, "given to two flags", "--admin")
	home.expect(found, "open files", stateWarning, "9999999", "LimitNOFILE=")
	if _, err := os.Stat("/proc/net/tcp"); err == nil && !strings.Contains(found["address --http"][0].Detail, "process") {
		t.Errorf("who has the port: %+v", found["address --http"])
	}
}

func TestDoctorReadsCertificates(t *testing.T) {
	home := newPlace(t, "")
	ca := home.authority("ca")
	for _, c := range []struct {
		life             time.Duration
		state, check, do string
		mode             os.FileMode
	}{
		{90 * 24 * time.Hour, stateOK, "TLS certificate", "", 0o600},
		{10 * 24 * time.Hour, stateWarning, "TLS certificate", "renew", 0o600},
		{-time.Hour, stateFailed, "TLS certificate", "renew", 0o600},
		{90 * 24 * time.Hour, stateWarning, "TLS key", "chmod 600", 0o644},
	} {
		ca.issue("tls", c.life)
		cert, key := home.file("tls.crt"), home.file("tls.key")
		if err := os.Chmod(key, c.mode); err != nil {
			t.Fatal(err)
		}
		code, found := home.examined("--http", anyone, "--mqtt", anyone, "--mqtts", anyone, "--tls-cert", cert, "--tls-key", key)
		home.expect(found, c.check, c.state, "", c.do)
		if (code == exitFailure) != (c.state == stateFailed) {
			t.Errorf("%s: exit code %d", c.life, code)
		}
	}
	_, found := home.examined("--http", anyone, "--mqtt", anyone, "--mqtts", anyone, "--tls-cert", "nowhere.crt", "--tls-key", "nowhere.key")
	home.expect(found, "TLS", stateFailed, "nowhere", "PEM")
}

func TestDoctorAsksTheCluster(t *testing.T) {
	home := newPlace(t, "")
	cluster := natstest.Start(t, 1)
	_, found := home.examined("--http", anyone, "--mqtt", anyone, "--nats", cluster.URL(), "--nats-sync-always", "--nats-replicas", "1")
	home.expect(found, "cluster", stateOK, "1 servers", "")
	_, found = home.examined("--http", anyone, "--mqtt", anyone, "--nats", cluster.URL(), "--nats-sync-always")
	home.expect(found, "cluster", stateWarning, "1 servers", "--nats-replicas")
	code, found := home.examined("--http", anyone, "--mqtt", anyone, "--nats", cluster.URL())
	home.expect(found, "configuration", stateFailed, "--nats-sync-always", "")
	home.expect(found, "cluster", stateSkipped, "", "")
	if code != exitFailure {
		t.Errorf("exit code %d", code)
	}
	cluster.Kill(0)
	_, found = home.examined("--http", anyone, "--mqtt", anyone, "--nats", cluster.URL(), "--nats-sync-always", "--nats-replicas", "1")
	home.expect(found, "cluster", stateFailed, "NATS cluster", "see whether its servers run")
}
