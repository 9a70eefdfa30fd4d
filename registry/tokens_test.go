package registry

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

var noEnd time.Time

func TestTokens(t *testing.T) {
	r := open(t, start(t, t.TempDir()))
	ctx := t.Context()
	token, plain, err := r.CreateToken(ctx, "grafana", logbridge.RoleViewer, time.Now().Add(time.Hour))
	must(t, err)
	if !strings.HasPrefix(plain, "lb_") || len(plain) < 40 {
		t.Errorf("token %q", plain)
	}
	who, err := r.Authenticate(plain)
	if err != nil || !reflect.DeepEqual(who, token) {
		t.Errorf("%v, %v; want %v", who, err, token)
	}
	for _, wrong := range []string{"", "lb_", plain[:len(plain)-1], plain + "x", strings.ToUpper(plain)} {
		_, err := r.Authenticate(wrong)
		wantKind(t, wrong, err, logbridge.ErrUnauthorized)
	}
	if all := r.Tokens(); len(all) != 1 || !reflect.DeepEqual(all[0], token) {
		t.Errorf("tokens %v", all)
	}
	must(t, r.DeleteToken(ctx, token.ID))
	_, err = r.Authenticate(plain)
	wantKind(t, "deleted", err, logbridge.ErrUnauthorized)
	wantKind(t, "delete again", r.DeleteToken(ctx, token.ID), logbridge.ErrNotFound)
	for name, role := range map[string]logbridge.Role{"": logbridge.RoleViewer, "expiry": logbridge.RoleViewer, "x\n": logbridge.RoleViewer, "x": "king"} {
		_, _, err := r.CreateToken(ctx, name, role, noEnd)
		wantKind(t, name, err, logbridge.ErrInvalid)
	}
	_, _, err = r.CreateToken(ctx, "late", logbridge.RoleViewer, time.Now().Add(-time.Second))
	wantKind(t, "expired already", err, logbridge.ErrInvalid)
}

func TestExpiredToken(t *testing.T) {
	r := open(t, start(t, t.TempDir()))
	token, plain, err := r.CreateToken(t.Context(), "short", logbridge.RoleAdmin, time.Now().Add(time.Hour))
	must(t, err)
	stored, _ := r.tokens.Get(token.ID)
	old := *stored
	old.Expires = time.Now().Add(-time.Second)
	must(t, r.tokens.Put(t.Context(), token.ID, old))
	_, err = r.Authenticate(plain)
	wantKind(t, "expired", err, logbridge.ErrUnauthorized)
}

// TestOtherHashWithTheSameID stores a token that has the id of another: its hash must decide, not its id.
func TestOtherHashWithTheSameID(t *testing.T) {
	r := open(t, start(t, t.TempDir()))
	token, plain, err := r.CreateToken(t.Context(), "a", logbridge.RoleAdmin, noEnd)
	must(t, err)
	stored, _ := r.tokens.Get(token.ID)
	forged := *stored
	forged.hash[31] ^= 1
	must(t, r.tokens.Put(t.Context(), token.ID, forged))
	_, err = r.Authenticate(plain)
	wantKind(t, "other hash", err, logbridge.ErrUnauthorized)
}

func TestAdminToken(t *testing.T) {
	r := open(t, start(t, t.TempDir()))
	_, err := r.Authenticate("")
	wantKind(t, "none set", err, logbridge.ErrUnauthorized)
	r.SetAdminToken("secret-of-the-file\n")
	if who, err := r.Authenticate("secret-of-the-file"); err != nil || who.Role != logbridge.RoleAdmin {
		t.Errorf("%v, %v", who, err)
	}
	_, err = r.Authenticate("other")
	wantKind(t, "wrong", err, logbridge.ErrUnauthorized)
	if len(r.Tokens()) != 0 {
		t.Error("the admin token is listed")
	}
	r.SetAdminToken("")
	_, err = r.Authenticate("")
	wantKind(t, "taken away", err, logbridge.ErrUnauthorized)
}

// TestStoredTokens: what older versions stored is good as it was, and what is limited is nothing to a version that reads no
// scope.
func TestStoredTokens(t *testing.T) {
	node := start(t, t.TempDir())
	r := open(t, node)
	ctx := t.Context()
	form := tokenForm()
	hash := sha256.Sum256([]byte("lb_old"))
	id := tokenID(hash)
	var stored tokenJSON
	must(t, json.Unmarshal([]byte(`{"name":"old","role":"operator","created":"2026-01-02T03:04:05Z","sha256":"`+base64.StdEncoding.EncodeToString(hash[:])+`"}`), &stored))
	old, err := form.ofJSON(id, stored)
	must(t, err)
	must(t, r.tokens.Put(ctx, id, old))
	if who, err := r.Authenticate("lb_old"); err != nil || who.Name != "old" || who.Role != logbridge.RoleOperator || who.Limited() {
		t.Errorf("%+v, %v", who, err)
	}

	limited, plain, err := r.CreateToken(ctx, "limited", logbridge.RoleAdmin, noEnd, "sls/shop", "device/ABCDE12345", "sls/shop")
	must(t, err)
	text, err := form.codec().Encode(limited.ID, storedToken{limited, sha256.Sum256([]byte(plain))})
	must(t, err)
	var before struct{ Role logbridge.Role }
	must(t, json.Unmarshal(text, &before))
	if before.Role != "" || strings.Contains(string(text), plain) {
		t.Errorf("stored as %s", text)
	}
	r = open(t, node) // as another node reads it
	who, err := r.Authenticate(plain)
	if err != nil || !reflect.DeepEqual(who, limited) || who.Role != logbridge.RoleAdmin || strings.Join(who.Scope, " ") != "device/ABCDE12345 sls/shop" {
		t.Errorf("%+v, %v; want %+v", who, err, limited)
	}
	if lost, err := form.ofJSON(id, tokenJSON{Name: "x", Limited: logbridge.RoleAdmin, Hash: hash[:]}); err != nil || lost.Role != "" {
		t.Errorf("a limited token that lost its scope: %+v, %v", lost, err)
	}
	_, _, err = r.CreateToken(ctx, "x", logbridge.RoleViewer, noEnd, "device/short")
	wantKind(t, "scope", err, logbridge.ErrInvalid)
}

// TestTokensAreBounded stores as many tokens as there may be, and one more.
func TestTokensAreBounded(t *testing.T) {
	r := open(t, start(t, t.TempDir()))
	r.mostTokens = 3
	for range r.mostTokens {
		_, _, err := r.CreateToken(t.Context(), "x", logbridge.RoleViewer, noEnd)
		must(t, err)
	}
	_, _, err := r.CreateToken(t.Context(), "x", logbridge.RoleViewer, noEnd)
	wantKind(t, "one more", err, logbridge.ErrTooLarge)
	must(t, r.DeleteToken(t.Context(), r.Tokens()[0].ID))
	_, _, err = r.CreateToken(t.Context(), "x", logbridge.RoleViewer, noEnd)
	must(t, err)
}

// TestRevokedOnEveryNode: what one node revokes, another does not take any more.
func TestRevokedOnEveryNode(t *testing.T) {
	node := start(t, t.TempDir())
	a, b := open(t, node), open(t, node)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	for _, r := range []*Registry{a, b} {
		go func() { ended <- r.Run(ctx) }()
	}
	defer func() {
		cancel()
		<-ended
		<-ended
	}()
	token, plain, err := a.CreateToken(t.Context(), "x", logbridge.RoleViewer, noEnd)
	must(t, err)
	eventually(t, func() bool { _, err := b.Authenticate(plain); return err == nil })
	must(t, b.DeleteToken(t.Context(), token.ID))
	eventually(t, func() bool { _, err := a.Authenticate(plain); return err != nil })
}
