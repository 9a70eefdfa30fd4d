package main

import "time"

type tokenWhoamiCmd struct {
	Client
	Output
}

// tokenHolder is whose a token is, as the operator API shows it.
type tokenHolder struct {
	Name    string     `json:"name"`
	Role    string     `json:"role"`
	Scope   []string   `json:"scope"`
	Expires *time.Time `json:"expires"`
}

func (c tokenWhoamiCmd) Run(p program) error {
	return fetch(p, c.Client, c.Output, "/session", func(a tokenHolder) error {
		ends := "never"
		if a.Expires != nil {
			ends = seen(a.Expires)
		}
		return writeFields(p.stdout, c.Output, field{"name", a.Name}, field{"role", a.Role},
			field{"scope", scopeText(a.Scope)}, field{"ends", ends})
	})
}
