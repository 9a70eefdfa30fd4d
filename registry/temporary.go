package registry

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/logbridge/logbridge"
)

// Temporary keys are kept nowhere: the security token that comes with each says what it is for, and every node that has the
// registry can open it and derive the secret again.
//
//	token  = base64url( format (1) | salt (16, random) | AES-256-GCM(claims) )
//	           key HMAC-SHA256(root, "seal" 0 salt), nonce zero, format authenticated with it
//	claims = {"p":project,"l":logstore,"e":end in Unix seconds}
//	id     = "STS." base32(salt)
//	secret = base64url( HMAC-SHA256(root, "secret" 0 token) )
//
// A key of its own for each token means that no nonce can ever be used twice, however many millions of pages ask; a random nonce
// under one key would be good for 2^32 of them.
//
// root is 32 random bytes of their own in the registry, sealed at rest like every other secret, and not derived from the seal
// key: every node reads it with the rest, and a change of the seal key, after which the old one is forgotten, seals it anew and
// leaves the pages logged in. It is made when the first temporary key is.

const (
	// DefaultTemporaryLife and MaxTemporaryLife are how long a temporary key is good: the vendor's default and longest.
	DefaultTemporaryLife = time.Hour
	MaxTemporaryLife     = 12 * time.Hour

	temporaryFormat = 1
	temporarySalt   = 16
	temporaryHead   = 1 + temporarySalt
	temporaryID     = "STS."
	// maxTemporaryToken bounds a token that is looked at: the longest names make less than half of it.
	maxTemporaryToken = 1 << 10
	// temporaryRoot is the name of the one root of temporary keys, addressRoot that of the key for addresses beside it.
	temporaryRoot = "1"
	addressRoot   = "address"
)

// claims is what a security token says.
type claims struct {
	Project  string `json:"p"`
	Logstore string `json:"l"`
	Expires  int64  `json:"e"`
}

// IssueTemporaryKey makes an access key for one logstore that is good for life, DefaultTemporaryLife if that is zero. ErrInvalid
// for a life below a second or over MaxTemporaryLife, ErrNotFound for a logstore that is not there. Nothing is stored but, once
// ever, the root.
func (r *Registry) IssueTemporaryKey(ctx context.Context, project, logstore string, life time.Duration) (logbridge.TemporaryKey, error) {
	if life == 0 {
		life = DefaultTemporaryLife
	}
	if life < time.Second || life > MaxTemporaryLife {
		return logbridge.TemporaryKey{}, fmt.Errorf("%w: a temporary key is good for %s to %s", logbridge.ErrInvalid, time.Second, MaxTemporaryLife)
	}
	if _, err := r.Logstore(project, logstore); err != nil {
		return logbridge.TemporaryKey{}, err
	}
	root, err := r.makeRoot(ctx, temporaryRoot)
	if err != nil {
		return logbridge.TemporaryKey{}, err
	}
	expires := time.Now().Add(life).Truncate(time.Second).UTC()
	plain, err := json.Marshal(claims{project, logstore, expires.Unix()})
	if err != nil {
		return logbridge.TemporaryKey{}, err
	}
	head := make([]byte, temporaryHead, temporaryHead+len(plain)+16)
	head[0] = temporaryFormat
	rand.Read(head[1:])
	aead, err := temporaryCipher(root, head)
	if err != nil {
		return logbridge.TemporaryKey{}, err
	}
	token := base64.RawURLEncoding.EncodeToString(aead.Seal(head, make([]byte, aead.NonceSize()), plain, head[:1]))
	return temporaryKey(root, token, head, claims{project, logstore, expires.Unix()}), nil
}

// TemporaryKey is the key that a security token came with. It may have ended; whoever asks looks at Expires. ErrUnauthorized for
// what is no token of this registry.
func (r *Registry) TemporaryKey(token string) (logbridge.TemporaryKey, error) {
	bad := fmt.Errorf("%w: it is no security token of ours", logbridge.ErrUnauthorized)
	root, _ := r.temporary.Get(temporaryRoot)
	if root == nil || len(token) > maxTemporaryToken {
		return logbridge.TemporaryKey{}, bad
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || base64.RawURLEncoding.EncodeToString(b) != token /* it passes over line ends */ || len(b) < temporaryHead || b[0] != temporaryFormat {
		return logbridge.TemporaryKey{}, bad
	}
	head := b[:temporaryHead]
	aead, err := temporaryCipher(*root, head)
	if err != nil {
		return logbridge.TemporaryKey{}, err
	}
	plain, err := aead.Open(nil, make([]byte, aead.NonceSize()), b[temporaryHead:], head[:1])
	if err != nil {
		return logbridge.TemporaryKey{}, bad
	}
	var c claims
	if err := json.Unmarshal(plain, &c); err != nil {
		return logbridge.TemporaryKey{}, bad
	}
	return temporaryKey(*root, token, head, c), nil
}

func temporaryKey(root, token string, head []byte, c claims) logbridge.TemporaryKey {
	return logbridge.TemporaryKey{
		Project: c.Project, Logstore: c.Logstore, Expires: time.Unix(c.Expires, 0).UTC(),
		ID:     temporaryID + base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(head[1:temporaryHead]),
		Secret: base64.RawURLEncoding.EncodeToString(temporaryMAC(root, "secret", []byte(token))),
		Token:  token,
	}
}

// temporaryCipher is the cipher of one token.
func temporaryCipher(root string, head []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(temporaryMAC(root, "seal", head[1:temporaryHead]))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func temporaryMAC(root, what string, data []byte) []byte {
	mac := hmac.New(sha256.New, []byte(root))
	mac.Write([]byte(what + "\x00"))
	mac.Write(data)
	return mac.Sum(nil)
}

// AddressKey is the key under which addresses of clients are hashed: 32 random bytes as base64, made once, sealed at rest like every
// other secret and the same on every node.
func (r *Registry) AddressKey(ctx context.Context) (string, error) {
	return r.makeRoot(ctx, addressRoot)
}

// makeRoot gives a root, and makes it if there is none. Of two nodes that do so at once, both get the same one.
func (r *Registry) makeRoot(ctx context.Context, name string) (string, error) {
	if root, _ := r.temporary.Get(name); root != nil {
		return *root, nil
	}
	key := newSealKey()
	r.sealing.RLock()
	defer r.sealing.RUnlock()
	return r.temporary.First(ctx, name, base64.RawStdEncoding.EncodeToString(key[:]))
}
