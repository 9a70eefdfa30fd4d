package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/logbridge/logbridge"
)

// webRules are what a logstore or a topic asks of its writers, as the operator API shows them.
type webRules struct {
	WriteTokens int                  `json:"write_token_count"`
	Limits      logbridge.WebLimits  `json:"limits"`
	Privacy     logbridge.WebPrivacy `json:"privacy"`
}

// fields shows what is set.
func (r webRules) fields() []field {
	var limits []string
	for _, l := range r.Limits.List() {
		if l.Value != 0 {
			limits = append(limits, fmt.Sprintf("%s=%d", l.Name, l.Value))
		}
	}
	return []field{
		{"write tokens", fmt.Sprint(r.WriteTokens)}, {"limits", texts(limits)}, {"address", dash(string(r.Privacy.Address))},
		{"opt out", dash(string(r.Privacy.OptOut))}, {"redact", texts(append(slices.Clone(r.Privacy.Redact), r.Privacy.Patterns...))},
	}
}

// webRulesArgs change them. The API replaces limits and privacy as a whole, so what is not named is read first and kept.
type webRulesArgs struct {
	WriteToken []string         `sep:"none" placeholder:"TOKEN" help:"What an anonymous write must bring one of; may be given again, and replaces those that there were. Empty is no such demand."`
	Limit      map[string]int64 `placeholder:"NAME=N" help:"A limit, as address_events=50 or request_bytes=1000000; may be given again. 0 is the server's setting, -1 no bound of a rate."`
	Address    *string          `placeholder:"FORM" help:"What is kept of an address: none, masked, hashed or full; empty is the server's setting."`
	OptOut     *string          `placeholder:"WHAT" help:"What follows from DNT and Sec-GPC: ignore, address or event; empty is the server's setting."`
	Redact     []string         `sep:"none" placeholder:"WHAT" help:"What is replaced before it is stored: email, phone or token; may be given again, and replaces those that there were."`
	Pattern    []string         `sep:"none" placeholder:"REGEXP" help:"An own pattern for that, in RE2 syntax; likewise."`
}

// put is put with what is named of the rules.
func (a webRulesArgs) put(p program, c Client, path string, wish members, after any, say func() error) error {
	server, err := c.open()
	if err != nil {
		return err
	}
	if err := a.add(p, server, path, wish); err != nil {
		return err
	}
	return put(p, c, path, wish, after, say)
}

// add puts what is named into the body of a PUT to path.
func (a webRulesArgs) add(p program, server *api, path string, wish members) error {
	if a.WriteToken != nil {
		wish["write_tokens"] = given(a.WriteToken)
	}
	private := a.Address != nil || a.OptOut != nil || a.Redact != nil || a.Pattern != nil
	if a.Limit == nil && !private {
		return nil
	}
	var before webRules
	if err := server.call(p.ctx, http.MethodGet, path, nil, &before); err != nil && !notFound(err) {
		return err
	}
	if a.Limit != nil {
		limits := map[string]int64{}
		for _, l := range before.Limits.List() {
			limits[l.Name] = l.Value
		}
		for name, n := range a.Limit {
			if _, ok := limits[name]; !ok {
				return usageError{fmt.Errorf("--limit: there is none of name %q: use %s", name, strings.Join(limitNames(), ", "))}
			}
			limits[name] = n
		}
		wish["limits"] = limits
	}
	if private {
		before.Privacy.Address = logbridge.AddressForm(either(a.Address, string(before.Privacy.Address)))
		before.Privacy.OptOut = logbridge.OptOut(either(a.OptOut, string(before.Privacy.OptOut)))
		if a.Redact != nil {
			before.Privacy.Redact = given(a.Redact)
		}
		if a.Pattern != nil {
			before.Privacy.Patterns = given(a.Pattern)
		}
		wish["privacy"] = before.Privacy
	}
	return nil
}

func limitNames() (names []string) {
	for _, l := range (logbridge.WebLimits{}).List() {
		names = append(names, l.Name)
	}
	return names
}

// either is what is given, or else what there was.
func either(given *string, before string) string {
	if given != nil {
		return *given
	}
	return before
}
