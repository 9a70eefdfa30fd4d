package main

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/logbridge/logbridge"
)

type productCmd struct {
	Ls   productLsCmd   `cmd:"" help:"List products."`
	Show productShowCmd `cmd:"" help:"Show a product."`
	Set  productSetCmd  `cmd:"" help:"Create a product, or change what is named of it."`
	Rm   productRmCmd   `cmd:"" help:"Delete a product that has no devices."`
}

// productState is a product as the operator API shows it.
type productState struct {
	ID            string          `json:"id"`
	Level         string          `json:"level"`
	HasSecret     bool            `json:"has_secret"`
	AllowRegister bool            `json:"allow_register"`
	TimeZone      string          `json:"time_zone"`
	Quota         logbridge.Quota `json:"quota"`
}

func (p productState) zone() string {
	if p.TimeZone == "" {
		return "UTC"
	}
	return p.TimeZone
}

// quota writes what is set of it.
func (p productState) quota() string {
	var parts []string
	for _, q := range p.Quota.Fields() {
		switch {
		case q.Rate < 0:
			parts = append(parts, q.Name+" no bound")
		case q.Rate > 0:
			parts = append(parts, q.Name+" "+strconv.FormatInt(q.Rate, 10)+"/s")
		}
	}
	if s := p.Quota.LowerSeconds; s > 0 {
		parts = append(parts, fmt.Sprintf("lowers for %ds", s))
	}
	if len(parts) == 0 {
		return "the server's"
	}
	return strings.Join(parts, ", ")
}

type productLsCmd struct {
	Client
	Output
}

func (c productLsCmd) Run(p program) error {
	type answer struct{ Products []productState }
	return list(p, c.Client, c.Output, "/products", func(a answer) []productState { return a.Products }, []column[productState]{
		{name: "PRODUCT", value: func(p productState) string { return p.ID }},
		{name: "LEVEL", value: func(p productState) string { return p.Level }, colour: func(p productState) string { return levelColours[p.Level] }},
		{name: "TIME ZONE", value: productState.zone},
		{name: "SECRET", value: func(p productState) string { return yes(p.HasSecret) }, wide: true},
		{name: "REGISTER", value: func(p productState) string { return yes(p.AllowRegister) }},
		{name: "QUOTA", value: productState.quota, wide: true},
	})
}

// productArg names a product on the command line.
type productArg struct {
	Product string `arg:"" placeholder:"PRODUCT" help:"10 letters and digits."`
}

func (a productArg) path() string { return escape("products", a.Product) }

type productShowCmd struct {
	Client
	Output
	productArg
}

func (c productShowCmd) Run(p program) error {
	return fetch(p, c.Client, c.Output, c.path(), func(a productState) error {
		return writeFields(p.stdout, c.Output, field{"product", a.ID}, field{"level", a.Level}, field{"time zone", a.zone()},
			field{"secret", yes(a.HasSecret)}, field{"register", yes(a.AllowRegister)}, field{"quota", a.quota()})
	})
}

type productSetCmd struct {
	Client
	productArg
	Level         string  `placeholder:"LEVEL" help:"Base level: off, error, warn, info or debug."`
	SecretFile    []byte  `type:"filecontent" placeholder:"FILE" help:"File with the product's secret, for dynamic registration; - is standard input."`
	AllowRegister *bool   `negatable:"" help:"Let registered devices that never connected fetch their key."`
	TimeZone      *string `placeholder:"ZONE" help:"Of times in log lines, as Asia/Shanghai; empty is UTC."`
	quotaArgs
}

// quotaArgs are the rates of a product's quota. The API takes a quota as a whole, so what is not named is kept here.
type quotaArgs struct {
	DeviceLines  *int64 `name:"quota-device-lines" placeholder:"N" help:"Lines a second of each device; 0 is the server's default, =-1 no bound."`
	DeviceBytes  *int64 `name:"quota-device-bytes" placeholder:"N" help:"Bytes a second of each device, likewise."`
	ProductLines *int64 `name:"quota-product-lines" placeholder:"N" help:"Lines a second of all its devices together, likewise."`
	ProductBytes *int64 `name:"quota-product-bytes" placeholder:"N" help:"Bytes a second of all its devices together, likewise."`
	LowerSeconds *int64 `name:"quota-lower-seconds" placeholder:"N" help:"For so long the level of a device over its quota is lowered to error; 0 is not at all."`
}

func (a quotaArgs) given() bool { return a != quotaArgs{} }

// change puts what is named into a quota.
func (a quotaArgs) change(q *logbridge.Quota) {
	for _, one := range []struct {
		to   *int64
		from *int64
	}{{&q.DeviceLines, a.DeviceLines}, {&q.DeviceBytes, a.DeviceBytes}, {&q.ProductLines, a.ProductLines},
		{&q.ProductBytes, a.ProductBytes}, {&q.LowerSeconds, a.LowerSeconds}} {
		if one.from != nil {
			*one.to = *one.from
		}
	}
}

func (c productSetCmd) Run(p program) error {
	wish := members{}
	if c.Level != "" {
		level, err := logbridge.ParseLevel(c.Level)
		if err != nil {
			return usageError{fmt.Errorf("--level: %w", err)}
		}
		wish["level"] = level
	}
	wish.secret(c.SecretFile)
	member(wish, "allow_register", c.AllowRegister)
	member(wish, "time_zone", c.TimeZone)
	server, err := c.open()
	if err != nil {
		return err
	}
	if c.given() {
		var before productState
		if err := server.call(p.ctx, http.MethodGet, c.path(), nil, &before); err != nil && !notFound(err) {
			return err
		}
		c.change(&before.Quota)
		wish["quota"] = before.Quota
	}
	var after productState
	if err := server.call(p.ctx, http.MethodPut, c.path(), wish, &after); err != nil {
		return err
	}
	return tell(p, "product %s: level %s, time zone %s, quota %s", after.ID, after.Level, after.zone(), after.quota())
}

type productRmCmd struct {
	Client
	productArg
}

func (c productRmCmd) Run(p program) error {
	return remove(p, c.Client, c.path(), "product "+c.Product)
}

// members are those of a PUT's body that the command line names; what it does not name stays as it is.
type members map[string]any

// member adds one that is given.
func member[T any](m members, name string, value *T) {
	if value != nil {
		m[name] = *value
	}
}

// secret adds the secret of a file, without the end of its line.
func (m members) secret(file []byte) {
	if file != nil {
		m["secret"] = string(bytes.TrimSpace(file))
	}
}

// remove deletes something and says so.
func remove(p program, c Client, path, what string) error {
	server, err := c.open()
	if err != nil {
		return err
	}
	if err := server.call(p.ctx, http.MethodDelete, path, nil, nil); err != nil {
		return err
	}
	return tell(p, "%s: deleted", what)
}
