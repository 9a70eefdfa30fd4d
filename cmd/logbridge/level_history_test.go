package main

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// TestLevelHistory: what was changed of a device's level and what was refused stand apart, and one who may not and tries again and
// again fills neither the device's stream nor the audit.
func TestLevelHistory(t *testing.T) {
	s := newPlace(t, e2eConfig).start(anyone, anyone)
	s.run("level", "set", "ABCDE12345/dev_01", "debug", "--for", "5m", "--reason", "ticket 9")
	viewer := &api{base: s.operator().base, token: strings.TrimSpace(s.run("token", "add", "maria", "--role", "viewer")), http: http.DefaultClient}
	const tries = 40
	for range tries {
		for path, body := range map[string]any{"/products/ABCDE12345/devices/dev_01/level": map[string]string{"level": "off", "reason": "no"}, "/cls/topic-1": map[string]any{}} {
			if err := viewer.call(t.Context(), http.MethodPut, path, body, nil); err == nil {
				t.Fatal("a viewer has changed something")
			}
		}
	}
	s.run("level", "clear", "ABCDE12345/dev_01", "--reason", "done")
	lines := strings.Split(strings.TrimSpace(s.run("level", "history", "ABCDE12345/dev_01")), "\n")
	refused := 0
	for _, line := range lines {
		if fields := strings.Fields(line); strings.Join(fields[2:6], " ") == "refused - - maria" {
			refused++
		}
	}
	if first := strings.Join(strings.Fields(lines[0]), " "); first != "TIME OUTCOME FROM TO BY WHAT" || !strings.Contains(lines[1], "  done     error  debug  admin  ") ||
		!strings.Contains(lines[len(lines)-1], "  done     debug  error  admin  ") || refused == 0 || refused >= tries {
		t.Errorf("%d refused of\n%s", refused, strings.Join(lines, "\n"))
	}
	if n := strings.Count(s.run("level", "history", "ABCDE12345/dev_01", "-o", "json"), `"outcome":"refused"`); n != refused {
		t.Errorf("%d refused in the API's answer, %d in the table", n, refused)
	}
	if n := strings.Count(s.run("audit", "--actor", "maria", "-n", "1000"), "  refused  "); n < 10 || n > 20 { // 10 a minute, which may be over just now
		t.Errorf("%d of %d refusals are in the audit stream", n, 2*tries)
	}
	_, rest, _ := strings.Cut(s.metrics(), "\nlogbridge_audit_left_out_total ")
	number, _, _ := strings.Cut(rest, "\n")
	if n, err := strconv.Atoi(number); err != nil || n < 2*tries-20 {
		t.Errorf("%q are counted as left out", number)
	}
}
