package registry

import (
	"sync"
	"time"
)

// zones keeps the time zones that products name. It holds at most the zones that there are.
type zones struct{ byName sync.Map } // string to *time.Location

// Location is the time zone of the times in a product's log lines: UTC when it names none, or does not exist.
func (r *Registry) Location(product string) *time.Location {
	p, err := r.Product(product)
	if err != nil || p.TimeZone == "" {
		return time.UTC
	}
	if loc, ok := r.zones.byName.Load(p.TimeZone); ok {
		return loc.(*time.Location)
	}
	loc, err := time.LoadLocation(p.TimeZone)
	if err != nil { // it was there when the product was put
		r.log.Warn("time zone is not known on this machine, using UTC", "product", product, "zone", p.TimeZone, "error", err)
		loc = time.UTC
	}
	r.zones.byName.Store(p.TimeZone, loc)
	return loc
}
