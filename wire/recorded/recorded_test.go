package recorded

import (
	"strings"
	"testing"
)

func TestRecordingsAreComplete(t *testing.T) {
	device, err := DeviceRequests()
	if err != nil {
		t.Fatal(err)
	}
	web, err := WebRequests()
	if err != nil {
		t.Fatal(err)
	}
	packets, err := DevicePackets()
	if err != nil {
		t.Fatal(err)
	}
	var truncated []string
	bodies := 0
	for _, r := range web {
		if r.Truncated {
			truncated = append(truncated, r.Capture)
		}
		if len(r.Content) > 0 {
			bodies++
		}
	}
	if got := strings.Join(truncated, " "); got != "sls-05-xhr-large" {
		t.Errorf("truncated recordings are %q, want only sls-05-xhr-large", got)
	}
	// Counted with grep in the recordings: a parser that loses some must not make the tests that replay them pass.
	for what, n := range map[string][2]int{
		"device requests":      {len(device), 18},
		"web requests":         {len(web), 46},
		"web requests, bodies": {bodies, 23},
		"MQTT packets":         {len(packets), 167},
		"MQTT CONNECT packets": {count(packets, "CONNECT"), 10},
		"MQTT PUBLISH packets": {count(packets, "PUBLISH"), 74},
	} {
		if n[0] != n[1] {
			t.Errorf("%s: %d, want %d", what, n[0], n[1])
		}
	}
}

func count(packets []Packet, kind string) (n int) {
	for _, p := range packets {
		if word, _, _ := strings.Cut(p.Label, " "); word == kind {
			n++
		}
		if len(p.Bytes) < 2 {
			return -1
		}
	}
	return n
}
