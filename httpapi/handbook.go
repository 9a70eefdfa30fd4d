package httpapi

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/labstack/echo/v4"
)

// The page about the API is the OpenAPI document for people: one page without a script, made once, that asks nobody else for
// anything.

//go:embed handbook.html
var handbookText string

//go:embed handbook.css
var handbookStyle string

// handbookPage is what the template shows.
type handbookPage struct {
	Version  string
	Style    template.CSS
	About    []string
	Parts    []handbookPart
	Problems []problemKind
}

type handbookPart struct {
	Name, About string
	Calls       []handbookCall
}

type handbookCall struct {
	ID, Method, Path, Summary string
	About                     []string
	Params                    []handbookRow
	Bodies                    []handbookBody // what is sent, and what is answered
	Errors                    []string
	Try                       string
}

type handbookBody struct {
	Name, Type, About string
	Rows              []handbookRow
	Example           string
}

// handbookRow is a parameter, or a member of a body under its path of names.
type handbookRow struct {
	Name, Where, Type, About string
	Required                 bool
}

// handbook serves the page.
func (a *api) handbook(e *echo.Echo, doc *huma.OpenAPI) error {
	t, err := template.New("handbook").Funcs(template.FuncMap{"anchor": anchor, "lower": strings.ToLower}).Parse(handbookText)
	if err != nil {
		return fmt.Errorf("handbook: %w", err)
	}
	page := handbookPage{Version: a.version(), Style: template.CSS(handbookStyle), About: paragraphs(doc.Info.Description), Problems: problemKinds()}
	for _, tag := range doc.Tags {
		part := handbookPart{Name: tag.Name, About: tag.Description}
		for op := range operations(doc) {
			if slices.Contains(op.Tags, tag.Name) {
				part.Calls = append(part.Calls, callOf(doc, op))
			}
		}
		if len(part.Calls) > 0 {
			page.Parts = append(page.Parts, part)
		}
	}
	var b bytes.Buffer
	if err := t.Execute(&b, page); err != nil {
		return fmt.Errorf("handbook: %w", err)
	}
	sum := sha256.Sum256([]byte(handbookStyle))
	policy := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	show := func(c echo.Context) error {
		secureHeaders(c.Response().Header(), policy)
		c.Response().Header().Set("Cache-Control", "no-cache")
		return c.HTMLBlob(http.StatusOK, b.Bytes())
	}
	for _, path := range []string{apiPath, apiPath + "/", apiPath + "/docs"} {
		e.GET(path, show, gzipped())
	}
	return nil
}

// paragraphs takes a text apart at its empty lines.
func paragraphs(text string) []string {
	var all []string
	for p := range strings.SplitSeq(text, "\n\n") {
		if p = strings.Join(strings.Fields(p), " "); p != "" {
			all = append(all, p)
		}
	}
	return all
}

func anchor(s string) string { return strings.ReplaceAll(strings.ToLower(s), " ", "-") }

func callOf(doc *huma.OpenAPI, op *huma.Operation) handbookCall {
	c := handbookCall{ID: op.OperationID, Method: op.Method, Path: op.Path, Summary: op.Summary, About: paragraphs(op.Description), Try: curlOf(op)}
	for _, p := range op.Parameters {
		c.Params = append(c.Params, handbookRow{Name: p.Name, Where: p.In, Type: schemaType(doc, p.Schema), About: p.Description, Required: p.Required})
	}
	if op.RequestBody != nil {
		for _, kind := range slices.Sorted(maps.Keys(op.RequestBody.Content)) {
			c.Bodies = append(c.Bodies, bodyOf(doc, "Body", "", kind, op.RequestBody.Content[kind]))
		}
	}
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		r := op.Responses[status]
		switch {
		case r.Ref != "" && status != "default":
			n, _ := strconv.Atoi(status) // it was made of a number
			c.Errors = append(c.Errors, status+" "+problemCodes[n])
		case r.Ref == "" && len(r.Content) == 0:
			c.Bodies = append(c.Bodies, handbookBody{Name: "Answer " + status, About: r.Description})
		case r.Ref == "":
			for _, kind := range slices.Sorted(maps.Keys(r.Content)) {
				c.Bodies = append(c.Bodies, bodyOf(doc, "Answer "+status, r.Description, kind, r.Content[kind]))
			}
		}
	}
	return c
}

func bodyOf(doc *huma.OpenAPI, name, about, kind string, m *huma.MediaType) handbookBody {
	b := handbookBody{Name: name, Type: kind, About: about}
	if m.Schema != nil {
		b.Rows = membersOf(doc, m.Schema, "", 0)
	}
	switch v := m.Example.(type) {
	case nil:
	case string:
		b.Example = v
	default:
		text, err := json.MarshalIndent(v, "", "  ")
		if err == nil { // examples are made of plain values
			b.Example = string(text)
		}
	}
	return b
}

// membersOf lists the members of a schema, those of members of objects too, to a depth that can still be read.
func membersOf(doc *huma.OpenAPI, s *huma.Schema, path string, depth int) (rows []handbookRow) {
	const deepestShown = 3
	s = resolve(doc, s)
	if s == nil || depth > deepestShown {
		return nil
	}
	if s.Type == huma.TypeArray && s.Items != nil {
		return membersOf(doc, s.Items, path, depth)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		about := p.Description
		if of := resolve(doc, p); of != nil {
			about = cmp.Or(about, of.Description, paramMeanings[name])
		}
		rows = append(rows, handbookRow{Name: path + name, Type: schemaType(doc, p), About: about, Required: slices.Contains(s.Required, name)})
		rows = append(rows, membersOf(doc, p, path+name+".", depth+1)...)
	}
	return rows
}

func resolve(doc *huma.OpenAPI, s *huma.Schema) *huma.Schema {
	if s != nil && s.Ref != "" {
		return doc.Components.Schemas.SchemaFromRef(s.Ref)
	}
	return s
}

// schemaType names a type, and what bounds it.
func schemaType(doc *huma.OpenAPI, s *huma.Schema) string {
	if s = resolve(doc, s); s == nil {
		return ""
	}
	switch {
	case len(s.Enum) > 0:
		var values []string
		for _, v := range s.Enum {
			values = append(values, fmt.Sprint(v))
		}
		return strings.Trim(strings.Join(values, " | "), " |")
	case len(s.OneOf) > 0:
		var types []string
		for _, one := range s.OneOf {
			types = append(types, schemaType(doc, one))
		}
		return strings.Join(types, " or ")
	case s.Type == huma.TypeArray && s.Items != nil:
		return schemaType(doc, s.Items) + "[]"
	case s.Format == "date-time":
		return "time"
	}
	text := s.Type
	if s.Minimum != nil && s.Maximum != nil {
		text += fmt.Sprintf(" %v–%v", *s.Minimum, *s.Maximum)
	}
	if s.Default != nil {
		text += fmt.Sprintf(", %v if it is left out", s.Default)
	}
	return text
}

// curlOf is a command line that makes a call.
func curlOf(op *huma.Operation) string {
	var b strings.Builder
	b.WriteString("curl")
	if op.Method != http.MethodGet {
		b.WriteString(" -X " + op.Method)
	}
	if len(op.Security) > 0 {
		b.WriteString(` -H "Authorization: Bearer $LOGBRIDGE_TOKEN"`)
	}
	path := op.Path
	for _, p := range op.Parameters {
		if p.In == "path" {
			path = strings.ReplaceAll(path, "{"+p.Name+"}", fmt.Sprint(p.Example))
		}
	}
	fmt.Fprintf(&b, ` "$LOGBRIDGE_URL%s%s"`, apiPath, path)
	if op.RequestBody == nil {
		return b.String()
	}
	if m := op.RequestBody.Content["application/json"]; m != nil {
		if text, err := json.Marshal(m.Example); err == nil {
			fmt.Fprintf(&b, " \\\n  -H 'Content-Type: application/json' -d '%s'", strings.ReplaceAll(string(text), "'", `'\''`))
		}
		return b.String()
	}
	return b.String() + " \\\n  --data-binary @devices.ndjson"
}
