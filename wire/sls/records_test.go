package sls

import (
	"bytes"
	"errors"
	"image/gif"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

func TestRecords(t *testing.T) {
	received, sent := time.Unix(1795258418, 0), time.Unix(1700000000, 0)
	stream := logbridge.SLSStream("myproj", "mystore")
	g := Group{Topic: "t", Source: "s", Tags: attrs("site", "lab"), Logs: []Log{
		{Time: sent, Fields: attrs("k", "v", "level", "WARN")},
		{Fields: attrs("k", "w")},
	}}
	record := func(at time.Time, quality logbridge.TimeQuality, level logbridge.Level, fields ...string) logbridge.Record {
		return logbridge.Record{Time: at, ObservedTime: received, TimeQuality: quality, Source: logbridge.SourceSLS, Stream: stream,
			Severity: level, Attributes: attrs(append(fields, "__tag__:site", "lab", "__topic__", "t", "__source__", "s")...)}
	}
	second := record(received, logbridge.TimeReceived, logbridge.LevelInfo, "k", "w")
	want := []logbridge.Record{record(received, logbridge.TimeReceived, logbridge.LevelWarn, "k", "v", "level", "WARN"), second}
	if got := Records(g, stream, received, "192.0.2.1"); !reflect.DeepEqual(got, want) {
		t.Errorf("anonymous: %+v\nwant %+v", got, want)
	}
	want[0] = record(sent, logbridge.TimeDevice, logbridge.LevelWarn, "k", "v", "level", "WARN")
	if got := SignedRecords(g, stream, received, "192.0.2.1"); !reflect.DeepEqual(got, want) {
		t.Errorf("signed: %+v\nwant %+v", got, want)
	}
}

func TestRecordsWithoutSource(t *testing.T) {
	g := Group{Logs: []Log{{Fields: attrs("k", "v")}, {Fields: attrs("k", "w")}}}
	recs := Records(g, "sls/p/s", time.Now(), "192.0.2.1")
	if want := attrs("k", "v", "__source__", "192.0.2.1"); !reflect.DeepEqual(recs[0].Attributes, want) {
		t.Errorf("%v, want %v", recs[0].Attributes, want)
	}
	_ = append(recs[0].Attributes, logbridge.Attr{Key: "more"})
	if recs[1].Attributes[0].Key != "k" {
		t.Error("appending to one record's attributes writes into the next record's")
	}
	if recs := Records(Group{}, "sls/p/s", time.Now(), ""); recs != nil {
		t.Errorf("no logs make %v", recs)
	}
}

func TestErrorJSON(t *testing.T) {
	for want, err := range map[string]*Error{
		`{"errorCode":"LogStoreNotExist","errorMessage":"logstore a\"b does not exist."}`:                                                         LogStoreNotExist(`a"b`),
		`{"errorCode":"PostBodyTooLarge","errorMessage":"Body size 10485761 must little than 10485760."}`:                                         PostBodyTooLarge(MaxBody + 1),
		`{"errorCode":"Unauthorized","errorMessage":"100% denied"}`:                                                                               Unauthorized("100% denied"),
		`{"errorCode":"RequestTimeExpired","errorMessage":"Request time x has been expired while server time is Tue, 14 Nov 2023 22:13:20 GMT."}`: RequestTimeExpired("x", time.Unix(1700000000, 0)),
	} {
		if got := string(err.JSON()); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestErrorKinds: every row has a status, a code, a message and a kind.
func TestErrorKinds(t *testing.T) {
	for _, row := range []struct {
		err    *Error
		status int
		kind   error
	}{
		{PostBodyInvalid(), 400, logbridge.ErrInvalid}, {PostBodyUncompressError(), 400, logbridge.ErrInvalid},
		{PostBodyTooLarge(1), 400, logbridge.ErrTooLarge}, {InvalidCompressType("x"), 400, logbridge.ErrInvalid},
		{MissingBodyRawSize(), 400, logbridge.ErrInvalid}, {InvalidBodyRawSize("x"), 400, logbridge.ErrInvalid},
		{MissingAPIVersion(), 400, logbridge.ErrInvalid}, {InvalidAPIVersion("x"), 400, logbridge.ErrInvalid},
		{MissingDate(), 400, logbridge.ErrInvalid}, {InvalidRequestTime("x"), 400, logbridge.ErrInvalid},
		{RequestTimeExpired("x", time.Now()), 400, logbridge.ErrInvalid}, {MissingSignatureMethod(), 400, logbridge.ErrInvalid},
		{InvalidSignatureMethod("x"), 400, logbridge.ErrInvalid}, {ParameterInvalid("x"), 400, logbridge.ErrInvalid},
		{InvalidHost("x"), 400, logbridge.ErrInvalid}, {SignatureNotMatch("x"), 401, logbridge.ErrUnauthorized},
		{Unauthorized("x"), 401, logbridge.ErrUnauthorized}, {WriteQuotaExceed(), 403, logbridge.ErrForbidden},
		{ProjectNotExist("x"), 404, logbridge.ErrNotFound}, {LogStoreNotExist("x"), 404, logbridge.ErrNotFound},
		{MissingContentLength(), 411, logbridge.ErrInvalid}, {InvalidContentType("x"), 415, logbridge.ErrInvalid},
		{InternalServerError(), 500, logbridge.ErrUnavailable}, {ServerBusy(), 503, logbridge.ErrUnavailable},
	} {
		if e := row.err; e.Status != row.status || !errors.Is(e, row.kind) || e.Code == "" || e.Message == "" {
			t.Errorf("%+v", e)
		}
	}
}

func TestAnswers(t *testing.T) {
	if id := RequestID(); !regexp.MustCompile(`^[0-9A-F]{24}$`).MatchString(id) || id == RequestID() {
		t.Errorf("request id %q", id)
	}
	picture, err := gif.Decode(bytes.NewReader(GIF))
	if err != nil || picture.Bounds().Dx() != 1 || picture.Bounds().Dy() != 1 || len(GIF) != 43 {
		t.Errorf("%d bytes, %v", len(GIF), err)
	}
}

// TestCommonAttributesStayApart: what is put behind the fields of one event is not in the next, with room for it and without.
func TestCommonAttributesStayApart(t *testing.T) {
	for tags := range 5 {
		body := `{"__logs__":[{"a":"1"},{},{"b":"2","c":"3"}],"__topic__":"t","__tags__":{`
		for i := range tags {
			body += `"` + string(rune('p'+i)) + `":"x",`
		}
		g, err := DecodeJSON([]byte(strings.TrimSuffix(body, ",") + `}}`))
		if err != nil {
			t.Fatal(err)
		}
		recs := Records(g, "sls/p/s", time.Unix(1, 0), "192.0.2.1")
		for i, own := range [][]string{{"a", "1"}, nil, {"b", "2", "c", "3"}} {
			want := attrs(own...)
			for n := range tags {
				want = append(want, attrs("__tag__:"+string(rune('p'+n)), "x")...)
			}
			want = append(want, attrs("__topic__", "t", "__source__", "192.0.2.1")...)
			if got := recs[i].Attributes; !reflect.DeepEqual(got, want) || cap(got) != len(got) {
				t.Errorf("%d tags, event %d: %v, want %v", tags, i, got, want)
			}
		}
	}
}
