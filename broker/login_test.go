package broker

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
	"github.com/mochi-mqtt/server/v2/packets"
)

// signed gives a CONNECT this user name and a password that is right for it.
func signed(t *testing.T, user, algorithm string) func(*packets.Packet) {
	return func(pk *packets.Packet) {
		password, err := tencent.Password(testPSK, user, algorithm)
		if err != nil {
			t.Fatal(err)
		}
		pk.Connect.Username, pk.Connect.Password = []byte(user), []byte(password)
	}
}

func TestLogin(t *testing.T) {
	ago := time.Now().Add(-time.Minute).Unix()
	rows := []struct {
		name string
		id   logbridge.DeviceID
		edit func(*packets.Packet)
		want func(Logins) uint64 // nil: accepted
	}{
		{"sha256", dev1, nil, nil},
		{"sha1, expiry cut short", dev1, signed(t, "ABCDE12345dev_01;21010406;pKEN2;92233720368547758", tencent.HMACSHA1), nil},
		{"LONG_MAX", dev1, signed(t, "ABCDE12345dev_01;21010406;AbCdE;9223372036854775807", tencent.HMACSHA1), nil},
		{"milliseconds", dev1, signed(t, fmt.Sprint("ABCDE12345dev_01;21010406;AbCdE;", time.Now().UnixMilli()), tencent.HMACSHA256), nil},
		{"long name", logbridge.DeviceID{Product: dev1.Product, Device: "dev" + strings.Repeat("x", 45)}, nil, nil},
		{"expired", dev1, signed(t, fmt.Sprint("ABCDE12345dev_01;21010406;AbCdE;", ago), tencent.HMACSHA256),
			func(l Logins) uint64 { return l.Expired }},
		{"unknown device", logbridge.DeviceID{Product: dev1.Product, Device: "other"}, nil,
			func(l Logins) uint64 { return l.UnknownDevice }},
		{"device without a secret", logbridge.DeviceID{Product: dev1.Product, Device: "dev_certificate"}, nil,
			func(l Logins) uint64 { return l.UnknownDevice }},
		{"the secret that stands in", logbridge.DeviceID{Product: dev1.Product, Device: "other"}, func(pk *packets.Packet) {
			password, _ := tencent.Password(nobodysPSK, string(pk.Connect.Username), tencent.HMACSHA256)
			pk.Connect.Password = []byte(password)
		}, func(l Logins) uint64 { return l.UnknownDevice }},
		{"wrong password", dev1, func(pk *packets.Packet) { pk.Connect.Password[3] ^= 1 },
			func(l Logins) uint64 { return l.WrongPassword }},
		{"other algorithm", dev1, func(pk *packets.Packet) { pk.Connect.Password = []byte(strings.Repeat("0", 32) + ";hmacmd5") },
			func(l Logins) uint64 { return l.WrongPassword }},
		{"password of a certificate device", dev1, func(pk *packets.Packet) { pk.Connect.Password = []byte("21010406") },
			func(l Logins) uint64 { return l.WrongPassword }},
		{"no password", dev1, func(pk *packets.Packet) { pk.Connect.PasswordFlag, pk.Connect.Password = false, nil },
			func(l Logins) uint64 { return l.NoPassword }},
		{"no user name", dev1, func(pk *packets.Packet) { pk.Connect.UsernameFlag, pk.Connect.Username = false, nil },
			func(l Logins) uint64 { return l.Malformed }},
		{"user name of another device", dev1, signed(t, "ABCDE12345dev_02;21010406;AbCdE;2147483647", tencent.HMACSHA256),
			func(l Logins) uint64 { return l.Malformed }},
		{"client id of another device", dev1, func(pk *packets.Packet) { pk.Connect.ClientIdentifier = "ABCDE12345dev_02" },
			func(l Logins) uint64 { return l.Malformed }},
		{"no client id", dev1, func(pk *packets.Packet) { pk.Connect.ClientIdentifier = "" },
			func(l Logins) uint64 { return l.Malformed }},
		{"P20: inline", dev1, func(pk *packets.Packet) { pk.Connect.ClientIdentifier = "inline" },
			func(l Logins) uint64 { return l.Malformed }},
		{"free form", dev1, func(pk *packets.Packet) { pk.Connect.Username = []byte("admin") },
			func(l Logins) uint64 { return l.Malformed }},
	}
	for _, version := range []byte{3, 4, 5} {
		for _, row := range rows {
			t.Run(fmt.Sprint(row.name, " v", version), func(t *testing.T) {
				b := start(t, Config{}, newRecorder())
				edit := row.edit
				if edit == nil {
					edit = func(*packets.Packet) {}
				}
				c := dial(t, b, version)
				ack := c.login(row.id, edit)
				if row.want == nil {
					if ack.ReasonCode != 0 || ack.SessionPresent || b.Stats().Logins != (Logins{Accepted: 1}) {
						t.Errorf("CONNACK %#x, %+v", ack.ReasonCode, b.Stats().Logins)
					}
					c.alive()
					return
				}
				code := byte(5)
				if version == 5 {
					code = packets.ErrNotAuthorized.Code
				}
				if ack.ReasonCode != code {
					t.Errorf("CONNACK %#x, want %#x", ack.ReasonCode, code)
				}
				c.expectClosed()
				if l := b.Stats().Logins; row.want(l) != 1 || l.Accepted != 0 {
					t.Errorf("counted as %+v", l)
				}
			})
		}
	}
}

// Refused logins are logged once in a pause, and at once again when the clock was set back.
func TestRefusedLoginsAreLoggedInMeasure(t *testing.T) {
	b := bound(t, Config{}, newRecorder())
	defer run(t, b)()
	var out strings.Builder
	b.log = slog.New(slog.NewTextHandler(&out, nil))
	now := time.Now()
	for _, at := range []time.Duration{0, time.Millisecond, refusedLogPause, -time.Hour, -time.Hour + time.Millisecond} {
		b.noteLogin(loginWrongPassword, dev1, "peer", now.Add(at))
	}
	if n := strings.Count(out.String(), "login refused"); n != 3 {
		t.Errorf("%d lines, want 3:\n%s", n, out.String())
	}
}

// Authentication by a method of MQTT 5 would have to go on after the CONNECT.
func TestLoginEnhancedAuthentication(t *testing.T) {
	b := start(t, Config{}, newRecorder())
	c := dial(t, b, 5)
	ack := c.login(dev1, func(pk *packets.Packet) { pk.Properties.AuthenticationMethod = "SCRAM-SHA-1" })
	if ack.ReasonCode != packets.ErrNotAuthorized.Code {
		t.Errorf("CONNACK %#x", ack.ReasonCode)
	}
}

func TestLoginUnknownProtocolVersion(t *testing.T) {
	b := start(t, Config{}, newRecorder())
	c := dial(t, b, 4)
	raw := c.encode(connectPacket(t, dev1, 4))
	raw[bytesIndex(t, raw, "MQTT")+4] = 6
	if _, err := c.Write(raw); err != nil {
		t.Fatal(err)
	}
	if ack := c.expect(packets.Connack); ack.ReasonCode != 1 {
		t.Errorf("CONNACK %#x, want 1", ack.ReasonCode)
	}
}

func bytesIndex(t *testing.T, b []byte, s string) int {
	t.Helper()
	i := strings.Index(string(b), s)
	if i < 0 {
		t.Fatalf("%q is not in % x", s, b)
	}
	return i
}
