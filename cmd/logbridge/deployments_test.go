package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestSystemdUnitIsValid(t *testing.T) {
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("SKIPPED: systemd-analyze is not installed; the systemd unit is not checked")
	}
	text, err := os.ReadFile("../../deployments/logbridge.service")
	if err != nil {
		t.Fatal(err)
	}
	const program = "/usr/local/bin/logbridge"
	if !strings.Contains(string(text), "\nExecStart="+program+" serve\n") {
		t.Fatalf("the unit does not start %s serve", program)
	}
	self, err := os.Executable() // verify wants the program to be there
	if err != nil {
		t.Fatal(err)
	}
	unit := filepath.Join(t.TempDir(), "logbridge.service")
	if err := os.WriteFile(unit, []byte(strings.ReplaceAll(string(text), program, self)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(tool, "verify", unit).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
