package main

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
)

// witness knows every line that was sent and every line that was acknowledged. No two lines are equal.
type witness struct {
	client *http.Client

	mu    sync.Mutex
	sent  map[string]bool
	acked map[string]bool
	// torn are signed uploads whose answer never came, and some whose answer is taken for lost on its way.
	torn []tornUpload
}

type tornUpload struct {
	upload
	lines []string
}

func newWitness() *witness {
	return &witness{client: &http.Client{Timeout: patience}, sent: map[string]bool{}, acked: map[string]bool{}}
}

func (w *witness) note(list *map[string]bool, lines ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range lines {
		(*list)[l] = true
	}
}

func (w *witness) acknowledged(lines ...string) { w.note(&w.acked, lines...) }

// promised is what was acknowledged up to now.
func (w *witness) promised() map[string]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.acked)
}

// batch makes a few lines that no one else sends.
func (w *witness) batch(who string, n int) []string {
	lines := make([]string, 1+n%4)
	for i := range lines {
		lines[i] = fmt.Sprintf("%s-%d-%d", who, n, i)
	}
	w.note(&w.sent, lines...)
	return lines
}

func prefixed(lines []string) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = "INF|2026-11-21 10:55:44|kill.c|" + l
	}
	return out
}

// sender uploads lines over one surface; nil when they were acknowledged.
type sender func(lines []string) error

// surfaces are all ways in, some of them more than once. Devices log in at their first upload.
func (w *witness) surfaces(s *process) map[string]sender {
	url, session := s.url(), &deviceSession{addr: s.addr("mqtt"), id: device("dev_01")}
	report := func(lines []string) error { return w.report(url, lines) }
	return map[string]sender{
		"http-a": report, "http-b": report, "http-c": report,
		"mqtt-a": session.report, "mqtt-b": session.report,
		"sls": func(lines []string) error { return track(w.client, url, lines...) },
		"cls": func(lines []string) error {
			for _, l := range lines {
				if err := trackCLS(w.client, url, l); err != nil {
					return err
				}
				w.acknowledged(l)
			}
			return nil
		},
	}
}

// lostAnswers are those to uploads of so many lines: a quarter of all.
const lostAnswers = 4

// report is a device's signed upload over HTTP. When no answer comes, or one is taken for lost, it is kept,
// to be replayed byte for byte.
func (w *witness) report(url string, lines []string) error {
	u, err := newUpload(device("dev_02"), lines[0], prefixed(lines)...)
	if err != nil {
		return err
	}
	err = u.send(w.client, url)
	if err != nil || len(lines) == lostAnswers {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.torn = append(w.torn, tornUpload{u, lines})
	}
	return err
}

// replay sends torn uploads again, byte for byte, as a device does that got no answer. They count as acknowledged then.
func (w *witness) replay(t testing.TB, s *process) (n int) {
	t.Helper()
	w.mu.Lock()
	torn := w.torn
	w.torn = nil
	w.mu.Unlock()
	for _, u := range torn {
		err := u.send(w.client, s.url())
		for limit := time.Now().Add(patience); err != nil && tryAgain("http", err) && time.Now().Before(limit); {
			err = u.send(w.client, s.url())
		}
		if err != nil {
			t.Errorf("replay of a torn upload: %v", err)
			continue
		}
		w.acknowledged(u.lines...)
	}
	return len(torn)
}

// tryAgain reports whether that is what a sender of this surface is to be told.
func tryAgain(name string, err error) bool {
	want := map[string]string{
		"http": `^answer .*"Code":"(InternalError|RequestLimitExceeded)`,
		"sls":  `^status 503`,
		"cls":  `^status 50[03]`,
		"mqtt": `.`, // no PUBACK; the connection ends, or it does not
	}
	surface, _, _ := strings.Cut(name, "-")
	return regexp.MustCompile(want[surface]).MatchString(err.Error())
}

// deviceSession is a device's MQTT connection, opened at its first report.
type deviceSession struct {
	addr string
	id   logbridge.DeviceID

	once   sync.Once
	client mqtt.Client
	err    error
}

func (d *deviceSession) report(lines []string) error {
	d.once.Do(d.login)
	if d.err != nil {
		return d.err
	}
	return within60(d.client.Publish(tencent.ReportTopic(d.id), 1, false, strings.Join(prefixed(lines), "\n")))
}

func (d *deviceSession) login() {
	user := tencent.UserName(d.id, "crash", farFuture)
	password, err := tencent.Password(e2ePSK, user, tencent.HMACSHA1)
	if err != nil {
		d.err = err
		return
	}
	o := mqtt.NewClientOptions().AddBroker("tcp://" + d.addr).SetAutoReconnect(false)
	o.SetClientID(tencent.ClientID(d.id)).SetUsername(user).SetPassword(password)
	d.client = mqtt.NewClient(o)
	d.err = within60(d.client.Connect())
}

func within60(token mqtt.Token) error {
	if !token.WaitTimeout(patience) {
		return fmt.Errorf("no answer")
	}
	return token.Error()
}

// load is uploads over every surface, as fast as the answers come, until one is refused or the server
// is gone.
type load struct {
	all    sync.WaitGroup
	mu     sync.Mutex
	left   int           // answers yet to come
	enough chan struct{} // closed when as many answers have come as were wanted
	// refusals are what ended each of the uploaders.
	refusals map[string]error
}

// load begins; the lines' names begin with the round's.
func (w *witness) load(s *process, round string, answers int) *load {
	l := &load{refusals: map[string]error{}}
	l.more(answers)
	for name, send := range w.surfaces(s) {
		who := name + "-" + round
		l.all.Go(func() {
			for n := 0; ; n++ {
				lines := w.batch(who, n)
				if err := send(lines); err != nil {
					l.refused(name, err)
					return
				}
				w.acknowledged(lines...)
				l.answered()
			}
		})
	}
	return l
}

// more makes wait return after so many more answers.
func (l *load) more(answers int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left, l.enough = answers, make(chan struct{})
}

func (l *load) answered() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left--; l.left == 0 {
		close(l.enough)
	}
}

func (l *load) refused(name string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refusals[name] = err
}

// wait returns when enough answers have come or the server has ended; true for the former.
func (l *load) wait(t testing.TB, s *process) bool {
	t.Helper()
	l.mu.Lock()
	enough := l.enough
	l.mu.Unlock()
	select {
	case <-enough:
		return true
	case <-s.ended:
		return false
	case <-time.After(patience):
		t.Fatalf("the answers do not come:\n%s", s.output())
		return false
	}
}

// tally is what became of the acknowledged lines.
type tally struct {
	acked, found int
	twice        int // lines that are stored more than once, acknowledged or not
	unknown      int // lines that nobody sent
}

// bad says what is wrong, with some of the lines; "" when nothing is.
func (c tally) bad() string {
	if c.found == c.acked && c.twice == 0 && c.unknown == 0 {
		return ""
	}
	return fmt.Sprintf("%d lines acknowledged, %d found, %d stored twice, %d stored and never sent", c.acked, c.found, c.twice, c.unknown)
}

// add sums up checks of different servers.
func (c *tally) add(more tally) {
	c.acked, c.found, c.twice, c.unknown = c.acked+more.acked, c.found+more.found, c.twice+more.twice, c.unknown+more.unknown
}

// check compares what is stored with everything that was sent and acknowledged.
func (w *witness) check(t testing.TB, s *process) tally {
	t.Helper()
	ledger := s.ledger()
	wantLedgerSum(t, ledger)
	for _, source := range sourcesOfLoad {
		lines := len(bodies(s.records("source=" + source)))
		if n := ledger.Sources[logbridge.Source(source)].Stored; n != uint64(lines) {
			t.Errorf("the ledger says that %d lines of %s are stored, and there are %d", n, source, lines)
		}
	}
	return w.compare(t, s, w.promised())
}

// sourcesOfLoad are the sources of what a load sends; the program itself stores audit records too.
var sourcesOfLoad = []string{"mqtt", "reportlog", "sls", "cls"}

// compare looks for these acknowledged lines, and for what should not be there. It fails the test with some of them.
func (w *witness) compare(t testing.TB, s *process, acked map[string]bool) tally {
	t.Helper()
	stored := map[string]int{}
	for _, source := range sourcesOfLoad {
		for _, line := range bodies(s.records("source=" + source)) {
			stored[line]++
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var c tally
	const shown = 5
	var wrong []string
	for line := range acked {
		c.acked++
		if stored[line] > 0 {
			c.found++
		} else {
			wrong = append(wrong, line+" is lost")
		}
	}
	for line, n := range stored {
		if n > 1 {
			c.twice++
			wrong = append(wrong, fmt.Sprintf("%s is stored %d times", line, n))
		}
		if !w.sent[line] {
			c.unknown++
			wrong = append(wrong, fmt.Sprintf("%q was never sent", line))
		}
	}
	if what := c.bad(); what != "" {
		t.Errorf("%s, such as: %s", what, strings.Join(wrong[:min(shown, len(wrong))], "; "))
	}
	return c
}
