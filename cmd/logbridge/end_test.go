package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// leastAppend is how long the server waits for its disk at least before it tells an upload to try again.
const leastAppend = 750 * time.Millisecond

// TestCrashSIGTERM asks the server to end under load, with uploads whose bodies are half sent. It answers each of them, ends
// with code 0, and has everything that it acknowledged; meanwhile a second process is refused the folder. The last folder
// is copied, and serves as well elsewhere.
func TestCrashSIGTERM(t *testing.T) {
	const scenario = "SIGTERM under load"
	crashes.begin(t, scenario)
	home, w, random := newPlace(t, crashConfig), newWitness(), newRandom(t)
	n, inFlight := rounds(1, 10), 0
	for round := range n {
		s := home.start(anyone, anyone)
		w.check(t, s)
		l := w.load(s, fmt.Sprint("term", round), leastAnswers+random.IntN(moreAnswers))
		l.wait(t, s)
		home.refused(t)
		inFlight += endWithUploads(t, w, s, round)
		l.all.Wait()
	}
	s := home.start(anyone, anyone)
	sum := w.check(t, s)
	crashes.row(t, scenario, n, sum, fmt.Sprintf("%d half-sent uploads answered, second process refused %d times", inFlight, n))
	s.stop(syscall.SIGTERM)

	crashes.row(t, "data folder copied elsewhere", 1, w.check(t, home.copied(t).start(anyone, anyone)), "stopped by SIGTERM before")
}

// refused starts a second server on the folder.
func (p *place) refused(t testing.TB) {
	t.Helper()
	out, err := p.program("logbridge", append(p.args, "--http", anyone, "--mqtt", anyone)...).CombinedOutput()
	if err == nil || strings.Count(string(out), "\n") > 1 || !strings.Contains(string(out), "another logbridge works on the data folder") {
		t.Errorf("a second process on the folder: %v\n%s", err, out)
	}
}

// endWithUploads sends SIGTERM while uploads are in flight: the server has read their heads and asked for their bodies,
// which come afterwards. It counts the uploads that are answered.
func endWithUploads(t *testing.T, w *witness, s *process, round int) (answered int) {
	t.Helper()
	const uploads = 8
	asked, signalled, answers := make(chan struct{}, uploads), make(chan struct{}), make(chan error, uploads)
	for i := range uploads {
		lines := w.batch(fmt.Sprintf("inflight-%d-%d", round, i), i)
		u, err := newUpload(device("dev_02"), lines[0], prefixed(lines)...)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			err := u.sendAfter(s.url(), asked, signalled)
			if err == nil {
				w.acknowledged(lines...)
			}
			answers <- err
		}()
	}
	for range uploads {
		<-asked
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	close(signalled)
	for range uploads {
		// Who waits as long as the server does for its disk may be told to try again; nobody may be told so sooner.
		if err := <-answers; err != nil && !(tryAgain("http", err) && time.Since(begun) > leastAppend) {
			t.Errorf("an upload in flight at SIGTERM: %v", err)
		} else {
			answered++
		}
	}
	<-s.ended
	if code := s.cmd.ProcessState.ExitCode(); code != exitOK {
		t.Errorf("exit code %d after SIGTERM under load:\n%s", code, s.output())
	}
	return answered
}

// sendAfter sends the head with "Expect: 100-continue", says when the server has asked for the body, and sends that when
// go on is closed.
func (u upload) sendAfter(url string, asked chan<- struct{}, goOn <-chan struct{}) error {
	var said atomic.Bool
	body := readerFunc(func() { // the transport reads the body when the server has asked for it
		if said.CompareAndSwap(false, true) {
			asked <- struct{}{}
		}
		<-goOn
	})
	req, err := http.NewRequest(http.MethodPost, url+"/device/reportlog", io.MultiReader(body, bytes.NewReader(u.body)))
	if err != nil {
		return err
	}
	req.Header = u.header.Clone()
	req.Header.Set("Expect", "100-continue")
	req.ContentLength = int64(len(u.body))
	client := &http.Client{Timeout: patience, Transport: &http.Transport{ExpectContinueTimeout: patience, DisableKeepAlives: true}}
	answer, err := call(client, req)
	if err == nil && strings.Contains(answer, `"Error"`) {
		err = fmt.Errorf("answer %s", answer)
	}
	return err
}

// readerFunc is an empty reader that does something when it is read.
type readerFunc func()

func (f readerFunc) Read([]byte) (int, error) {
	f()
	return 0, io.EOF
}
