package httpapi

import (
	"maps"
	"slices"

	"github.com/danielgtaylor/huma/v2"
)

// exampleText are values for members and parameters of a name, where nothing nearer says one. They are of one small story: a
// device of a lab, and the pages of a shop.
var exampleText = map[string]any{
	"product": "ABCDE12345", "device": "dev_01", "project": "shop", "logstore": "web", "topic": "topic-1", "id": "c5w2r3ka",
	"name": "grafana", "role": "viewer", "token": "lb_example_0123456789abcdef", "scope": []any{"sls/shop"},
	"level": "debug", "desired": "debug", "base": "error", "for": "30m", "reason": "ticket 4711", "set_by": "alice", "state": "seen", "rule": "c5w2r3ka",
	"time_zone": "Asia/Shanghai", "secret": "PRODUCTSECRET0123456789A", "psk": "bXktMTYtYnl0ZS1rZXkhIQ==",
	"certificate_subject": "dev_01", "tags": map[string]any{"site": "lab"}, "device_glob": "dev-0*", "percent": 10, "sample": []any{"ABCDE12345/dev_01"},
	"hosts": []any{"logs.example.com"}, "origins": []any{"https://shop.example.com"}, "write_tokens": []any{"0123456789abcdef"},
	"stream": "sls/shop/web", "value": "error", "step": "1m0s", "by": "level", "next_cursor": "QUJDREUxMjM0NS9kZXZfMDE",
	"AccessKeyId": "STS.example", "AccessKeySecret": "example-secret", "SecurityToken": "example-token",
	"client_id": "ABCDE12345dev_01", "user_name": "ABCDE12345dev_01;12010126;AbCdE;1795300000", "password": "…;hmacsha256", "mqtt_port": 1883,
	"address": "masked", "opt_out": "address", "redact": []any{"email"}, "patterns": []any{`\b\d{16}\b`},
	"levels": nil, "states": map[string]any{"seen": 1}, "refused": map[string]any{"malformed": 1}, "dropped": map[string]any{"quota": 2},
	"fault": "", "message": "unexpected property", "location": "body.levle",
}

// exampleTime is when the story happens.
const exampleTime = "2026-11-21T10:55:44Z"

// deepest bounds an example; schemas here are not recursive, and this keeps one that might become so from running on.
const deepest = 8

// describeExamples gives every body of a call an example: its own, or one made from its schema.
func describeExamples(doc *huma.OpenAPI, op *huma.Operation) {
	if _, ok := lineExamples[op.OperationID+" 200 "+ndjson]; ok { // an answer of lines, which its type does not say
		delete(op.Responses, "201")
		op.Responses["200"] = &huma.Response{Description: "One JSON object a line", Content: map[string]*huma.MediaType{ndjson: {}}}
	}
	if op.RequestBody != nil {
		for kind, m := range op.RequestBody.Content {
			giveExample(doc, op.OperationID+" request "+kind, m)
		}
	}
	for status, r := range op.Responses {
		for kind, m := range r.Content {
			giveExample(doc, op.OperationID+" "+status+" "+kind, m)
		}
	}
}

// lineExamples are the bodies that have no schema: NDJSON, a line for each record or device.
var lineExamples = map[string]string{
	"query-logs 200 " + ndjson: `{"seq":"12.0","time":"2026-11-21T10:55:44.123Z","observed_time":"2026-11-21T10:55:44.130Z","time_quality":"device","source":"mqtt","stream":"device/ABCDE12345/dev_01","product":"ABCDE12345","device":"dev_01","level":"error","body":"sensor timeout","attributes":{}}` + "\n",
	"import-devices request " + ndjson: `{"product":"ABCDE12345","device":"dev_01","tags":{"site":"lab"}}` + "\n" +
		`{"product":"ABCDE12345","device":"dev_02","psk":"bXktMTYtYnl0ZS1rZXkhIQ=="}` + "\n",
	"import-devices 200 " + ndjson: `{"line":1,"product":"ABCDE12345","device":"dev_01","psk":"bXktMTYtYnl0ZS1rZXkhIQ=="}` + "\n" +
		`{"summary":{"lines":2,"created":1,"changed":1,"unchanged":0,"bad":0,"bytes":140,"complete":true}}` + "\n",
	"export-devices 200 " + ndjson: `{"product":"ABCDE12345","device":"dev_01","tags":{"site":"lab"}}` + "\n",
}

func giveExample(doc *huma.OpenAPI, name string, m *huma.MediaType) {
	if m.Example != nil || len(m.Examples) > 0 {
		return
	}
	if lines, ok := lineExamples[name]; ok {
		m.Example = lines
		if m.Schema == nil {
			m.Schema = &huma.Schema{Type: huma.TypeString, Description: "one JSON object a line"}
		}
		return
	}
	if m.Schema != nil {
		m.Example = exampleOf(doc.Components.Schemas, m.Schema, "", 0)
	}
}

// exampleOf makes a value of a schema: what the schema itself offers, else what its name means, else something of its type.
func exampleOf(reg huma.Registry, s *huma.Schema, name string, depth int) any {
	if s.Ref != "" {
		s = reg.SchemaFromRef(s.Ref)
	}
	if s == nil || depth > deepest {
		return nil
	}
	if len(s.Examples) > 0 {
		return s.Examples[0]
	}
	if v := exampleText[name]; v != nil && fits(s, v) {
		return v
	}
	if len(s.Enum) > 0 {
		return s.Enum[len(s.Enum)-1]
	}
	if s.Default != nil {
		return s.Default
	}
	return exampleOfType(reg, s, name, depth)
}

// fits reports whether the value of a name is of the schema's type: a name may mean several things.
func fits(s *huma.Schema, v any) bool {
	switch v := v.(type) {
	case string:
		return s.Type == huma.TypeString && s.Format == "" && (len(s.Enum) == 0 || slices.Contains(s.Enum, any(v)))
	case []any:
		return s.Type == huma.TypeArray && s.Items != nil && s.Items.Type == huma.TypeString
	case map[string]any:
		return s.Type == huma.TypeObject && len(s.Properties) == 0
	}
	return s.Type == huma.TypeInteger || s.Type == huma.TypeNumber
}

func exampleOfType(reg huma.Registry, s *huma.Schema, name string, depth int) any {
	switch s.Type {
	case huma.TypeObject:
		out := map[string]any{}
		for _, p := range slices.Sorted(maps.Keys(s.Properties)) {
			if p != "$schema" {
				out[p] = exampleOf(reg, s.Properties[p], p, depth+1)
			}
		}
		if values, ok := s.AdditionalProperties.(*huma.Schema); ok {
			out["sls"] = exampleOf(reg, values, "", depth+1)
		}
		return out
	case huma.TypeArray:
		if s.Items == nil {
			return []any{}
		}
		return []any{exampleOf(reg, s.Items, name, depth+1)}
	case huma.TypeBoolean:
		return true
	case huma.TypeInteger, huma.TypeNumber:
		if s.Minimum != nil && *s.Minimum > 1 {
			return *s.Minimum
		}
		return 1
	}
	if s.Format == "date-time" {
		return exampleTime
	}
	return "text"
}
