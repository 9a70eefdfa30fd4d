package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"
	"github.com/labstack/echo/v4"

	"github.com/logbridge/logbridge"
)

// The bounds of an import.
const (
	// maxImports at a time: one waits for the disk as well as two.
	maxImports = 2
	// importWorkers each wait for the disk with one device: enough that it never waits for them.
	importWorkers = 64
	// importQueue is how many devices wait for each of them.
	importQueue = 4
	// maxImportLine in bytes: the largest certificate, with its line breaks escaped, and the most and largest tags.
	maxImportLine = 64 << 10
	// maxImportBad bounds the bad lines that are told one by one.
	maxImportBad = 10_000
	// maxImportAnswer is how much of the answer waits for a client that reads nothing before it has sent all, in bytes: more
	// than the secrets of 100 000 devices.
	maxImportAnswer = 16 << 20
	// importSilence is the longest time without a word about how far it is.
	importSilence = 500 * time.Millisecond
	// importPatience: a client that sends nothing for so long is gone.
	importPatience = 30 * time.Second
)

// deviceLine is a device in an import or an export.
type deviceLine struct {
	Product string `json:"product"`
	Device  string `json:"device"`
	deviceBody
}

// The lines of the answer to an import.
type (
	// importedDevice tells the secret that was made for a device, what a dry run would do with it, or what is wrong with its line.
	importedDevice struct {
		Line    int    `json:"line"`
		Product string `json:"product,omitempty"`
		Device  string `json:"device,omitempty"`
		PSK     string `json:"psk,omitempty"`
		Would   string `json:"would,omitempty"`
		Error   string `json:"error,omitempty"`
	}
	importCounts struct {
		Lines     int   `json:"lines"`
		Created   int   `json:"created"`
		Changed   int   `json:"changed"`
		Unchanged int   `json:"unchanged"`
		Bad       int   `json:"bad"`
		Bytes     int64 `json:"bytes"`
	}
	importProgress struct {
		Progress importCounts `json:"progress"`
	}
	importSummary struct {
		Error   string `json:"error,omitempty"`
		Summary struct {
			importCounts
			Complete bool `json:"complete"`
			DryRun   bool `json:"dry_run,omitempty"`
		} `json:"summary"`
	}
)

type importInput struct {
	DryRun bool `query:"dry_run" doc:"check every line and say what would become of it, and change nothing"`
}

func (a *api) imports() {
	const path = "/devices/import"
	linesCall(a, logbridge.RoleOperator, http.MethodPost, path, "import-devices", "Register or change many devices", a.importDevices)
	op := a.huma.OpenAPI().Paths[path].Post
	op.Description = "One device a line, as a PUT of it with its product and device. The answer comes while the body is read: a line " +
		`{"line","product","device","psk"} for each device whose secret was made, {"line","product","device","error"} for each line that is bad (the first 10000), ` +
		`{"progress":{"lines","created","changed","unchanged","bad","bytes"}} twice a second, and at the end {"summary":{…,"complete":true}}; if it could not go on, with an "error" and ` +
		"complete false. A dry run tells no secrets but {\"line\",\"product\",\"device\",\"would\":\"create\" or \"change\"} for each device that is new or changes, and \"dry_run\":true in the summary. To repeat it is harmless: devices that are as their line says are not written. Of two lines about one device the last holds. Every device that is counted is durable."
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{ndjson: {}}}
}

// linesCall registers a call that looks itself what is in scope, answers with lines, and records what it changes when it is done.
func linesCall[I any](a *api, role logbridge.Role, method, path, id, summary string, do func(context.Context, *I) (*huma.StreamResponse, error)) {
	op := a.operation(anywhere, role, method, path, id, summary, a.auditRefusal)
	op.DefaultStatus = http.StatusOK
	op.Responses = map[string]*huma.Response{"200": {Description: "lines", Content: map[string]*huma.MediaType{ndjson: {}}}}
	huma.Register(a.huma, op, handled(a, do))
}

func (a *api) importDevices(ctx context.Context, in *importInput) (*huma.StreamResponse, error) {
	return &huma.StreamResponse{Body: func(h huma.Context) {
		c := humaecho.Unwrap(h)
		select {
		case a.importing <- struct{}{}:
			defer func() { <-a.importing }()
			i := &deviceImport{api: a, out: newFeed(maxImportAnswer)}
			if in.DryRun {
				i.planned = map[logbridge.DeviceID]devicePrint{}
			}
			a.runImport(ctx, c, i)
			a.recordImport(ctx, h.Operation(), i)
		default:
			writeProblem(c, newProblem(http.StatusServiceUnavailable, fmt.Sprintf("%d imports are running already: try again later", maxImports)))
		}
	}}, nil
}

// runImport reads and answers at the same time: an import takes longer than a client or a proxy may wait in silence.
func (a *api) runImport(ctx context.Context, c echo.Context, i *deviceImport) {
	ctx, cancel := a.whileGood(ctx, callerOf(ctx))
	defer cancel()
	control := http.NewResponseController(c.Response())
	_ = control.EnableFullDuplex() // fails where there is nothing to enable
	i.stop = cancel
	i.body = patientReader{c.Request().Body, control, a.draining, &i.bytes}
	defer context.AfterFunc(a.draining, func() {
		cancel()
		_ = control.SetReadDeadline(time.Now())
	})()
	var working sync.WaitGroup
	working.Go(func() { i.run(ctx) })
	a.pump(ctx, c, i.out)
	cancel()
	i.out.stop()
	if !i.ended.Load() { // the client is gone, and a read may wait for more of it
		_ = control.SetReadDeadline(time.Now())
	}
	working.Wait()
}

// recordImport tells the audit stream of an import that changed something.
func (a *api) recordImport(ctx context.Context, op *huma.Operation, i *deviceImport) {
	c, outcome, why := deed{stored: true, after: i.counts}, outcomeDone, ""
	if i.failed != nil {
		outcome, why = outcomeFailed, a.problem(i.failed).Detail
	}
	if i.planned == nil && i.counts.Created+i.counts.Changed > 0 {
		a.record(context.WithoutCancel(ctx), op, &c, outcome, why)
	}
}

// patientReader reads a body whose sender may take his time, and counts its bytes.
type patientReader struct {
	body     io.Reader
	control  *http.ResponseController
	draining context.Context
	bytes    *atomic.Int64
}

func (r patientReader) Read(b []byte) (int, error) {
	if err := r.draining.Err(); err != nil {
		return 0, err
	}
	_ = r.control.SetReadDeadline(time.Now().Add(importPatience)) // cannot fail on net/http's own connections
	n, err := r.body.Read(b)
	r.bytes.Add(int64(n))
	return n, err
}

// deviceImport is one import at work.
type deviceImport struct {
	api   *api
	body  io.Reader
	bytes atomic.Int64
	out   *feed
	stop  func() // ends it early
	ended atomic.Bool

	mu     sync.Mutex // guards all below
	counts importCounts
	failed error // why it could not go on
	// planned, of a dry run alone, are the devices that it would have changed so far, as they would be.
	planned map[logbridge.DeviceID]devicePrint
}

// importJob is a line for a worker.
type importJob struct {
	number int
	line   deviceLine
}

// run reads the lines and hands them to workers, each device always to the same one, so that its lines keep their order.
func (i *deviceImport) run(ctx context.Context) {
	defer i.ended.Store(true)
	end := errEnd
	defer func() {
		if p := recover(); p != nil { // not in the goroutine of the handler, so recovered does not see it
			i.api.log.Error("import panicked", "panic", p, "stack", string(debug.Stack()))
			end = errPanic
		}
		i.out.end(end)
	}()
	var queues [importWorkers]chan importJob
	var workers sync.WaitGroup
	for n := range queues {
		queues[n] = make(chan importJob, importQueue)
		workers.Go(func() {
			for job := range queues[n] {
				i.apply(ctx, job)
			}
		})
	}
	ticking, quiet := context.WithCancel(ctx)
	workers.Go(func() { i.tell(ticking) })
	if err := i.read(ctx, &queues); err != nil {
		i.fail(err)
	}
	for _, q := range queues {
		close(q)
	}
	quiet()
	workers.Wait()
	i.summarize()
	if i.failed != nil { // so that the client reads the answer before it sees that nobody listens
		i.api.discard(i.body)
	}
}

// tell says how far it is, until it is done.
func (i *deviceImport) tell(ctx context.Context) {
	tick := time.NewTicker(importSilence)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			i.out.write(importProgress{i.counted()})
		}
	}
}

func (i *deviceImport) counted() importCounts {
	i.mu.Lock()
	defer i.mu.Unlock()
	counts := i.counts
	counts.Bytes = i.bytes.Load()
	return counts
}

func (i *deviceImport) summarize() {
	var s importSummary
	s.Summary.importCounts, s.Summary.Complete = i.counted(), i.failed == nil
	s.Summary.DryRun = i.planned != nil
	if i.failed != nil {
		s.Error = i.api.problem(i.failed).Detail
	}
	i.out.write(s)
}

// read goes through the lines. An error is why the rest was not read.
func (i *deviceImport) read(ctx context.Context, queues *[importWorkers]chan importJob) error {
	lines := bufio.NewReaderSize(i.body, maxImportLine)
	for number := 1; ; number++ {
		text, err := readLine(lines)
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, logbridge.ErrTooLarge):
			i.bad(importJob{number: number}, err)
			continue
		case err != nil:
			return fmt.Errorf("%w: the body ended early, in line %d", logbridge.ErrInvalid, number)
		case len(text) == 0:
			continue
		}
		job := importJob{number: number}
		if err := job.parse(text); err != nil {
			i.bad(job, err)
			continue
		}
		select {
		case queues[maphash.String(i.api.seed, job.line.Product+"/"+job.line.Device)%importWorkers] <- job:
		case <-ctx.Done():
			return interrupted(ctx)
		}
	}
}

// interrupted is why an import that could go on does not.
func interrupted(ctx context.Context) error {
	if cause := context.Cause(ctx); errors.Is(cause, errTokenEnded) {
		return cause
	}
	return fmt.Errorf("%w: interrupted", logbridge.ErrUnavailable)
}

// readLine gives the next line without spaces around it, good until the next call; io.EOF after the last.
func readLine(r *bufio.Reader) ([]byte, error) {
	text, err := r.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		for err == bufio.ErrBufferFull {
			_, err = r.ReadSlice('\n')
		}
		if err == nil || err == io.EOF {
			err = fmt.Errorf("%w: a line of more than %d bytes", logbridge.ErrTooLarge, maxImportLine)
		}
		return nil, err
	}
	text = bytes.TrimSpace(text)
	if err == io.EOF && len(text) > 0 {
		err = nil
	}
	return text, err
}

// parse reads a line. Members that are not known are faults, so that a misspelled one is not passed over.
func (j *importJob) parse(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&j.line); err != nil {
		return fmt.Errorf("%w: it is not a device as JSON: %w", logbridge.ErrInvalid, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("%w: there is more behind the device", logbridge.ErrInvalid)
	}
	return nil
}

// apply registers a device. What is no fault of its line ends the import: the next lines would fare no better. A write that was
// begun is finished, whatever happens, so that a secret which was made is told.
func (i *deviceImport) apply(ctx context.Context, job importJob) {
	if ctx.Err() != nil {
		i.fail(interrupted(ctx))
		return
	}
	id := logbridge.DeviceID{Product: job.line.Product, Device: job.line.Device}
	if !sees(ctx, id.Stream()) {
		i.bad(job, errOutside)
		return
	}
	var d appliedDevice
	var err error
	if i.planned != nil {
		d, err = i.plan(id, job.line.deviceBody)
	} else {
		d, err = i.api.applyDevice(context.WithoutCancel(ctx), id, job.line.deviceBody)
	}
	switch {
	case errors.Is(err, logbridge.ErrInvalid), errors.Is(err, logbridge.ErrNotFound), errors.Is(err, logbridge.ErrTooLarge):
		i.bad(job, err)
		return
	case err != nil:
		i.fail(fmt.Errorf("line %d: %w", job.number, err))
		return
	}
	i.mu.Lock()
	i.counts.Lines++
	switch {
	case d.created:
		i.counts.Created++
	case d.changed:
		i.counts.Changed++
	default:
		i.counts.Unchanged++
	}
	i.mu.Unlock()
	if line := i.told(job, d); line != nil {
		i.out.write(line)
	}
}

// bad counts a line that is not as it must be, and tells why.
func (i *deviceImport) bad(job importJob, err error) {
	i.mu.Lock()
	i.counts.Lines++
	i.counts.Bad++
	tell := i.counts.Bad <= maxImportBad
	i.mu.Unlock()
	if tell {
		i.out.write(importedDevice{Line: job.number, Product: clip(job.line.Product), Device: clip(job.line.Device), Error: i.api.problem(err).Detail})
	}
}

func (i *deviceImport) fail(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.failed == nil {
		i.failed = err
	}
	i.stop()
}
