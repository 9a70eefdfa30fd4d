package loki

import (
	"encoding/json"
	"os"
	"reflect"
	"strconv"
	"testing"
	"time"
)

var (
	at     = time.Unix(1700000000, 123456789)
	second = time.Unix(1700000000, 0)
	meta   = []Label{{"seq", "9.1"}}
	parsed = []Label{{"m", `x"y`}}

	someStreams = []Stream{
		{Labels: []Label{{"device", "d"}, {"level", "error"}}, Entries: []Entry{{Time: at, Line: "a \"quoted\" <line>\n\t中"}, {Time: at.Add(1)}}},
		{Labels: []Label{{"device", "e"}}, Entries: []Entry{{Time: at, Line: "x", Metadata: meta, Parsed: parsed},
			{Time: at, Line: "y", Metadata: meta}, {Time: at, Line: "z", Parsed: parsed}, {Time: at, Line: "w"}}},
	}
)

func answer(kind ResultType, categorized bool, elements ...any) []byte {
	a := Answer{Type: kind, Categorized: categorized}
	b := a.Open([]byte("before"))
	for _, e := range elements {
		switch e := e.(type) {
		case Stream:
			b = a.Stream(b, e)
		case Series:
			if kind == Matrix {
				b = a.Series(b, e)
			} else {
				b = a.Sample(b, e.Labels, e.Samples[0])
			}
		}
	}
	return a.Close(b)[len("before"):]
}

// TestAnswersAsLoki holds our answers against Loki's, as JSON: the order of members is free.
func TestAnswersAsLoki(t *testing.T) {
	recorded := readAnswers(t)
	errorLevel := []Label{{"level", "error"}}
	for name, got := range map[string][]byte{
		"streams":     answer(Streams, false, someStreams[0], someStreams[1]),
		"categorized": answer(Streams, true, someStreams[0], someStreams[1]),
		"empty":       answer(Streams, false),
		"vector": answer(Vector, false, Series{Samples: []Sample{{second, 2}}},
			Series{Labels: errorLevel, Samples: []Sample{{second.Add(time.Second / 2), 0.1}}}),
		"matrix":            answer(Matrix, false, Series{Labels: errorLevel, Samples: []Sample{{second, 3}, {second.Add(30 * time.Second), 1e21}}}),
		"scalar":            answer(Scalar, false, Series{Samples: []Sample{{second, 2}}}),
		"labels":            AppendStrings(nil, []string{"device", "level"}),
		"series":            AppendSets(nil, [][]Label{{{"product", "p"}, {"device", "d"}}}),
		"frame":             AppendFrame(nil, someStreams[:1], []Dropped{{at, []Label{{"device", "d"}}}}, false),
		"frame_categorized": AppendFrame(nil, someStreams[1:], nil, true),
	} {
		var have, want any
		if err := json.Unmarshal(got, &have); err != nil {
			t.Errorf("%s: %v: %s", name, err, got)
			continue
		}
		if err := json.Unmarshal(recorded[name], &want); err != nil {
			t.Fatal(name, err)
		}
		if !reflect.DeepEqual(have, want) {
			t.Errorf("%s: %s\nLoki: %s", name, got, recorded[name])
		}
	}
}

func TestNumbersAsLoki(t *testing.T) {
	recorded := readAnswers(t)
	var values, times map[string]string
	if err := json.Unmarshal(recorded["values"], &values); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(recorded["times"], &times); err != nil {
		t.Fatal(err)
	}
	for s, want := range values {
		v, err := strconv.ParseFloat(s, 64)
		if got := string(appendValue(nil, v)); err != nil || got != want {
			t.Errorf("value %s: %s, Loki: %s", s, got, want)
		}
	}
	for s, want := range times {
		ms, err := strconv.ParseInt(s, 10, 64)
		if got := string(appendSeconds(nil, time.UnixMilli(ms))); err != nil || got != want {
			t.Errorf("time %s: %s, Loki: %s", s, got, want)
		}
	}
}

func readAnswers(t *testing.T) map[string]json.RawMessage {
	text, err := os.ReadFile("testdata/answers.json")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestSmallAnswers(t *testing.T) {
	for want, got := range map[string][]byte{
		`{}`: AppendFrame(nil, nil, nil, false),
		`{"encodingFlags":["categorize-labels"]}`:                                                   AppendFrame(nil, nil, nil, true),
		`{"dropped_entries":[{"timestamp":"1700000000000000000","labels":{}}]}`:                     AppendFrame(nil, nil, []Dropped{{Time: second}}, false),
		`{"status":"success","data":[]}`:                                                            AppendStrings(nil, nil),
		`{"status":"success","data":[{}]}`:                                                          AppendSets(nil, [][]Label{nil}),
		`{"status":"error","errorType":"bad_data","error":"it is \"so\"","message":"it is \"so\""}`: AppendError(nil, "bad_data", `it is "so"`),
		`{"status":"success","data":{"resultType":"matrix","result":[],"stats":{}}}`:                answer(Matrix, false),
	} {
		if string(got) != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
