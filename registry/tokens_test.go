package registry

import (
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
