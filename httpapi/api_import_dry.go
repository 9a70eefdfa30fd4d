package httpapi

import (
	"fmt"
	"hash/maphash"
	"net/http"

	"github.com/logbridge/logbridge"
)

// maxPlanned bounds the devices that a dry run would change, and so its memory to some 80 MB: it remembers each, since a later
// line may be about it as well.
const maxPlanned = 1 << 19

// What a dry run says of a line.
const (
	wouldCreate = "create"
	wouldChange = "change"
)

// devicePrint is a device as far as a dry run must know it to see whether a line changes it: a hash of each member, 0 of one that is
// empty. The members themselves, certificates above all, would be too much to keep of a whole fleet.
type devicePrint struct{ psk, certificate, subject, tags uint64 }

// madePrint stands for the secret that would be made.
const madePrint = 1

func (i *deviceImport) print(d logbridge.Device) devicePrint {
	text := func(s string) uint64 {
		if s == "" {
			return 0
		}
		return maphash.String(i.api.seed, s)
	}
	p := devicePrint{psk: text(d.PSK), certificate: text(d.Certificate), subject: text(d.CertificateSubject)}
	for k, v := range d.Tags { // a sum, as they have no order
		p.tags += maphash.Comparable(i.api.seed, [2]string{k, v})
	}
	return p
}

// with is a device as a line makes it, and whether a secret would be made for it.
func (p devicePrint) with(body deviceBody, line devicePrint) (after devicePrint, made bool) {
	if body.PSK != nil {
		p.psk = line.psk
	}
	if body.Certificate != nil {
		p.certificate = line.certificate
	}
	if body.Subject != nil {
		p.subject = line.subject
	}
	if body.Tags != nil {
		p.tags = line.tags
	}
	if p.psk == 0 && p.certificate == 0 && p.subject == 0 {
		p.psk, made = madePrint, true
	}
	return p, made
}

// plan says what applyDevice would do with a line behind those that were planned before, and writes nothing.
func (i *deviceImport) plan(id logbridge.DeviceID, body deviceBody) (appliedDevice, error) {
	d := logbridge.Device{ID: id}
	set(&d.PSK, body.PSK)
	set(&d.Certificate, body.Certificate)
	set(&d.CertificateSubject, body.Subject)
	set(&d.Tags, body.Tags)
	line := i.print(d)
	if d.PSK == "" {
		d.PSK = i.api.decoy // it has another login, or one would be made
	}
	if err := i.api.deps.CheckDevice(d); err != nil {
		return appliedDevice{}, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	before, planned := i.planned[id]
	out := appliedDevice{Device: d}
	if !planned {
		there, err := i.api.deps.Devices.Device(id)
		if found(err) != nil {
			return appliedDevice{}, err
		}
		if out.created = err != nil; !out.created {
			before = i.print(there)
		}
	}
	after, made := before.with(body, line)
	out.changed = !out.created && (made || after != before) // no secret is made twice
	if !out.created && !out.changed {
		return out, nil
	}
	if !planned && len(i.planned) >= maxPlanned {
		return appliedDevice{}, newProblem(http.StatusRequestEntityTooLarge, fmt.Sprintf("a dry run is of at most %d devices that are new or change: split the file", maxPlanned))
	}
	i.planned[id] = after
	return out, nil
}

// told is the line of the answer about a device that was registered or changed, or would be; nil if there is none to tell.
func (i *deviceImport) told(job importJob, d appliedDevice) *importedDevice {
	line := importedDevice{Line: job.number, Product: d.ID.Product, Device: d.ID.Device, PSK: d.made}
	switch {
	case i.planned != nil && d.created:
		line.Would = wouldCreate
	case i.planned != nil && d.changed:
		line.Would = wouldChange
	case d.made == "":
		return nil
	}
	return &line
}
