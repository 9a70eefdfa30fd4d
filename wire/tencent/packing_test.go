package tencent

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// reportVector is one report of testdata/reports.json, packed by the command line tools gzip 1.12 and lz4 1.9.4. Its lines are
// level|time|tag|text and, behind another |, each attribute.
type reportVector struct {
	Name        string   `json:"name"`
	ContentType string   `json:"content_type"`
	Payload     []byte   `json:"payload"`
	Lines       []string `json:"lines"`
	Error       string   `json:"error"` // "invalid" or "too large"
}

func reportVectors(t testing.TB) (all []reportVector) {
	t.Helper()
	b, err := os.ReadFile("testdata/reports.json")
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	if err != nil || len(all) == 0 {
		t.Fatal(err)
	}
	return all
}

func (v *reportVector) parse() ([]Line, error) {
	form, err := ParseReportForm(v.ContentType)
	if err != nil {
		return nil, err
	}
	plain, err := form.Unpack(v.Payload)
	if err != nil {
		return nil, err
	}
	return ParseReport(plain, form, shanghai)
}

func TestReportVectors(t *testing.T) {
	kinds := map[string]error{"": nil, "invalid": logbridge.ErrInvalid, "too large": logbridge.ErrTooLarge}
	for _, v := range reportVectors(t) {
		lines, err := v.parse()
		if !errors.Is(err, kinds[v.Error]) {
			t.Errorf("%s: error %v, want %q", v.Name, err, v.Error)
			continue
		}
		got := []string{}
		for _, l := range lines {
			at := ""
			if !l.Time.IsZero() {
				at = l.Time.UTC().Format(time.RFC3339)
			}
			text := strings.Join([]string{l.Level.String(), at, l.Tag, l.Text}, "|")
			for _, a := range l.Attrs {
				text += "|" + a.Key + "=" + a.Value
			}
			got = append(got, text)
		}
		if err == nil && !slices.Equal(got, v.Lines) {
			t.Errorf("%s: %q, want %q", v.Name, got, v.Lines)
		}
	}
}

// TestUnpackKeepsToItsMemory: whatever a payload claims, unpacking takes no more than was said before.
func TestUnpackKeepsToItsMemory(t *testing.T) {
	hostile := reportVectors(t)
	// A frame that asks for 4 MB buffers, and says that it holds 2^63 bytes.
	for _, flags := range []byte{0x40, 0x48} {
		frame := binary.LittleEndian.AppendUint32(nil, lz4Magic)
		frame = append(append(frame, flags, 0x70), bytes.Repeat([]byte{0xff}, 9)...)
		hostile = append(hostile, reportVector{Name: "claims", ContentType: "lz4", Payload: frame})
	}
	for _, v := range hostile {
		form, err := ParseReportForm(v.ContentType)
		if err != nil {
			continue
		}
		// The last growth of the buffer has the old one beside it.
		most := uint64(2*form.Memory(v.Payload) + 2*len(v.Payload) + 64<<10)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _ = form.Unpack(v.Payload)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > most {
			t.Errorf("%s: %d bytes of memory for %d, %d are the most", v.Name, took, len(v.Payload), most)
		}
	}
}
