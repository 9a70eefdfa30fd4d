package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/devicesim"
)

// simSummary is what sim prints at its end.
type simSummary struct {
	logins, sent, acked, refused, dropped, failed, unanswered, asked, answered int
}

func (s *process) sim(args ...string) (sum simSummary, text string) {
	s.place.t.Helper()
	out := s.run(append([]string{"sim"}, args...)...)
	text = out[max(0, strings.Index(out, "summary: ")):]
	_, err := fmt.Sscanf(text, "summary: %d logins, %d lines sent, %d acknowledged, %d refused, %d dropped, %d attempts failed, %d lines unanswered; %d levels asked, %d answered,",
		&sum.logins, &sum.sent, &sum.acked, &sum.refused, &sum.dropped, &sum.failed, &sum.unanswered, &sum.asked, &sum.answered)
	if err != nil {
		s.place.t.Fatalf("sim printed %q: %v", out, err)
	}
	return sum, text
}

// fromDevices is the part of the ledger that devices are in: stored and refused.
func (s *process) fromDevices() (stored, refused int) {
	s.place.t.Helper()
	var l logbridge.Ledger
	if err := s.operator().call(s.place.t.Context(), http.MethodGet, "/ledger", nil, &l); err != nil {
		s.place.t.Fatal(err)
	}
	for _, source := range []logbridge.Source{logbridge.SourceMQTT, logbridge.SourceReportLog} {
		stored += int(l.Sources[source].Stored)
		refused += int(sum(l.Sources[source].Refused))
	}
	return stored, refused
}

// TestScriptsBalanceWithTheLedger runs each script of sim and compares what the fleet counted with what the server did.
func TestScriptsBalanceWithTheLedger(t *testing.T) {
	s := newPlace(t, e2eConfig).start(anyone, anyone)
	const devices = 8
	for i, c := range []struct {
		script string
		args   []string
		ok     func(n simSummary) bool
	}{
		{"storm", []string{"--storm-every", "700ms"}, func(n simSummary) bool { return n.logins >= 2*devices }},
		{"noisy", nil, func(n simSummary) bool { return n.logins == devices && n.acked > 500 }},
		{"noclock", nil, func(n simSummary) bool { return n.logins == devices && n.acked == n.sent }},
		// Whom nobody tells a level writes errors alone, one line of twenty: at this rate some 15 in a second.
		{"wrongkeys", []string{"--rate", "150"}, func(n simSummary) bool { return n.logins == devices/2 && n.failed > 0 && n.refused > 0 }},
		{"slow", nil, func(n simSummary) bool { return n.logins == devices && n.answered > 0 }},
		// Those who publish only do not ask.
		{"sdk", nil, func(n simSummary) bool { return n.logins == devices && n.answered >= devices*3/4 && n.acked == n.sent }},
	} {
		t.Run(c.script, func(t *testing.T) {
			stored, refused := s.fromDevices()
			product := fmt.Sprintf("SCRIPT%04d", i)
			n, text := s.sim(append([]string{"--devices", fmt.Sprint(devices), "--duration", "3s", "--rate", "10", "--product", product, "--script", c.script}, c.args...)...)
			storedNow, refusedNow := s.fromDevices()
			stored, refused = storedNow-stored, refusedNow-refused
			if !c.ok(n) || n.acked == 0 {
				t.Error(text)
			}
			if stored < n.acked || stored > n.acked+n.unanswered || refused != n.refused {
				t.Errorf("the server stored %d lines and refused %d; %s", stored, refused, text)
			}
			if got := len(s.records("source=mqtt&product="+product)) + len(s.records("source=reportlog&product="+product)); got != stored {
				t.Errorf("%d lines can be read, %d were counted as stored", got, stored)
			}
		})
	}
}

func TestTheCSDKIsToldTheTime(t *testing.T) {
	s := newPlace(t, e2eConfig).start(anyone, anyone)
	acked := make(chan bool, 1)
	fleet, err := devicesim.New(devicesim.Config{
		Broker: s.addr("mqtt"), HTTP: s.url(), Script: devicesim.ScriptSDK, LineRate: 100, UploadEvery: 50 * time.Millisecond,
		Devices: []devicesim.Credential{{ID: device("dev_01"), PSK: e2ePSK}},
		Acked: func(logbridge.DeviceID, []string) {
			select {
			case acked <- true:
			default:
			}
		},
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	ended := make(chan error, 1)
	go func() { ended <- fleet.Run(ctx) }()
	for ctx.Err() == nil && fleet.Stats().Times == 0 {
		select {
		case <-acked: // a good moment to look again
		case <-ctx.Done():
		}
	}
	cancel()
	if err := <-ended; err != nil || fleet.Stats().Times == 0 || fleet.Stats().Acknowledged == 0 {
		t.Errorf("%v; %+v", err, fleet.Stats())
	}
}
