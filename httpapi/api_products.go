package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/logbridge/logbridge"
)

// productView is a product as the API shows it: without its secret.
type productView struct {
	ID            string    `json:"id"`
	Level         levelText `json:"level" doc:"the product's base level"`
	HasSecret     bool      `json:"has_secret"`
	AllowRegister bool      `json:"allow_register"`
	TimeZone      string    `json:"time_zone" doc:"IANA zone of times in log lines; empty is UTC"`

	Quota logbridge.Quota `json:"quota" doc:"what devices may log; lines beyond are dropped, and the device's stream says how many"`
}

type productPath struct {
	Product string `path:"product" doc:"10 letters and digits"`
}

type putProduct struct {
	Product string `path:"product"`
	Body    struct {
		Level         *levelText `json:"level,omitempty"`
		Secret        *string    `json:"secret,omitempty" doc:"signs dynamic registration; never shown again"`
		AllowRegister *bool      `json:"allow_register,omitempty"`
		TimeZone      *string    `json:"time_zone,omitempty"`

		Quota *logbridge.Quota `json:"quota,omitempty" doc:"replaces the former one as a whole"`
	}
}

func (a *api) products() {
	callFor(a, anywhere, logbridge.RoleViewer, http.MethodGet, "/products", "list-products", "List products", a.listProducts)
	callFor(a, partly, logbridge.RoleViewer, http.MethodGet, "/products/{product}", "get-product", "Show a product", a.getProduct)
	call(a, logbridge.RoleAdmin, http.MethodPut, "/products/{product}", "put-product", "Create or change a product", a.putProduct)
	call(a, logbridge.RoleAdmin, http.MethodDelete, "/products/{product}", "delete-product", "Delete a product", a.deleteProduct)
}

func (a *api) viewProduct(p logbridge.Product) productView {
	return productView{
		ID: p.ID, Level: levelText(a.deps.Levels.Base(p.ID)), HasSecret: p.Secret != "",
		AllowRegister: p.AllowRegister, TimeZone: p.TimeZone, Quota: p.Quota,
	}
}

type productList struct {
	Products []productView `json:"products"`
}

func (a *api) listProducts(ctx context.Context, _ *none) (*answer[productList], error) {
	list := productList{Products: []productView{}}
	for _, p := range within(ctx, a.deps.Products.Products(), func(p logbridge.Product) logbridge.Stream { return productStreams(p.ID) }) {
		list.Products = append(list.Products, a.viewProduct(p))
	}
	return &answer[productList]{list}, nil
}

func (a *api) getProduct(_ context.Context, in *productPath) (*answer[productView], error) {
	p, err := a.deps.Products.Product(in.Product)
	if err != nil {
		return nil, err
	}
	return &answer[productView]{a.viewProduct(p)}, nil
}

func (a *api) putProduct(ctx context.Context, in *putProduct) (*answer[productView], error) {
	defer a.lock(in.Product)()
	p, err := a.deps.Products.Product(in.Product)
	if found(err) != nil {
		return nil, err
	}
	before, secret := shown(p, err, a.viewProduct), p.Secret
	p.ID = in.Product
	set(&p.Secret, in.Body.Secret)
	set(&p.AllowRegister, in.Body.AllowRegister)
	set(&p.TimeZone, in.Body.TimeZone)
	set(&p.Quota, in.Body.Quota)
	if err := a.deps.Products.PutProduct(ctx, p); err != nil {
		return nil, err
	}
	changed(ctx, before, a.viewProduct(p), renewed("secret", secret, p.Secret)...)
	if l := in.Body.Level; l != nil {
		if err := a.deps.Levels.SetBase(ctx, p.ID, logbridge.Level(*l), actor(ctx), ""); err != nil {
			return nil, err
		}
	}
	return &answer[productView]{a.viewProduct(p)}, nil
}

func (a *api) deleteProduct(ctx context.Context, in *productPath) (*none, error) {
	p, err := a.deps.Products.Product(in.Product)
	before := shown(p, err, a.viewProduct)
	if err := a.deps.Products.DeleteProduct(ctx, in.Product); err != nil {
		return nil, err
	}
	changed(ctx, before, nil)
	// A later product of that name shall not begin with this one's level.
	err = a.deps.Levels.ClearBase(ctx, in.Product, actor(ctx), "the product was deleted")
	if errors.Is(err, logbridge.ErrNotFound) {
		err = nil
	}
	return nil, err
}

// clip shortens what a client sent before it is sent back.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
