package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"hash/maphash"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"
	"github.com/labstack/echo/v4"

	"github.com/logbridge/logbridge"
)

const (
	apiPath = "/api/v1"
	// maxAPIBody: a certificate and some tags fit well.
	maxAPIBody = 256 << 10
	// ndjson is the type of bodies and answers that are one JSON value a line.
	ndjson = "application/x-ndjson"
)

// api registers the calls of the operator API. The rule of all PUTs: what is there keeps the members that the body does
// not name, so a PUT can be repeated, and a secret need not be known to change something else.
type api struct {
	*Server
	huma huma.API
	seed maphash.Seed
	puts [64]sync.Mutex // by hash of the name that is put

	importing chan struct{} // holds one for each import
}

func (s *Server) routeAPI(e *echo.Echo) {
	format := huma.Format{Marshal: marshalJSON, Unmarshal: json.Unmarshal} // also for application/problem+json
	config := huma.DefaultConfig("logbridge", s.version())
	config.Info.Description = "The operator API. Errors are application/problem+json with a stable code."
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "", "", ""
	config.CreateHooks = nil // no $schema members in answers
	config.Transformers = []huma.Transformer{problems}
	config.Formats = map[string]huma.Format{"application/json": format, "json": format}
	config.Servers = []*huma.Server{{URL: apiPath}}
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer": {Type: "http", Scheme: "bearer"}, "session": {Type: "apiKey", In: "cookie", Name: sessionCookie},
	}
	a := &api{Server: s, seed: maphash.MakeSeed(), importing: make(chan struct{}, maxImports), huma: humaecho.NewWithGroup(e, e.Group(apiPath), config)}
	a.session()
	a.products()
	a.devices()
	a.levels()
	a.slsStores()
	a.clsStores()
	a.temporaryKeys()
	a.tokens()
	a.seal()
	a.ledger()
	a.status()
	a.erase()
	a.logs(e)
	a.histogram(e)
	a.describe(e)
}

func (s *Server) version() string {
	if s.cfg.Version == "" {
		return "1"
	}
	return s.cfg.Version
}

func marshalJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	if err := marshalInto(&b, v); err != nil {
		return err
	}
	_, err := w.Write(append(b.Bytes(), '\n'))
	return err
}

// marshalInto writes JSON in which text stays as it is.
func marshalInto(b *bytes.Buffer, v any) error {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	b.Truncate(max(0, b.Len()-1)) // the end of the line
	return err
}

// describe serves the OpenAPI document, to which it adds what the transformer adds to errors. huma would serve it too, but
// makes it at the first request without a lock.
func (a *api) describe(e *echo.Echo) {
	doc := a.huma.OpenAPI()
	if m := doc.Components.Schemas.Map()["ErrorModel"]; m != nil {
		m.Properties["code"] = &huma.Schema{Type: huma.TypeString, Description: "stable name of the kind of error"}
	}
	text, err := json.Marshal(doc)
	e.GET(apiPath+"/openapi.json", func(c echo.Context) error {
		if err != nil {
			return err
		}
		return c.Blob(http.StatusOK, "application/openapi+json", text)
	})
}

// Inputs and answers are flat structs: huma does not look into embedded ones that are not exported.

// answer is what a call answers with status 200.
type answer[T any] struct{ Body T }

// call registers one operation for tokens of role or above, whose path names what it is about: a limited token must have
// all of that in scope.
func call[I, O any](a *api, role logbridge.Role, method, path, id, summary string, do func(context.Context, *I) (*O, error)) {
	callFor(a, asNamed, role, method, path, id, summary, do)
}

// callFor is call for one that keeps to the scope of a limited token in another way. What changes something is recorded.
func callFor[I, O any](a *api, need reach, role logbridge.Role, method, path, id, summary string, do func(context.Context, *I) (*O, error)) {
	op := a.operation(need, role, method, path, id, summary, a.auditRefusal)
	if method != http.MethodGet {
		op.Parameters = reasonParameters()
		do = audited(a, &op, do)
	} else {
		op.Middlewares = huma.Middlewares{a.guard(role, need, a.huma, nil)}
	}
	huma.Register(a.huma, op, handled(a, do))
}

// levelCall is callFor for a change of levels, which are recorded where they are made: here those that are refused for the
// token's role or scope.
func levelCall[I, O any](a *api, need reach, role logbridge.Role, method, path, id, summary string, do func(context.Context, *I) (*O, error)) {
	op := a.operation(need, role, method, path, id, summary, func(ctx huma.Context, by *caller, p *problem) {
		of := logbridge.DeviceID{Product: by.product, Device: by.device}
		_ = a.refuse(ctx.Context(), of, ctx.Operation().OperationID, by.actor(), p) // it is answered already
	})
	huma.Register(a.huma, op, handled(a, do))
}

// operation describes a call; forbidden is told of requests with tokens that are good for something else.
func (a *api) operation(need reach, role logbridge.Role, method, path, id, summary string, forbidden func(huma.Context, *caller, *problem)) huma.Operation {
	op := huma.Operation{
		OperationID:  id,
		Method:       method,
		Path:         path,
		Summary:      summary,
		MaxBodyBytes: maxAPIBody,
		Security:     signedIn(),
		Middlewares:  huma.Middlewares{a.guard(role, need, a.huma, forbidden)},
		Metadata:     map[string]any{"role": role},
	}
	if method == http.MethodPost {
		op.DefaultStatus = http.StatusCreated
	}
	return op
}

// signedIn are the ways to say who is asking.
func signedIn() []map[string][]string {
	return []map[string][]string{{"bearer": {}}, {"session": {}}}
}

// handled makes problems of errors.
func handled[I, O any](a *api, do func(context.Context, *I) (*O, error)) func(context.Context, *I) (*O, error) {
	return func(ctx context.Context, in *I) (*O, error) {
		out, err := do(ctx, in)
		if err != nil {
			return nil, a.problem(err)
		}
		return out, nil
	}
}

// none is the input of a call without parameters and the output of one without an answer (204).
type none struct{}

// levelText is a level in JSON: its name, or 0 to 4.
type levelText logbridge.Level

// UnmarshalJSON reads a name or a number.
func (l *levelText) UnmarshalJSON(b []byte) error { return (*logbridge.Level)(l).UnmarshalJSON(b) }

// MarshalText writes the name.
func (l levelText) MarshalText() ([]byte, error) { return logbridge.Level(l).MarshalText() }

// Schema describes the JSON form to OpenAPI.
func (levelText) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Description: "off, error, warn, info or debug, or 0 to 4",
		OneOf:       []*huma.Schema{{Type: huma.TypeString}, {Type: huma.TypeInteger}},
		Examples:    []any{"debug"},
	}
}

// at is a time for JSON; nil for the zero time, so that omitempty leaves it out.
func at(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// lock keeps two PUTs of one name from reading the same state before they write. It returns the unlock.
func (a *api) lock(name string) func() {
	m := &a.puts[maphash.String(a.seed, name)%uint64(len(a.puts))]
	m.Lock()
	return m.Unlock
}

// set gives *to what a PUT's body names; nil leaves it.
func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}
