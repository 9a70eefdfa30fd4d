package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestMQTTDocumentation runs what docs/mqtt.md has for mosquitto_pub, as it stands there.
func TestMQTTDocumentation(t *testing.T) {
	for _, tool := range []string{"mosquitto_pub", "openssl", "gzip", "lz4", "base64", "od"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIPPED: %s is not installed (Debian: mosquitto-clients openssl gzip lz4 coreutils); the commands of docs/mqtt.md are not run", tool)
		}
	}
	page, err := os.ReadFile("../../docs/mqtt.md")
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	script.WriteString("set -eu\n")
	for i, part := range strings.Split(string(page), "\n```") {
		if body, ok := strings.CutPrefix(part, "sh\n"); ok && i%2 == 1 {
			script.WriteString(body + "\n")
		}
	}
	s := newPlace(t, e2eConfig).start(anyone, anyone)
	host, port, _ := strings.Cut(s.addr("mqtt"), ":")
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script.String())
	cmd.Env = append(os.Environ(), "HOST="+host, "PORT="+port, "PRODUCT=ABCDE12345", "DEVICE=dev_01", "PSK="+e2ePSK)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Payload format invalid") {
		t.Fatalf("%v\n%s", err, out)
	}
	var got []string
	for _, r := range s.records("source=mqtt") {
		got = append(got, fmt.Sprintln(r.Level, r.Body, r.Attributes))
	}
	slices.Sort(got)
	want := []string{
		"debug packed by gzip map[]\n",
		"error no route map[]\n",
		"error second map[tag:main.c]\n",
		"info first map[]\n",
		"info packed by lz4 map[]\n",
		"info retry map[n:2]\n",
		"warn low battery map[]\n",
		`warn low battery map[cell:{"id":7} volt:3.2]` + "\n",
	}
	if !slices.Equal(got, want) {
		t.Errorf("stored\n%q, want\n%q", got, want)
	}
	l := s.ledger()
	wantLedgerSum(t, l)
	if c := l.Sources["mqtt"]; c.Received != 9 || c.Dropped["malformed"] != 1 {
		t.Errorf("%+v", c)
	}
}
