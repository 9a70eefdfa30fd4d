package httpapi

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/sls"
)

// goProducerLZ4 is the body that the Go producer was recorded to send: one log of 2023 (web-tracking.md 4.7).
const goProducerLZ4 = "f0210a140880e2cfaa06120c0a016b120776e4b8ade696871a027470220831302e302e302e31320a0a047461673112027631"

// slsCall is a PutLogs request that is not signed yet.
type slsCall struct {
	path, query, body string
	header            http.Header
}

// putLogs is a call as the Go producer makes it.
func putLogs(path, body string, headers ...string) slsCall {
	sum := md5.Sum([]byte(body))
	h := http.Header{
		"Content-Type": {"application/x-protobuf"}, "Content-Md5": {strings.ToUpper(hex.EncodeToString(sum[:]))},
		"X-Log-Apiversion": {"0.6.0"}, "X-Log-Bodyrawsize": {"48"}, "X-Log-Signaturemethod": {"hmac-sha1"},
		"Date": {time.Now().UTC().Format(http.TimeFormat)},
	}
	for i := 0; i < len(headers); i += 2 {
		if h.Set(headers[i], headers[i+1]); headers[i+1] == "" {
			h.Del(headers[i])
		}
	}
	path, query, _ := strings.Cut(path, "?")
	return slsCall{path, query, body, h}
}

// v1 signs the call with V1.
func (c slsCall) v1(id, secret string) slsCall {
	c.header = c.header.Clone()
	c.header.Set("Authorization", sls.SignV1(id, secret, sls.Request{Method: "POST", Path: c.path, RawQuery: c.query, Header: c.header, Body: []byte(c.body)}))
	return c
}

// v4 signs the call with V4, for the host that signedCall sends it to.
func (c slsCall) v4(id, secret string, now time.Time) slsCall {
	c.header = c.header.Clone()
	c.header.Del("Date")
	c.header.Del("X-Log-Signaturemethod")
	sum := sha256.Sum256([]byte(c.body))
	c.header.Set("X-Log-Content-Sha256", hex.EncodeToString(sum[:]))
	c.header.Set("X-Log-Date", now.UTC().Format("20060102T150405Z"))
	c.header.Set("Authorization", sls.SignV4(id, secret, "local", sls.Request{
		Method: "POST", Path: c.path, RawQuery: c.query, Header: c.header, Body: []byte(c.body), Host: slsHost,
	}))
	return c
}

// slsHost is the Host of signedCall.
const slsHost = "myproj.localhost:8080"

// signedCall sends a call, behind a prefix that is not signed.
func (w *world) signedCall(prefix string, c slsCall) answered {
	w.t.Helper()
	pairs := []string{"Host", slsHost}
	for name, values := range c.header {
		pairs = append(pairs, name, values[0])
	}
	path := prefix + c.path
	if c.query != "" {
		path += "?" + c.query
	}
	return w.send("POST", path, c.body, pairs...)
}

func unhex(t *testing.T, text string) string {
	t.Helper()
	b, err := hex.DecodeString(text)
	check(t, err)
	return string(b)
}

func TestPutLogs(t *testing.T) {
	w := start(t)
	const store = "/logstores/closed"
	lz4 := unhex(t, goProducerLZ4)
	plain, err := sls.Decompress(nil, "lz4", "48", []byte(lz4), sls.MaxBody)
	check(t, err)
	z, err := zstd.NewWriter(nil)
	check(t, err)
	packed := z.EncodeAll(plain, nil)
	check(t, z.Close())
	for name, c := range map[string]slsCall{
		"lz4":    putLogs(store, lz4, "x-log-compresstype", "lz4"),
		"zstd":   putLogs(store+"/shards/lb", string(packed), "x-log-compresstype", "zstd"),
		"zlib":   putLogs(store+"/shards/lb", zlibOf(t, string(plain)), "x-log-compresstype", "deflate"),
		"none":   putLogs(store+"/shards/route?key=00ff00ff00ff00ff00ff00ff00ff00ff&processor=a%20b", string(plain)),
		"header": putLogs(store, string(plain), "Content-Type", "application/x-protobuf; charset=utf-8", "x-log-hashkey", "00"),
	} {
		before := len(w.records(logbridge.Query{}))
		checkEmptySuccess(t, name, w.signedCall("/sls/myproj", c.v1(keyID, keySecret)))
		got := w.records(logbridge.Query{})[before:]
		if len(got) != 1 || got[0].Time.Unix() != 1700000000 || got[0].TimeQuality != logbridge.TimeDevice || got[0].Stream != "sls/myproj/closed" ||
			attr(got[0], "k") != "v中文" || attr(got[0], "__topic__") != "tp" || attr(got[0], "__source__") != "10.0.0.1" || attr(got[0], "__tag__:tag1") != "v1" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	checkEmptySuccess(t, "no logs", w.signedCall("", putLogs(store, "").v1(keyID, keySecret)))
	stored := len(w.records(logbridge.Query{}))
	for _, row := range []struct {
		name   string
		call   slsCall
		status int
		code   string
	}{
		{"wrong secret", putLogs(store, lz4, "x-log-compresstype", "lz4").v1(keyID, "wrong"), 401, "SignatureNotMatch"},
		{"no protobuf", putLogs(store, "{}").v1(keyID, keySecret), 400, "PostBodyInvalid"},
		{"JSON as protobuf", putLogs(store, string(plain), "Content-Type", "application/json").v1(keyID, keySecret), 400, "PostBodyInvalid"},
		{"not packed", putLogs(store, string(plain), "x-log-compresstype", "zstd").v1(keyID, keySecret), 400, "PostBodyUncompressError"},
		{"packed otherwise", putLogs(store, string(plain), "x-log-compresstype", "brotli").v1(keyID, keySecret), 400, "InvalidCompressType"},
		{"no type", putLogs(store, string(plain), "Content-Type", "").v1(keyID, keySecret), 400, "MissingContentType"},
		{"another type", putLogs(store, string(plain), "Content-Type", "text/csv").v1(keyID, keySecret), 415, "InvalidContentType"},
		{"no version", putLogs(store, string(plain), "x-log-apiversion", "").v1(keyID, keySecret), 400, "MissingAPIVersion"},
		{"another version", putLogs(store, string(plain), "x-log-apiversion", "0.7.0").v1(keyID, keySecret), 400, "InvalidAPIVersion"},
		{"no store", putLogs("/logstores/nosuch", string(plain)).v1(keyID, keySecret), 404, "LogStoreNotExist"},
		{"another shard", putLogs(store+"/shards/7", string(plain)).v1(keyID, keySecret), 400, "ParameterInvalid"},
		{"too many logs", putLogs(store, strings.Repeat("\x0a\x02\x08\x01", sls.MaxGroupLogs+1)).v1(keyID, keySecret), 400, "PostBodyTooLarge"},
	} {
		checkSLSError(t, row.name, w.signedCall("", row.call), row.status, row.code)
	}
	if n := len(w.records(logbridge.Query{})); n != stored {
		t.Errorf("%d records of refused requests", n-stored)
	}
}

// TestPutLogsOfALargeBatch: more logs than a page may send are taken whole, and give their memory back.
func TestPutLogsOfALargeBatch(t *testing.T) {
	const logs = 2 * sls.MaxLogs
	w := start(t)
	field := func(b []byte, number protowire.Number, v []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), v)
	}
	var body []byte
	for i := range logs {
		log := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1700000000)
		body = field(body, 1, field(log, 2, field(field(nil, 1, []byte("n")), 2, fmt.Append(nil, i))))
	}
	var packed bytes.Buffer
	z, err := zstd.NewWriter(&packed)
	check(t, err)
	_, err = z.Write(body)
	check(t, err)
	check(t, z.Close())
	checkEmptySuccess(t, "large", w.signedCall("", putLogs("/logstores/closed", packed.String(), "x-log-compresstype", "zstd").v1(keyID, keySecret)))
	got := w.records(logbridge.Query{})
	if len(got) != logs || attr(got[logs-1], "n") != fmt.Sprint(logs-1) {
		t.Errorf("%d records", len(got))
	}
	if !w.bodies.share.TryAcquire(maxBodiesInFlight) {
		t.Error("a share was not given back")
	}
}

func TestPutLogsV4(t *testing.T) {
	w := start(t)
	const store = "/logstores/closed"
	lz4, now := unhex(t, goProducerLZ4), time.Now()
	for name, c := range map[string]slsCall{
		"lz4":   putLogs(store, lz4, "x-log-compresstype", "lz4"),
		"route": putLogs(store+"/shards/route?key=00ff&processor=a%20b", lz4, "x-log-compresstype", "lz4", "x-log-meta-a", "b"),
		"JSON":  putLogs(store+"/shards/lb", `{"__logs__":[{"k":"v","__time__":1700000000}]}`, "Content-Type", "application/json"),
	} {
		for _, prefix := range []string{"", "/sls/myproj"} {
			checkEmptySuccess(t, name, w.signedCall(prefix, c.v4(keyID, keySecret, now)))
		}
	}
	stored := w.records(logbridge.Query{})
	if len(stored) != 6 || stored[0].Time.Unix() != 1700000000 {
		t.Fatalf("records %+v", stored)
	}
	other := putLogs(store, lz4, "x-log-compresstype", "lz4").v4(keyID, keySecret, now)
	other.body += " "
	noDate := putLogs(store, lz4, "x-log-compresstype", "lz4").v4(keyID, keySecret, now)
	noDate.header.Del("X-Log-Date")
	for _, row := range []struct {
		name   string
		call   slsCall
		status int
		code   string
	}{
		{"wrong secret", putLogs(store, lz4).v4(keyID, "wrong", now), 401, "SignatureNotMatch"},
		{"another body", other, 401, "SignatureNotMatch"},
		{"unknown key", putLogs(store, lz4).v4("LTAInobody", keySecret, now), 401, "Unauthorized"},
		{"old", putLogs(store, lz4).v4(keyID, keySecret, now.Add(-time.Hour)), 400, "RequestTimeExpired"},
		{"no date", noDate, 400, "MissingDate"},
	} {
		checkSLSError(t, row.name, w.signedCall("", row.call), row.status, row.code)
	}
	if n := len(w.records(logbridge.Query{})); n != 6 {
		t.Errorf("%d records", n)
	}
}
