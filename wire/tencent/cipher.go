package tencent

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"fmt"

	"github.com/logbridge/logbridge"
)

// cipherKey is how much of a secret's text is the AES-128 key of a registration and of an encrypted frame (5, 6).
const cipherKey = 16

// zeroIV is the initialization vector of both: sixteen times the character 0 (5, 6). It makes equal beginnings visible, which
// nothing here relies on: registrations are signed, and frames say nothing secret of themselves.
var zeroIV = bytes.Repeat([]byte{'0'}, aes.BlockSize)

func blockCipher(secret string) (cipher.Block, error) {
	if len(secret) < cipherKey {
		return nil, fmt.Errorf("%w: a secret of %d characters cannot encrypt, %d are needed", logbridge.ErrInvalid, len(secret), cipherKey)
	}
	return aes.NewCipher([]byte(secret[:cipherKey]))
}

// seal encrypts plain with zeros behind it up to a whole block: PKCS#7 would break the Python SDK (6).
func seal(secret string, plain []byte) ([]byte, error) {
	block, err := blockCipher(secret)
	if err != nil {
		return nil, err
	}
	out := make([]byte, (len(plain)+aes.BlockSize-1)/aes.BlockSize*aes.BlockSize)
	copy(out, plain)
	cipher.NewCBCEncrypter(block, zeroIV).CryptBlocks(out, out)
	return out, nil
}

// DecryptFrame is the frame in the body of a POST that says X-TC-IotEncryType: P (5): AES-128-CBC under the first 16 characters
// of the PSK text, with ANSI X.923 padding, zeros and then the number of padding bytes. ErrInvalid when it cannot be one. It
// proves nothing: the frame inside is signed.
func DecryptFrame(body []byte, secret string) ([]byte, error) {
	block, err := blockCipher(secret)
	if err != nil {
		return nil, err
	}
	if len(body) == 0 || len(body)%aes.BlockSize != 0 {
		return nil, fmt.Errorf("%w: encrypted frame of %d bytes is no multiple of %d", logbridge.ErrInvalid, len(body), aes.BlockSize)
	}
	plain := make([]byte, len(body))
	cipher.NewCBCDecrypter(block, zeroIV).CryptBlocks(plain, body)
	padding := int(plain[len(plain)-1])
	if padding == 0 || padding > aes.BlockSize {
		return nil, fmt.Errorf("%w: the frame does not decrypt", logbridge.ErrInvalid)
	}
	return plain[:len(plain)-padding], nil
}

// EncryptFrame is the way back: the client's side, for tests.
func EncryptFrame(frame []byte, secret string) ([]byte, error) {
	padding := aes.BlockSize - len(frame)%aes.BlockSize
	plain := append(bytes.Clone(frame), make([]byte, padding)...)
	plain[len(plain)-1] = byte(padding)
	return seal(secret, plain)
}
