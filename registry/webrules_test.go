package registry

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/logbridge/logbridge"
)

const writeToken = "test-write-token_0123.~"

func someRules() logbridge.WebRules {
	return logbridge.WebRules{
		WriteTokens: []string{writeToken, "another-write-token"},
		Limits:      logbridge.WebLimits{AddressEvents: 5, StoreBytes: -1, Fields: 20},
		Privacy: logbridge.WebPrivacy{Address: logbridge.AddressHashed, OptOut: logbridge.OptOutEvent,
			Redact: logbridge.Redactions(), Patterns: []string{`\border-\d+\b`}},
	}
}

func TestWebRulesSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir)
	r := open(t, n)
	fill(t, r)
	store := logbridge.Logstore{Project: "myproj", Name: "mystore", WebTracking: true, WebRules: someRules()}
	topic := logbridge.CLSTopic{ID: "topic-1", WebRules: someRules()}
	must(t, r.PutLogstore(t.Context(), store))
	must(t, r.PutCLSTopic(t.Context(), topic))
	end(n)

	r = open(t, start(t, dir))
	if got, err := r.Logstore("myproj", "mystore"); err != nil || !reflect.DeepEqual(got, store) {
		t.Errorf("%+v, %v, want %+v", got, err, store)
	}
	if got, err := r.CLSTopic("topic-1"); err != nil || !reflect.DeepEqual(got, topic) {
		t.Errorf("%+v, %v, want %+v", got, err, topic)
	}
}

// TestWebRulesOfOlderVersions: what versions without rules stored reads as a store without rules, and a store without rules is
// stored as those versions did.
func TestWebRulesOfOlderVersions(t *testing.T) {
	seal, err := newSealer(testKey)
	must(t, err)
	r := &Registry{seal: seal}
	stores, topics := r.logstoreForm().codec(), r.topicForm().codec()
	const oldStore, oldTopic = `{"web_tracking":true,"origins":["*"]}`, `{"anonymous_write":true,"origins":["https://a.example"]}`
	store, err := stores.Decode(storeKey{"p1", "s1"}, []byte(oldStore))
	must(t, err)
	topic, err := topics.Decode("t1", []byte(oldTopic))
	must(t, err)
	if !store.WebTracking || !topic.AnonymousWrite || !reflect.DeepEqual(store.WebRules, logbridge.WebRules{}) || !reflect.DeepEqual(topic.WebRules, logbridge.WebRules{}) {
		t.Errorf("%+v %+v", store, topic)
	}
	b1, _ := stores.Encode(storeKey{"p1", "s1"}, store)
	b2, _ := topics.Encode("t1", topic)
	if string(b1) != oldStore || string(b2) != oldTopic {
		t.Errorf("stored as %s and %s", b1, b2)
	}
}

func TestWebRulesAreChecked(t *testing.T) {
	many := strings.Repeat
	for name, change := range map[string]func(*logbridge.WebRules){
		"a short token":              func(w *logbridge.WebRules) { w.WriteTokens = []string{"0123456789abcde"} },
		"a long token":               func(w *logbridge.WebRules) { w.WriteTokens = []string{many("x", 129)} },
		"a token with a slash":       func(w *logbridge.WebRules) { w.WriteTokens = []string{"0123456789/abcdef"} },
		"five tokens":                func(w *logbridge.WebRules) { w.WriteTokens = strings.Fields(many(writeToken+" ", 5)) },
		"a negative size":            func(w *logbridge.WebRules) { w.Limits.Fields = -1 },
		"a rate below no bound":      func(w *logbridge.WebRules) { w.Limits.AddressEvents = -2 },
		"a body over the hard bound": func(w *logbridge.WebRules) { w.Limits.RequestBytes = logbridge.MaxWebRequest + 1 },
		"an unknown address form":    func(w *logbridge.WebRules) { w.Privacy.Address = "some" },
		"an unknown opt-out":         func(w *logbridge.WebRules) { w.Privacy.OptOut = "drop" },
		"an unknown redaction":       func(w *logbridge.WebRules) { w.Privacy.Redact = []string{"names"} },
		"an empty pattern":           func(w *logbridge.WebRules) { w.Privacy.Patterns = []string{""} },
		"a pattern that is none":     func(w *logbridge.WebRules) { w.Privacy.Patterns = []string{"("} },
		"a long pattern":             func(w *logbridge.WebRules) { w.Privacy.Patterns = []string{many("a", 257)} },
		"too many patterns":          func(w *logbridge.WebRules) { w.Privacy.Patterns = strings.Fields(many("a ", 17)) },
		"a huge pattern":             func(w *logbridge.WebRules) { w.Privacy.Patterns = []string{`((a{100}){100}){100}`} },
		"patterns huge together":     func(w *logbridge.WebRules) { w.Privacy.Patterns = strings.Fields(many("a{999} ", 5)) },
	} {
		w := someRules()
		change(&w)
		if err := logstoreFaults(logbridge.Logstore{Project: "p1", Name: "s1", WebRules: w}).err(""); !errors.Is(err, logbridge.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
		if err := topicFaults(logbridge.CLSTopic{ID: "t1", WebRules: w}).err(""); !errors.Is(err, logbridge.ErrInvalid) {
			t.Errorf("%s of a topic: %v", name, err)
		}
	}
	if err := logstoreFaults(logbridge.Logstore{Project: "p1", Name: "s1", WebRules: someRules()}).err(""); err != nil {
		t.Error(err)
	}
}

func TestProvisionWebRules(t *testing.T) {
	r := open(t, start(t, t.TempDir()))
	const text = `
provision:
  sls:
    - project: myproj
      logstores:
        - name: mystore
          write_tokens: [test-write-token_0123.~]
          limits: {address_events: 5, fields: 20}
          privacy: {address: hashed, opt_out: event, redact: [email], patterns: ['\d{6}']}
  cls:
    - topic: topic-1
      limits: {store_events: 100}
`
	must(t, r.Provision(t.Context(), parse(t, text), nil))
	store, err := r.Logstore("myproj", "mystore")
	must(t, err)
	want := logbridge.WebRules{WriteTokens: []string{writeToken}, Limits: logbridge.WebLimits{AddressEvents: 5, Fields: 20},
		Privacy: logbridge.WebPrivacy{Address: logbridge.AddressHashed, OptOut: logbridge.OptOutEvent, Redact: []string{"email"}, Patterns: []string{`\d{6}`}}}
	if !reflect.DeepEqual(store.WebRules, want) {
		t.Errorf("%+v, want %+v", store.WebRules, want)
	}
	if topic, err := r.CLSTopic("topic-1"); err != nil || topic.Limits.StoreEvents != 100 {
		t.Errorf("%+v, %v", topic, err)
	}
	// What an operator changes stays.
	store.Privacy.Address = logbridge.AddressFull
	must(t, r.PutLogstore(t.Context(), store))
	must(t, r.Provision(t.Context(), parse(t, text), nil))
	if after, _ := r.Logstore("myproj", "mystore"); !reflect.DeepEqual(after, store) {
		t.Errorf("%+v, want %+v", after, store)
	}
	err = r.Provision(t.Context(), parse(t, strings.ReplaceAll(strings.ReplaceAll(text, "hashed", "some"), "fields: 20", "fields: -1")), nil)
	if err == nil || !strings.Contains(err.Error(), "sls[0].logstores[0].limits") || !strings.Contains(err.Error(), "sls[0].logstores[0].privacy.address") {
		t.Errorf("faults: %v", err)
	}
}
