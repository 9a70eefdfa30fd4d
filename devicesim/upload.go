package devicesim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"

	"github.com/logbridge/logbridge/wire/tencent"
)

// reportPath is where devices post (tencent-iot.md 4).
const reportPath = "/device/reportlog"

// mostAnswer is more than any answer to a device may have (tencent-iot.md 4.5).
const mostAnswer = 4096

// errRefused is an answer that the same lines would get again.
var errRefused = errors.New("refused")

// errTemporary is certainty that the lines were not taken, this time.
var errTemporary = errors.New("not taken")

// uploadAll sends what is pending and reports whether nothing is left to try again.
func (d *device) uploadAll(ctx context.Context) bool {
	for len(d.pending) > 0 {
		if d.publishes() && d.conn.Load() == nil {
			return false
		}
		n := min(len(d.pending), d.most)
		lines := d.pending[:n:n]
		d.fleet.stats.sent.Add(int64(max(n-d.counted, 0)))
		d.counted = max(d.counted, n)
		switch err := d.send(ctx, lines); {
		case err == nil:
			d.fleet.stats.acknowledged.Add(int64(n))
			if d.fleet.cfg.Acked != nil {
				d.fleet.cfg.Acked(d.ID, lines)
			}
		case errors.Is(err, errRefused):
			d.fleet.stats.refused.Add(int64(n))
			d.log.Debug("lines refused", "lines", n, "err", err)
		default:
			d.fleet.stats.failed(err)
			if !errors.Is(err, errTemporary) {
				d.fleet.stats.unanswered.Add(int64(n))
			}
			d.log.Debug("upload failed", "lines", n, "err", err)
			return false
		}
		d.pending = d.pending[n:]
		d.counted -= n
	}
	return true
}

func (d *device) send(ctx context.Context, lines []string) error {
	switch {
	case d.dialect.send != nil:
		return d.dialect.send(d, ctx, lines)
	case d.upload == UploadHTTP:
		return d.postSigned(ctx, d.fleet.host, tencent.EncodeUpload(d.ID, lines))
	}
	return d.publish(ctx, lines)
}

// publishes says that the device needs its connection for an upload.
func (d *device) publishes() bool {
	return d.mustPublish || d.dialect.send == nil && d.upload == UploadMQTT
}

func (d *device) publish(ctx context.Context, lines []string) error {
	c := d.conn.Load()
	if c == nil {
		return fmt.Errorf("%w: not connected", errTemporary)
	}
	return c.report(ctx, []byte(strings.Join(lines, "\n")))
}

// postSigned uploads a body as the SDKs for C and Java sign it: with the first 24 characters of the PSK text.
func (d *device) postSigned(ctx context.Context, host string, body []byte) error {
	const keyLength = 24
	algorithm := d.algorithm
	stamp, nonce := strconv.FormatInt(d.stamp(), 10), strconv.Itoa(int(rand.Int32()))
	signature, err := tencent.Sign(d.PSK[:min(keyLength, len(d.PSK))], algorithm, host, reportPath, stamp, nonce, body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.fleet.cfg.HTTP+reportPath, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json;charset=utf-8")
	req.Header.Set("X-TC-Algorithm", algorithm)
	req.Header.Set("X-TC-Timestamp", stamp)
	req.Header.Set("X-TC-Nonce", nonce)
	req.Header.Set("X-TC-Signature", signature)
	status, answer, err := d.fleet.do(req)
	if err != nil {
		return err
	}
	return outcome(status, answer)
}

// do sends a request and reads its answer.
func (f *Fleet) do(req *http.Request) (status int, answer []byte, err error) {
	res, err := f.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err = io.ReadAll(io.LimitReader(res.Body, mostAnswer))
	return res.StatusCode, answer, err
}

// outcome reads an answer as Tencent's SDKs do: success is a Response without Error (tencent-iot.md 4.5).
func outcome(status int, answer []byte) error {
	var a struct {
		Response *struct {
			Error *struct{ Code, Message string }
		}
	}
	if err := json.Unmarshal(answer, &a); err != nil || a.Response == nil || status != http.StatusOK {
		return fmt.Errorf("answer %d is not one for devices", status)
	}
	e := a.Response.Error
	switch {
	case e == nil:
		return nil
	case strings.HasPrefix(e.Code, "InternalError"): // it may be stored all the same
		return fmt.Errorf("%s: %s", e.Code, e.Message)
	case strings.HasPrefix(e.Code, "RequestLimitExceeded"), strings.HasPrefix(e.Code, "LimitExceeded"):
		return fmt.Errorf("%w: %s: %s", errTemporary, e.Code, e.Message)
	}
	return fmt.Errorf("%w: %s: %s", errRefused, e.Code, e.Message)
}
