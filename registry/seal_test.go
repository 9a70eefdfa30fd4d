package registry

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/logbridge/logbridge"
)

func TestSealOpen(t *testing.T) {
	s, err := newSealer(testKey)
	must(t, err)
	other, err := newSealer(SealKey{4})
	must(t, err)
	sealed := s.seal("here", "hush")
	if sealed == s.seal("here", "hush") {
		t.Error("sealed twice it is the same: no nonce")
	}
	if plain, err := s.open("here", sealed); err != nil || plain != "hush" {
		t.Errorf("%q, %v", plain, err)
	}
	if _, err := s.open("there", sealed); err == nil {
		t.Error("opened for another place")
	}
	if _, err := other.open("here", sealed); err == nil {
		t.Error("opened with another key")
	}
	raw, _ := base64.RawURLEncoding.DecodeString(sealed)
	for i := range raw {
		raw[i] ^= 1
		if _, err := s.open("here", base64.RawURLEncoding.EncodeToString(raw)); err == nil {
			t.Errorf("opened with byte %d changed", i)
		}
		raw[i] ^= 1
	}
	if s.seal("here", "") != "" {
		t.Error("nothing does not seal to nothing")
	}
}

func TestLoadSealKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "seal-key")
	var wg sync.WaitGroup
	keys := make([]SealKey, 8)
	created := make([]bool, len(keys))
	for i := range keys {
		wg.Go(func() {
			all, made, err := LoadSealKeys(path)
			if err != nil || len(all) != 1 {
				t.Errorf("%d keys, %v", len(all), err)
				return
			}
			keys[i], created[i] = all[0], made
		})
	}
	wg.Wait()
	makers := 0
	for i, k := range keys {
		if k != keys[0] || k == (SealKey{}) {
			t.Errorf("caller %d has another key, or none", i)
		}
		if created[i] {
			makers++
		}
	}
	if makers != 1 {
		t.Errorf("%d callers made the key, want 1", makers)
	}
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if rest, _ := os.ReadDir(filepath.Dir(path)); len(rest) != 1 {
		t.Errorf("other files are left: %v", rest)
	}
	must(t, os.WriteFile(path, []byte("hush"), 0o600))
	if _, _, err := LoadSealKeys(path); err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("a broken file: %v", err)
	}
}

func TestParseSealKey(t *testing.T) {
	raw := bytes.Repeat([]byte{0xfb}, SealKeyLen)
	for _, text := range []string{hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)), base64.StdEncoding.EncodeToString(raw),
		base64.URLEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw) + "\n"} {
		if key, err := ParseSealKey(text); err != nil || key != SealKey(raw) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"", "short", hex.EncodeToString(raw[1:]), hex.EncodeToString(raw) + "00", hex.EncodeToString(make([]byte, SealKeyLen)),
		strings.Repeat("z", 64), strings.Repeat("?", 43)} {
		_, err := ParseSealKey(text)
		wantKind(t, text, err, logbridge.ErrInvalid)
	}
}

func TestSealKeyIsNotPrinted(t *testing.T) {
	key := SealKey(bytes.Repeat([]byte("A"), SealKeyLen))
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", key, "in", struct{ K SealKey }{key})
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", key, "in", struct{ K SealKey }{key})
	b, _ := json.Marshal(map[string]any{"k": key})
	for _, s := range []string{fmt.Sprint(key), fmt.Sprintf("%x %d %s %q %#v %+v", key, key, key, key, key, &key), log.String(), string(b)} {
		if strings.Contains(s, "AAAA") || strings.Contains(s, "4141") || strings.Contains(s, "65,65") || strings.Contains(s, "65 65") {
			t.Errorf("the key is in %q", s)
		}
	}
}

func FuzzParseSealKey(f *testing.F) {
	f.Add(strings.Repeat("ab", SealKeyLen))
	f.Add(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xfb}, SealKeyLen)))
	f.Add("===")
	f.Fuzz(func(t *testing.T, text string) {
		key, err := ParseSealKey(text)
		if (err == nil) == (key == SealKey{}) {
			t.Errorf("%q: %v", text, err)
		}
		if err == nil {
			if again, err := ParseSealKey(hex.EncodeToString(key[:])); err != nil || again != key {
				t.Errorf("%q does not come back", text)
			}
		}
	})
}

// FuzzDecode reads arbitrary stored values as each kind; whatever is accepted must survive being stored again.
func FuzzDecode(f *testing.F) {
	seal, err := newSealer(testKey)
	if err != nil {
		f.Fatal(err)
	}
	r := &Registry{seal: seal}
	for _, s := range []string{`{}`, `{"hosts":["a"]}`, `{"web_tracking":true,"origins":["*"]}`, `{"limits":{"fields":3},"privacy":{"address":"full","redact":["email"]},"sealed_write_tokens":"` + seal.seal(place("write_tokens", kindLogstore, "P", "S"), `["0123456789abcdef"]`) + `"}`,
		`{"sealed_psk":"AQ"}`, `{"project":"p","sealed_secret":""}`,
		`{"name":"n","role":"viewer","created":"2026-01-02T03:04:05Z","sha256":"AAAA"}`, `{"sealed_psk":"` + seal.seal(place("psk", kindDevice, "P", "D"), "x") + `"}`} {
		f.Add([]byte(s))
	}
	id := logbridge.DeviceID{Product: "P", Device: "D"}
	f.Fuzz(func(t *testing.T, b []byte) {
		roundTrip(t, r.productForm(), "P", b)
		roundTrip(t, r.deviceForm(), id, b)
		roundTrip(t, projectForm(), "P", b)
		roundTrip(t, r.logstoreForm(), storeKey{"P", "S"}, b)
		roundTrip(t, r.keyForm(), "K", b)
		roundTrip(t, r.topicForm(), "T", b)
		roundTrip(t, r.topicKeyForm(), storeKey{"T", "K"}, b)
		roundTrip(t, tokenForm(), "0123", b)
		roundTrip(t, r.memoryForm(), "m", b)
		if plain, err := r.seal.open("place", string(b)); err == nil && plain != "" {
			t.Errorf("opened %q", b)
		}
	})
}

func roundTrip[K comparable, V, J any](t *testing.T, f form[K, V, J], k K, b []byte) {
	c := f.codec()
	v, err := c.Decode(k, b)
	if err != nil {
		return
	}
	again, err := c.Encode(k, v)
	if err != nil {
		t.Fatal(err)
	}
	w, err := c.Decode(k, again)
	if err != nil || fmt.Sprint(v) != fmt.Sprint(w) {
		t.Errorf("%v became %v, %v", v, w, err)
	}
}
