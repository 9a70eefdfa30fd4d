package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/logbridge/logbridge/natsd"
	"github.com/logbridge/logbridge/wire/tencent"
)

// The secrets of the tests of sealing, each of its own so that it is found if it is anywhere.
const (
	sealedPSK     = "c2VhbGVkLXBzay0xMjM0NQ=="
	sealedProduct = "SEALEDPRODUCTSECRET99"
	sealedAccess  = "SealedAccessKeySecret77"
)

const sealConfig = `
provision:
  products:
    - id: SEALED0001
      secret: ` + sealedProduct + `
      devices: [{name: dev_01, psk: ` + sealedPSK + `}]
  sls:
    - project: sealed
      access_keys: [{id: LTAIsealed, secret: ` + sealedAccess + `}]
`

// sealedPlace is a place whose administrator's token is outside the data folder, as the README asks of who copies that folder.
func sealedPlace(t *testing.T) *place {
	home := newPlace(t, sealConfig)
	home.args = append(home.args, "--admin-token-file", home.file("token"))
	t.Setenv("LOGBRIDGE_ADMIN_TOKEN_FILE", home.file("token"))
	return home
}

// asked calls the operator API with the token that lies outside the data.
func (s *process) asked(method, path string, body, out any) error {
	server, err := Client{URL: s.url(), TokenFile: s.place.file("token")}.open()
	if err != nil {
		return err
	}
	return server.call(s.place.t.Context(), method, path, body, out)
}

// logsIn tries to log in by MQTT with this secret.
func (s *process) logsIn(product, name, psk string) error {
	id := device(name)
	id.Product = product
	user := tencent.UserName(id, "AbCdE", time.Now().Add(time.Hour))
	password, err := tencent.Password(psk, user, tencent.HMACSHA256)
	if err != nil {
		s.place.t.Fatal(err)
	}
	client := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + s.addr("mqtt")).SetAutoReconnect(false).
		SetClientID(tencent.ClientID(id)).SetUsername(user).SetPassword(password))
	token := client.Connect()
	if !token.WaitTimeout(patience) {
		s.place.t.Fatal("no answer to a login")
	}
	defer client.Disconnect(0)
	return token.Error()
}

// TestCopyOfTheDataFolder: who has the data folder and nothing else reads no secret in it, cannot start a server on it with a key
// of his own, and if he breaks that check, lets nobody log in.
func TestCopyOfTheDataFolder(t *testing.T) {
	home := sealedPlace(t)
	s := home.start(anyone, anyone)
	if err := s.logsIn("SEALED0001", "dev_01", sealedPSK); err != nil {
		t.Fatal(err)
	}
	var made struct {
		Token string `json:"token"`
		PSK   string `json:"psk"`
	}
	if err := s.asked(http.MethodPost, "/tokens", map[string]string{"name": "copy", "role": "admin"}, &made); err != nil {
		t.Fatal(err)
	}
	token := made.Token
	if err := s.asked(http.MethodPut, "/products/SEALED0001/devices/dev_02", struct{}{}, &made); err != nil {
		t.Fatal(err)
	}
	secrets := []string{sealedPSK, sealedProduct, sealedAccess, token, made.PSK}
	for name, text := range map[string]string{"token": home.file("token"), "seal key": home.file("seal-key")} {
		b, err := os.ReadFile(text)
		if err != nil {
			t.Fatal(name, err)
		}
		secrets = append(secrets, strings.TrimSpace(string(b)))
	}
	if code := s.stop(syscall.SIGTERM); code != 0 {
		t.Fatalf("exit code %d", code)
	}

	thief := newPlace(t, "{}")
	if err := os.CopyFS(thief.file("data"), os.DirFS(home.file("data"))); err != nil {
		t.Fatal(err)
	}
	holdsNone(t, thief.file("data"), secrets)

	if s, err := thief.try("logbridge", append(thief.args, "--http", anyone, "--mqtt", anyone)...); err == nil {
		t.Error("it starts with another key")
	} else if !strings.Contains(s.output(), "is not the one that the secrets in the data folder were sealed with") {
		t.Errorf("it says:\n%s", s.output())
	}
	forgetSealCheck(t, filepath.Join(thief.file("data"), "nats"))
	forced := thief.start(anyone, anyone)
	for name, psk := range map[string]string{"dev_01": sealedPSK, "dev_02": made.PSK} {
		if err := forced.logsIn("SEALED0001", name, psk); err == nil {
			t.Errorf("%s logs in", name)
		}
	}
	if err := forced.logsIn("SEALED0001", "dev_01", "AAAAAAAAAAAAAAAAAAAAAA=="); err == nil {
		t.Error("the empty key logs in")
	}
}

// holdsNone looks for secrets in every file of a folder: as they are, decoded, and encoded.
func holdsNone(t *testing.T, dir string, secrets []string) {
	t.Helper()
	files, marks := 0, 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if bytes.Contains(b, []byte("sealed_psk")) {
			marks++ // the file with the devices can be read
		}
		for i, secret := range secrets {
			if len(secret) < 16 {
				t.Fatalf("secret %d is too short to look for", i)
			}
			forms := [][]byte{[]byte(secret), []byte(hex.EncodeToString([]byte(secret))), []byte(base64.StdEncoding.EncodeToString([]byte(secret)))}
			if raw, err := base64.StdEncoding.DecodeString(secret); err == nil {
				forms = append(forms, raw, []byte(hex.EncodeToString(raw)))
			}
			for _, form := range forms {
				if bytes.Contains(b, form) {
					t.Errorf("secret %d is in %s", i, strings.TrimPrefix(path, dir))
				}
			}
		}
		return nil
	})
	if err != nil || marks == 0 {
		t.Errorf("%d files, %d with devices, %v", files, marks, err)
	}
}

// forgetSealCheck takes the value away by which a wrong key is noticed.
func forgetSealCheck(t *testing.T, dir string) {
	t.Helper()
	node, err := natsd.New(natsd.Config{Dir: dir}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	kv, err := node.Bucket(t.Context(), "registry")
	if err != nil {
		t.Fatal(err)
	}
	if err := kv.Purge(t.Context(), "sealcheck"); err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	_ = node.Run(over)
}

// TestSealRotate: the command changes the key of a running server; devices log in meanwhile and afterwards, a restart needs the new
// key, and the old one is good for nothing.
func TestSealRotate(t *testing.T) {
	home := sealedPlace(t)
	s := home.start(anyone, anyone)
	old, err := os.ReadFile(home.file("seal-key"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := home.program("logbridge", "seal", "rotate")
	cmd.Env = append(cmd.Env, "LOGBRIDGE_URL="+s.url(), "LOGBRIDGE_TOKEN_FILE="+home.file("token"))
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "the seal key is changed") {
		t.Fatalf("%v: %s", err, out)
	}
	changed, err := os.ReadFile(home.file("seal-key"))
	if err != nil || bytes.Equal(old, changed) || bytes.Count(changed, []byte("\n")) != 1 {
		t.Fatalf("the key file: %v, %d lines", err, bytes.Count(changed, []byte("\n")))
	}
	if strings.Contains(s.output(), strings.TrimSpace(string(changed))) {
		t.Error("the key is in the log")
	}
	if err := s.logsIn("SEALED0001", "dev_01", sealedPSK); err != nil {
		t.Error(err)
	}
	s.stop(syscall.SIGTERM)
	s = home.start(anyone, anyone)
	if err := s.logsIn("SEALED0001", "dev_01", sealedPSK); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	s.stop(syscall.SIGTERM)
	home.write("seal-key", old)
	if _, err := home.try("logbridge", append(home.args, "--http", anyone, "--mqtt", anyone)...); err == nil {
		t.Error("it starts with the old key")
	}
}
