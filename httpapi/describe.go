package httpapi

import (
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/labstack/echo/v4"

	"github.com/logbridge/logbridge"
)

// The OpenAPI document is made from the Go types of the calls, and completed here by what holds for many of them: which part
// of the API a call belongs to, what a parameter of a name means, which errors there are, and examples.

const problemType = "application/problem+json"

const aboutAPI = `The operator API: everything that the console and the command line do.

A call carries a token, as "Authorization: Bearer TOKEN"; the console's session is a cookie, good for pages of this server only. The role
that a call needs is said with it: viewer, operator, admin. A token that is limited to a part of the streams sees and changes that part; what
lies outside is not found.

A PUT creates or changes: members that the body does not name stay as they are, so it can be repeated without harm. Long lists come in
pages: next_cursor is the cursor of the next one, absent on the last. Errors are problem+json (RFC 9457) with a stable code.`

// apiPart is a part of the API, by the first element of its paths.
type apiPart struct{ path, name, about string }

var apiParts = []apiPart{
	{"logs", "Logs", "Read what was logged, count it, follow it."},
	{"status", "Status", "How the server is."},
	{"devices", "Devices", "The devices of all products: lists, import and export."},
	{"products", "Products", "Products, and the devices of each."},
	{"level", "Levels", "The levels of devices, of products and of all, and rules for many devices."},
	{"levels", "Levels", "The levels of devices, of products and of all, and rules for many devices."},
	{"sls", "SLS", "Alibaba SLS: projects, logstores, access keys."},
	{"cls", "CLS", "Tencent CLS: topics, access keys."},
	{"sts", "SLS", ""},
	{"ledger", "Ledger", "What became of every line."},
	{"tokens", "Access", "Tokens, and the session of the console."},
	{"session", "Access", "Tokens, and the session of the console."},
	{"seal-key", "Seal key", "The key that seals secrets at rest."},
}

func partOf(path string) string {
	if strings.HasSuffix(path, "/level") {
		return "Levels"
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	for _, p := range apiParts {
		if p.path == first {
			return p.name
		}
	}
	return "More"
}

// problemKind is a row of the table of errors.
type problemKind struct {
	Code   string
	Status []int
	Means  string
}

// problemKinds is what each code means to a caller.
func problemKinds() []problemKind {
	means := map[string]string{
		"invalid":                "The request can never succeed as it is; detail says what to change, errors where.",
		"unauthorized":           "There is no token, or it is not good: unknown, over, revoked.",
		"forbidden":              "The token is good, but its role or its scope does not allow this.",
		"not_found":              "There is no such thing, or it lies outside of the token's scope.",
		"method_not_allowed":     "The path has no such method.",
		"not_acceptable":         "The answer cannot be had in a form that the client accepts.",
		"too_slow":               "The body did not come in time.",
		"conflict":               "It cannot be done in the present state; detail says what stands against it.",
		"too_large":              "Over a bound: a body (413), or what a query reads or answers (422); ask for less.",
		"unsupported_media_type": "The body is of a form that is not taken.",
		"too_many":               "Too many wrong attempts from this address; wait a minute.",
		"unavailable":            "A temporary condition; the same request may succeed later.",
		"internal":               "A fault of the server; its log says more.",
	}
	statuses := map[string][]int{"internal": {http.StatusInternalServerError}, "too_large": {http.StatusUnprocessableEntity}}
	for status, code := range problemCodes {
		statuses[code] = append(statuses[code], status)
	}
	var kinds []problemKind
	for code, all := range statuses {
		slices.Sort(all)
		kinds = append(kinds, problemKind{code, all, means[code]})
	}
	slices.SortFunc(kinds, func(a, b problemKind) int {
		return cmp.Compare(a.Status[0]*1000+len(a.Code), b.Status[0]*1000+len(b.Code))
	})
	return kinds
}

// paramMeanings are what parameters and members of a name mean in every call that says nothing else.
var paramMeanings = map[string]string{
	"product":  "id of a product: 10 letters and digits",
	"device":   "name of a device: 1 to 48 letters, digits and : _ -",
	"project":  "name of an SLS project",
	"logstore": "name of a logstore",
	"topic":    "id of a CLS topic",
	"id":       "id of the thing, as its list shows it",
	"reason":   "why; it goes into the audit stream",
	"limit":    "the most there may be in one answer",
}

// operations goes through the calls of the document in the order of their paths.
func operations(doc *huma.OpenAPI) iter.Seq[*huma.Operation] {
	return func(yield func(*huma.Operation) bool) {
		for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
			item := doc.Paths[path]
			for _, m := range []struct {
				method string
				op     *huma.Operation
			}{{"GET", item.Get}, {"PUT", item.Put}, {"POST", item.Post}, {"PATCH", item.Patch}, {"DELETE", item.Delete}} {
				if m.op == nil {
					continue
				}
				m.op.Method, m.op.Path = m.method, path
				if !yield(m.op) {
					return
				}
			}
		}
	}
}

// complete adds to the document what the types of the calls do not say.
func complete(doc *huma.OpenAPI) {
	doc.Info.Description = aboutAPI
	for _, p := range apiParts {
		if p.about != "" && !slices.ContainsFunc(doc.Tags, func(t *huma.Tag) bool { return t.Name == p.name }) {
			doc.Tags = append(doc.Tags, &huma.Tag{Name: p.name, Description: p.about})
		}
	}
	// Huma's schema of an error is of its own type; the transformer adds the code to what is answered.
	if m := doc.Components.Schemas.Map()["ErrorModel"]; m != nil {
		var codes []any
		for _, k := range problemKinds() {
			codes = append(codes, k.Code)
		}
		m.Properties["code"] = &huma.Schema{Type: huma.TypeString, Description: "stable name of the kind of error", Enum: codes}
	}
	doc.Components.Responses = problemResponses()
	for op := range operations(doc) {
		op.Tags = []string{partOf(op.Path)}
		op.Description = strings.TrimSpace(op.Description + "\n\n" + needs(op))
		for _, p := range op.Parameters {
			describeParam(p)
		}
		describeErrors(op)
		describeExamples(doc, op)
	}
}

// needs says which token a call needs.
func needs(op *huma.Operation) string {
	if len(op.Security) == 0 {
		return "Needs no token."
	}
	role, ok := op.Metadata["role"].(logbridge.Role)
	if !ok {
		role = logbridge.RoleViewer
	}
	if role == logbridge.RoleAdmin {
		return "Needs a token of role admin."
	}
	return "Needs a token of role " + string(role) + " or above."
}

func describeParam(p *huma.Param) {
	p.Description = cmp.Or(p.Description, paramMeanings[p.Name])
	if p.Example == nil && p.Schema != nil && p.In == "path" {
		p.Example = exampleText[p.Name]
	}
}

// errorsOf are the statuses of errors that a call has beside those that any may have.
func errorsOf(op *huma.Operation) []int {
	var statuses []int
	if len(op.Security) > 0 {
		statuses = append(statuses, http.StatusUnauthorized, http.StatusForbidden)
	}
	if strings.Contains(op.Path, "{") {
		statuses = append(statuses, http.StatusNotFound)
	}
	if op.RequestBody != nil {
		statuses = append(statuses, http.StatusRequestEntityTooLarge)
	}
	if op.RequestBody != nil || len(op.Parameters) > 0 {
		statuses = append(statuses, http.StatusBadRequest, http.StatusUnprocessableEntity)
	}
	return statuses
}

func describeErrors(op *huma.Operation) {
	for _, status := range errorsOf(op) {
		op.Responses[strconv.Itoa(status)] = &huma.Response{Ref: "#/components/responses/" + responseName(status)}
	}
	op.Responses["default"] = &huma.Response{Ref: "#/components/responses/Problem"}
}

func responseName(status int) string {
	return strings.ReplaceAll(http.StatusText(status), " ", "")
}

// problemResponses are the errors that calls refer to, each with an example.
func problemResponses() map[string]*huma.Response {
	details := map[int]string{
		http.StatusBadRequest:            `for "forever" is neither a duration of at least 1s nor permanent`,
		http.StatusUnauthorized:          "the bearer token is not valid",
		http.StatusForbidden:             "this call needs a token of role operator or above, not viewer",
		http.StatusNotFound:              `product "NOSUCH1234": not found`,
		http.StatusRequestEntityTooLarge: "request body is too large",
		http.StatusUnprocessableEntity:   "body.levle unexpected property",
	}
	schema := &huma.Schema{Ref: "#/components/schemas/ErrorModel"}
	responses := map[string]*huma.Response{
		"Problem": {Description: "Any other error; the code says its kind.", Content: map[string]*huma.MediaType{
			problemType: {Schema: schema, Example: newProblem(http.StatusServiceUnavailable, "the disk is full")}}},
	}
	for status, detail := range details {
		p := newProblem(status, detail)
		responses[responseName(status)] = &huma.Response{Description: http.StatusText(status) + ": code " + p.Code, Content: map[string]*huma.MediaType{
			problemType: {Schema: schema, Example: p}}}
	}
	return responses
}

// describe serves the OpenAPI document, and the page that shows it to people. huma would serve it too, but makes it at the
// first request without a lock.
func (a *api) describe(e *echo.Echo) error {
	doc := a.huma.OpenAPI()
	complete(doc)
	text, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("OpenAPI document: %w", err)
	}
	e.GET(apiPath+"/openapi.json", func(c echo.Context) error {
		return c.Blob(http.StatusOK, "application/openapi+json", text)
	})
	return a.handbook(e, doc)
}
