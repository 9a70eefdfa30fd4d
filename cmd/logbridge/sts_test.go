package main

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stsAnswer is what a backend gets for a page and hands on as it is.
type stsAnswer struct {
	AccessKeyId, AccessKeySecret, SecurityToken, Expiration string
}

// TestTemporaryCredentials goes the way of a web page through the whole program: the backend asks for credentials, the page
// signs with them as the STS plugin does, by hand here, and they are good after a restart and a change of the seal key.
func TestTemporaryCredentials(t *testing.T) {
	home := newPlace(t, e2eConfig)
	s := home.start(anyone, anyone)
	var k stsAnswer
	ask := map[string]string{"project": "myproj", "logstore": "mystore", "for": "15m"}
	if err := s.operator().call(t.Context(), http.MethodPost, "/sts", ask, &k); err != nil {
		t.Fatal(err)
	}
	end, err := time.Parse("2006-01-02T15:04:05Z", k.Expiration)
	if err != nil || !strings.HasPrefix(k.AccessKeyId, "STS.") || time.Until(end) > 15*time.Minute {
		t.Fatalf("%s until %s: %v", k.AccessKeyId, k.Expiration, err)
	}
	if status, answer := s.pageSends("mystore", k, `{"__logs__":[{"n":"1"}]}`); status != 200 || answer != "" {
		t.Errorf("%d %s", status, answer)
	}
	wrong := k
	wrong.AccessKeySecret += "x"
	if status, answer := s.pageSends("mystore", wrong, `{"__logs__":[{"n":"2"}]}`); status != 401 || !strings.Contains(answer, "SignatureNotMatch") {
		t.Errorf("%d %s", status, answer)
	}
	if err := s.operator().call(t.Context(), http.MethodPost, "/seal-key/rotate", nil, nil); err != nil {
		t.Fatal(err)
	}
	if code := s.stop(syscall.SIGTERM); code != exitOK {
		t.Fatalf("exit code %d:\n%s", code, s.output())
	}
	s = home.start(anyone, anyone)
	if status, answer := s.pageSends("mystore", k, `{"__logs__":[{"n":"3"}]}`); status != 200 || answer != "" {
		t.Errorf("after a restart: %d %s", status, answer)
	}
	var got []string
	for _, r := range s.records("stream=sls/myproj/mystore") {
		got = append(got, r.Attributes["n"])
	}
	if strings.Join(got, ",") != "1,3" {
		t.Errorf("stored: %v", got)
	}
	if out := s.output(); strings.Contains(out, k.AccessKeySecret) || strings.Contains(out, k.SecurityToken) {
		t.Error("the log has a secret")
	}
}

// pageSends posts a body with the headers of the STS plugin (web-tracking.md 3.2, 3.3).
func (s *process) pageSends(logstore string, k stsAnswer, body string) (status int, answer string) {
	t := s.place.t
	t.Helper()
	path := "/logstores/" + logstore
	sum := md5.Sum([]byte(body))
	checksum, date := strings.ToUpper(hex.EncodeToString(sum[:])), time.Now().UTC().Format(http.TimeFormat)
	mac := hmac.New(sha1.New, []byte(k.AccessKeySecret))
	io.WriteString(mac, "POST\n"+checksum+"\napplication/json\n"+date+"\nx-acs-security-token:"+k.SecurityToken+
		"\nx-log-apiversion:0.6.0\nx-log-bodyrawsize:24\nx-log-signaturemethod:hmac-sha1\n"+path)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "Content-MD5": checksum, "x-log-date": date, "x-log-apiversion": "0.6.0",
		"x-log-bodyrawsize": "24", "x-log-signaturemethod": "hmac-sha1", "x-acs-security-token": k.SecurityToken,
		"Authorization": "LOG " + k.AccessKeyId + ":" + base64.StdEncoding.EncodeToString(mac.Sum(nil)),
	} {
		req.Header.Set(name, value)
	}
	res, err := (&http.Client{Timeout: patience}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}
