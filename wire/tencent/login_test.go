package tencent

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/recorded"
)

var dev01 = logbridge.DeviceID{Product: "ABCDE12345", Device: "dev_01"}

// recordedAt is when the recordings were made.
var recordedAt = time.Date(2026, 11, 21, 11, 0, 0, 0, time.UTC)

// V1 and V2 of tencent-iot.md 7.
var loginVectors = []struct{ name, userName, password, algorithm string }{
	{"V1", "ABCDE12345dev_01;12010126;AbCdE;2147483647",
		"5bf2e7733019632b7a4e1f7a3e45ce33e12b48af5420a784a620d78db25d5d12;hmacsha256", HMACSHA256},
	{"V2", "ABCDE12345dev_01;21010406;AbCdE;9223372036854775807",
		"5e54a779473d725bad52700b80378760d62a9184;hmacsha1", HMACSHA1},
}

func TestLoginVectors(t *testing.T) {
	for _, v := range loginVectors {
		got, err := Password(recorded.PSK, v.userName, v.algorithm)
		if err != nil || got != v.password {
			t.Errorf("%s: Password %q, %v; want %q", v.name, got, err, v.password)
		}
		if err := VerifyPassword(recorded.PSK, v.userName, v.password, recordedAt); err != nil {
			t.Errorf("%s: %v", v.name, err)
		}
	}
}

func TestVerifyPasswordRefuses(t *testing.T) {
	v := loginVectors[0]
	token, _, _ := strings.Cut(v.password, ";")
	anyone := hex.EncodeToString(appendMAC(nil, sha256.New, nil, v.userName)) + ";" + HMACSHA256 // made with an empty key
	for name, row := range map[string]struct {
		psk, userName, password string
		now                     time.Time
	}{
		"another user name": {recorded.PSK, strings.Replace(v.userName, "AbCdE", "AbCdF", 1), v.password, recordedAt},
		"another device":    {recorded.PSK, strings.Replace(v.userName, "dev_01", "dev_02", 1), v.password, recordedAt},
		"another secret":    {"AAAA", v.userName, v.password, recordedAt},
		"expired":           {recorded.PSK, v.userName, v.password, time.Unix(2147483647, 0)},
		"empty password":    {recorded.PSK, v.userName, "", recordedAt},
		"no algorithm":      {recorded.PSK, v.userName, token, recordedAt},
		"wrong algorithm":   {recorded.PSK, v.userName, token + ";hmacsha1", recordedAt},
		"unknown algorithm": {recorded.PSK, v.userName, token + ";md5", recordedAt},
		"cut token":         {recorded.PSK, v.userName, token[:62] + ";hmacsha256", recordedAt},
		"empty token":       {recorded.PSK, v.userName, ";hmacsha256", recordedAt},
		"no secret":         {"", v.userName, anyone, recordedAt},
		"secret not base64": {"!", v.userName, v.password, recordedAt},
		"user name of 3":    {recorded.PSK, "a;b;c", v.password, recordedAt},
	} {
		err := VerifyPassword(row.psk, row.userName, row.password, row.now)
		if !errors.Is(err, logbridge.ErrUnauthorized) {
			t.Errorf("%s: %v", name, err)
		} else if strings.Contains(err.Error(), token[:8]) || strings.Contains(err.Error(), recorded.PSK) {
			t.Errorf("%s: a secret in %v", name, err)
		}
	}
}

func TestParseUserName(t *testing.T) {
	for in, want := range map[string]int64{
		"c;21010406;Bwpl5;92233720368547758":   92233720368547758, // HUB cuts LONG_MAX short
		"c;21010406;163fj;9223372036854775807": math.MaxInt64,     // HUB-OLD
		"c;21010406;pBTz4;1795258967643":       1795258967643,     // PY, in milliseconds
		"c;12010126;12345;2147483647":          2147483647,        // ESP
		"c;12010126;12345;9999999999999999999": math.MaxInt64,     // 19 digits, over 64 bits
		"c;;;0":                                0,
	} {
		clientID, expiry, err := ParseUserName(in)
		if clientID != "c" || expiry != want || err != nil {
			t.Errorf("%s: %q, %d, %v; want %d", in, clientID, expiry, err, want)
		}
	}
	for _, in := range []string{"", "c", "c;a;b", "c;a;b;", "c;a;b;x", "c;a;b;-1", "c;a;b;1;2", ";a;b;1", "c;a;b;00000000000000000001", "c;a;b;+1"} {
		if _, _, err := ParseUserName(in); !errors.Is(err, logbridge.ErrInvalid) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestUserName(t *testing.T) {
	if got := UserName(dev01, "AbCdE", time.Unix(2147483647, 0)); got != loginVectors[0].userName {
		t.Errorf("%s", got)
	}
	clientID, expiry, err := ParseUserName(UserName(dev01, "AbCdE", time.Time{}))
	if clientID != "ABCDE12345dev_01" || expiry != math.MaxInt64 || err != nil {
		t.Errorf("without expiry: %q, %d, %v", clientID, expiry, err)
	}
}

// TestRecordedLogins: the CONNECT of every device in key mode verifies, over the exact bytes of its user name.
func TestRecordedLogins(t *testing.T) {
	packets, err := recorded.DevicePackets()
	if err != nil {
		t.Fatal(err)
	}
	key, certificate := 0, 0
	for _, p := range packets {
		if !p.FromClient || !strings.HasPrefix(p.Label, "CONNECT") {
			continue
		}
		c := readConnect(t, p.Bytes)
		id, err := ParseClientID(c.clientID)
		if err != nil || id != dev01 {
			t.Errorf("%s: client id %q: %v, %v", p.Capture, c.clientID, id, err)
		}
		if named, _, err := ParseUserName(c.userName); named != c.clientID || err != nil {
			t.Errorf("%s: user name %q: %v", p.Capture, c.userName, err)
		}
		if c.password == "" { // certificate device
			certificate++
			continue
		}
		key++
		if err := VerifyPassword(recorded.PSK, c.userName, c.password, recordedAt); err != nil {
			t.Errorf("%s: %v", p.Capture, err)
		}
		wrong := []byte(c.password)
		wrong[0] ^= 1
		if VerifyPassword(recorded.PSK, c.userName, string(wrong), recordedAt) == nil {
			t.Errorf("%s: a changed password passes", p.Capture)
		}
	}
	if key != 9 || certificate != 1 {
		t.Errorf("%d logins by key and %d by certificate, want 9 and 1", key, certificate)
	}
}

type connect struct{ clientID, userName, password string }

// readConnect reads a CONNECT packet: fixed header, protocol name, level, flags, keep-alive, then the strings.
func readConnect(t *testing.T, packet []byte) (c connect) {
	t.Helper()
	_, n := binary.Uvarint(packet[1:])
	rest := packet[1+n:]
	text := func() string {
		size := int(binary.BigEndian.Uint16(rest))
		s := string(rest[2 : 2+size])
		rest = rest[2+size:]
		return s
	}
	text() // MQTT or MQIsdp
	flags := rest[1]
	rest = rest[4:]
	c.clientID = text()
	if flags&0x04 != 0 {
		t.Fatal("a will, which no SDK sends")
	}
	if flags&0x80 != 0 {
		c.userName = text()
	}
	if flags&0x40 != 0 {
		c.password = text()
	}
	if len(rest) != 0 {
		t.Fatalf("%d bytes left of CONNECT", len(rest))
	}
	return c
}

func FuzzVerifyPassword(f *testing.F) {
	for _, v := range loginVectors {
		f.Add(v.userName, v.password)
	}
	f.Add("ABCDE12345dev_01;21010406;Bwpl5;92233720368547758", "2df7912a917e2590b7d0514a7f2dbf3791729f72;hmacsha1")
	f.Fuzz(func(t *testing.T, userName, password string) {
		if VerifyPassword("", userName, password, recordedAt) == nil {
			t.Fatal("passes without a secret")
		}
		if VerifyPassword(recorded.PSK, userName, password, recordedAt) != nil {
			return
		}
		token, algorithm, _ := strings.Cut(password, ";")
		want, err := Password(recorded.PSK, userName, algorithm)
		if err != nil || want != strings.ToLower(token)+";"+algorithm {
			t.Fatalf("%q passes, the password is %q", password, want)
		}
	})
}

// TestCertificatePassword: the C SDK's WebSocket build signs the user name with its certificate's key (2.1).
func TestCertificatePassword(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	user := UserName(dev01, "AbCdE", time.Unix(2000, 0))
	digest := sha256.Sum256([]byte(user))
	sig, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	password := hex.EncodeToString(sig) + ";" + RSASHA256
	if err := VerifyCertificatePassword(public, user, password, time.Unix(1000, 0)); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"expired":       VerifyCertificatePassword(public, user, password, time.Unix(2000, 0)),
		"other user":    VerifyCertificatePassword(public, UserName(dev01, "AbCdF", time.Unix(2000, 0)), password, time.Unix(1000, 0)),
		"no user":       VerifyCertificatePassword(public, "x", password, time.Unix(1000, 0)),
		"no key":        VerifyCertificatePassword("", user, password, time.Unix(1000, 0)),
		"algorithm":     VerifyCertificatePassword(public, user, hex.EncodeToString(sig)+";hmacsha1", time.Unix(1000, 0)),
		"no hex":        VerifyCertificatePassword(public, user, "zz;"+RSASHA256, time.Unix(1000, 0)),
		"cut signature": VerifyCertificatePassword(public, user, hex.EncodeToString(sig[1:])+";"+RSASHA256, time.Unix(1000, 0)),
	} {
		if !errors.Is(err, logbridge.ErrUnauthorized) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
