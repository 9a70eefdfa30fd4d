package registry

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
)

// tokenPrefix lets people and secret scanners recognise a token.
const tokenPrefix = "lb_"

// tokenLen is the length of a token in random bytes: nothing to guess, so a plain hash is enough at rest.
const tokenLen = 32

// maxTokens bounds the tokens, which every node holds in memory; a fleet of collectors with a token each has some hundreds.
const maxTokens = 10_000

// tokenIDLen is how many bytes of a token's hash are its id, by which it is found.
const tokenIDLen = 8

// adminToken is who the admin token of the file is.
var adminToken = logbridge.Token{ID: "admin", Name: "admin", Role: logbridge.RoleAdmin}

// reservedNames are actors in the audit stream that no token may pose as.
var reservedNames = []string{"admin", "config", "expiry", "quota"}

// storedToken is a token and the hash of its text.
type storedToken struct {
	logbridge.Token
	hash [sha256.Size]byte
}

func tokenID(hash [sha256.Size]byte) string { return hex.EncodeToString(hash[:tokenIDLen]) }

// CreateToken makes a token; a zero expires means without end, no scope everything. plain is the token's text, shown this
// once: only its hash is kept. ErrTooLarge when there are too many.
func (r *Registry) CreateToken(ctx context.Context, name string, role logbridge.Role, expires time.Time, scope ...string) (t logbridge.Token, plain string, err error) {
	now := time.Now().UTC().Truncate(time.Second)
	scope = slices.Compact(slices.Sorted(slices.Values(scope)))
	if err := tokenFaults(name, role, scope, expires, now).err(""); err != nil {
		return t, "", err
	}
	r.claims.Lock()
	defer r.claims.Unlock()
	if len(r.Tokens()) >= r.mostTokens {
		return t, "", fmt.Errorf("%w: there are %d tokens, the most; delete those that have expired", logbridge.ErrTooLarge, r.mostTokens)
	}
	secret := make([]byte, tokenLen)
	rand.Read(secret)
	plain = tokenPrefix + base64.RawURLEncoding.EncodeToString(secret)
	hash := sha256.Sum256([]byte(plain))
	t = logbridge.Token{ID: tokenID(hash), Name: name, Role: role, Created: now, Expires: expires, Scope: scope}
	if err := r.tokens.Put(ctx, t.ID, storedToken{t, hash}); err != nil {
		return logbridge.Token{}, "", err
	}
	return t, plain, nil
}

// Tokens lists all tokens, expired ones too, oldest first.
func (r *Registry) Tokens() []logbridge.Token {
	var out []logbridge.Token
	for _, t := range r.tokens.After("") {
		out = append(out, t.Token)
	}
	slices.SortStableFunc(out, func(a, b logbridge.Token) int { return a.Created.Compare(b.Created) })
	return out
}

// DeleteToken deletes a token; it is refused from then on.
func (r *Registry) DeleteToken(ctx context.Context, id string) error {
	return remove(ctx, r.tokens, id, "token")
}

// SetAdminToken sets the token that may do everything and is kept in a file of the operator's, not here; empty is none.
func (r *Registry) SetAdminToken(token string) {
	if token = strings.TrimSpace(token); token == "" {
		r.admin.Store(nil)
		return
	}
	hash := sha256.Sum256([]byte(token))
	r.admin.Store(&hash)
}

// Authenticate says who holds a token, or ErrUnauthorized. Hashes are compared, in constant time.
func (r *Registry) Authenticate(token string) (logbridge.Token, error) {
	hash := sha256.Sum256([]byte(token))
	if admin := r.admin.Load(); admin != nil && token != "" && subtle.ConstantTimeCompare(hash[:], admin[:]) == 1 {
		return adminToken, nil
	}
	t, _ := r.tokens.Get(tokenID(hash))
	if t == nil || subtle.ConstantTimeCompare(hash[:], t.hash[:]) != 1 {
		return logbridge.Token{}, fmt.Errorf("%w: the token is not known", logbridge.ErrUnauthorized)
	}
	if !t.Expires.IsZero() && !time.Now().Before(t.Expires) {
		return logbridge.Token{}, fmt.Errorf("%w: the token %s expired at %s", logbridge.ErrUnauthorized, t.Name, t.Expires.UTC().Format(time.RFC3339))
	}
	return t.Token, nil
}
