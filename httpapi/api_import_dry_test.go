package httpapi

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// dryRunFile has new and changed devices, several lines about one device, and lines that are bad.
func dryRunFile(certificate string) string {
	quoted := strings.ReplaceAll(certificate, "\n", `\n`)
	return strings.Join([]string{
		`{"product":"ABCDE12345","device":"new-1","tags":{"a":"1","b":"2"}}`,
		`{"product":"ABCDE12345","device":"new-1","tags":{"b":"2","a":"1"}}`, // as it would be by then
		`{"product":"ABCDE12345","device":"new-1","tags":{"b":"1","a":"2"}}`,
		`{"product":"ABCDE12345","device":"new-1","psk":""}`, // another secret is made
		`{"product":"ABCDE12345","device":"new-2","psk":"c2VjcmV0"}`,
		`{"product":"ABCDE12345","device":"new-2"}`,
		`{"product":"ABCDE12345","device":"new-3","certificate":"` + quoted + `"}`,
		`{"product":"ABCDE12345","device":"new-3","psk":""}`,
		`{"product":"ABCDE12345","device":"new-3","psk":"c2VjcmV0"}`,
		`{"product":"ABCDE12345","device":"new-3","psk":""}`, // which it has the certificate for
		`{"product":"ABCDE12345","device":"dev_01"}`,
		`{"product":"ABCDE12345","device":"dev_01","tags":{"site":"lab"}}`,
		`{"product":"ABCDE12345","device":"dev_01","tags":{}}`,
		`{"product":"ABCDE12345","device":"dev_01","tags":{"site":"lab"}}`, // back again
		`{"product":"NOSUCH1234","device":"d"}`,
		`{"product":"ABCDE12345","device":"bad name"}`,
		`{"product":"ABCDE12345","device":"d","psk":"no base64!"}`,
		`{"product":"ABCDE12345","device":"d","certificate":"none"}`,
		`{"product":"ABCDE12345","device":"d","tags":{"a:b":"c"}}`,
		`{"product":`,
	}, "\n")
}

// TestImportDryRun: it says what the import then says, line by line, and leaves nothing behind, not in the audit stream either.
func TestImportDryRun(t *testing.T) {
	w := start(t)
	there, err := w.reg.Device(device01)
	check(t, err)
	file := dryRunFile(there.Certificate)
	dry := w.importTo("/devices/import?dry_run=true", strings.NewReader(file))
	if again := w.importTo("/devices/import?dry_run=true", strings.NewReader(file)); again.counts() != dry.counts() {
		t.Errorf("a dry run has changed something: %s, then %s", dry.counts(), again.counts())
	}
	if n := len(w.records(logbridge.Query{Stream: logbridge.AuditStream})); n > 0 || w.reg.DeviceCount() != 1 || len(dry.made) > 0 || dry.summary["dry_run"] != true {
		t.Errorf("%d audit records, %d devices, secrets %v, summary %v", n, w.reg.DeviceCount(), dry.made, dry.summary)
	}
	slices.Sort(dry.would)
	want := []string{"change dev_01", "change dev_01", "change new-1", "change new-1", "change new-3", "change new-3", "create new-1", "create new-2", "create new-3"}
	if !slices.Equal(dry.would, want) {
		t.Errorf("would %q, want %q", dry.would, want)
	}
	really := w.importTo("/devices/import?dry_run=false", strings.NewReader(file))
	if dry.counts() != "20 3 6 5 6 true" || really.counts() != dry.counts() || really.summary["dry_run"] != nil || len(really.would) > 0 {
		t.Errorf("dry %s, really %s, would %v", dry.counts(), really.counts(), really.would)
	}
	for line, says := range really.bad {
		if dry.bad[line] != says {
			t.Errorf("line %d: dry %q, really %q", line, dry.bad[line], says)
		}
	}
	if _, operator, err := w.reg.CreateToken(t.Context(), "op", logbridge.RoleOperator, time.Time{}, "device/OTHER12345"); err != nil {
		t.Error(err)
	} else if r := w.send("POST", apiPath+"/devices/import?dry_run=true", `{"product":"ABCDE12345","device":"dev_01"}`, "Authorization", "Bearer "+operator); !strings.Contains(r.body, "scope of this token") {
		t.Errorf("of a device that the token does not see: %s", r.body)
	}
}
