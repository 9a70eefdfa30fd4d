package registry

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/natsd"
)

// The kinds, first part of each key. What they name is in the package's tables.
const (
	kindProduct  = "product"
	kindDevice   = "device"
	kindProject  = "slsproject"
	kindLogstore = "logstore"
	kindKey      = "accesskey"
	kindTopic    = "clstopic"
	kindTopicKey = "clskey"
	kindToken    = "token"

	kindTemporary = "temporary"
)

// The stored forms. Values are JSON; fields that are not known are ignored and missing ones are zero, so that neighbouring
// versions can read each other's values. A field whose name begins with sealed_ is sealed for its key and that name.
type (
	productJSON struct {
		Secret        string `json:"sealed_secret,omitempty"`
		AllowRegister bool   `json:"allow_register,omitempty"`
		TimeZone      string `json:"time_zone,omitempty"`

		Quota logbridge.Quota `json:"quota,omitzero"`
	}
	deviceJSON struct {
		PSK         string            `json:"sealed_psk,omitempty"`
		Certificate string            `json:"certificate,omitempty"`
		Subject     string            `json:"certificate_subject,omitempty"`
		Tags        map[string]string `json:"tags,omitempty"`
	}
	projectJSON struct {
		Hosts []string `json:"hosts,omitempty"`
	}
	logstoreJSON struct {
		WebTracking bool     `json:"web_tracking,omitempty"`
		Origins     []string `json:"origins,omitempty"`
		rulesJSON
	}
	keyJSON struct {
		Project string `json:"project"`
		Secret  string `json:"sealed_secret"`
	}
	topicJSON struct {
		AnonymousWrite bool     `json:"anonymous_write,omitempty"`
		Origins        []string `json:"origins,omitempty"`
		rulesJSON
	}
	// rulesJSON has the list of tokens sealed as one text.
	rulesJSON struct {
		WriteTokens string               `json:"sealed_write_tokens,omitempty"`
		Limits      logbridge.WebLimits  `json:"limits,omitzero"`
		Privacy     logbridge.WebPrivacy `json:"privacy,omitzero"`
	}
	temporaryJSON struct {
		Root string `json:"sealed_root"`
	}
	topicKeyJSON struct {
		Secret string `json:"sealed_secret"`
	}
	// A limited token has its role in another field: a version that knows of no scopes, a neighbour or an older one that comes
	// back, would take it for everything. To that it has no role.
	tokenJSON struct {
		Name    string         `json:"name"`
		Role    logbridge.Role `json:"role,omitempty"`
		Limited logbridge.Role `json:"limited_role,omitempty"`
		Created time.Time      `json:"created"`
		Expires time.Time      `json:"expires,omitzero"`
		Scope   []string       `json:"scope,omitempty"`
		Hash    []byte         `json:"sha256"`
	}
)

// form is how a value of type V is stored as J.
type form[K comparable, V, J any] struct {
	names  func(K) []string
	key    func([]string) (K, bool)
	order  func(a, b K) int
	toJSON func(K, V) J
	ofJSON func(K, J) (V, error)
}

func (f form[K, V, J]) codec() natsd.Codec[K, V] {
	return natsd.Codec[K, V]{
		Names: f.names, Key: f.key, Compare: f.order,
		Encode: func(k K, v V) ([]byte, error) { return json.Marshal(f.toJSON(k, v)) },
		Decode: func(k K, b []byte) (v V, err error) {
			var j J
			if err := json.Unmarshal(b, &j); err != nil {
				return v, fmt.Errorf("%w: stored %T: %w", logbridge.ErrInvalid, v, err)
			}
			return f.ofJSON(k, j)
		},
	}
}

// named is a form whose key is one name.
func named[V, J any](toJSON func(string, V) J, ofJSON func(string, J) (V, error)) form[string, V, J] {
	return form[string, V, J]{
		names:  func(k string) []string { return []string{k} },
		key:    func(n []string) (string, bool) { return strings.Join(n, ""), len(n) == 1 },
		order:  strings.Compare,
		toJSON: toJSON, ofJSON: ofJSON,
	}
}

// owned is a form whose key is the name of an owner and one's own.
func owned[V, J any](toJSON func(storeKey, V) J, ofJSON func(storeKey, J) (V, error)) form[storeKey, V, J] {
	return form[storeKey, V, J]{
		names: func(k storeKey) []string { return []string{k.Owner, k.Name} },
		key: func(n []string) (storeKey, bool) {
			if len(n) != 2 {
				return storeKey{}, false
			}
			return storeKey{n[0], n[1]}, true
		},
		order: func(a, b storeKey) int {
			return cmp.Or(strings.Compare(a.Owner, b.Owner), strings.Compare(a.Name, b.Name))
		},
		toJSON: toJSON, ofJSON: ofJSON,
	}
}

func (r *Registry) makeTables() {
	r.products = natsd.NewTable(r.store, kindProduct, r.productForm().codec())
	devices := r.deviceForm().codec()
	devices.Changed = r.deviceChanged
	r.devices = natsd.NewTable(r.store, kindDevice, devices)
	projects := projectForm().codec()
	projects.Changed = r.hosts.changed
	r.projects = natsd.NewTable(r.store, kindProject, projects)
	r.logstores = natsd.NewTable(r.store, kindLogstore, r.logstoreForm().codec())
	r.keys = natsd.NewTable(r.store, kindKey, r.keyForm().codec())
	r.topics = natsd.NewTable(r.store, kindTopic, r.topicForm().codec())
	r.topicKeys = natsd.NewTable(r.store, kindTopicKey, r.topicKeyForm().codec())
	r.batches = natsd.NewTable(r.store, kindConnected, r.connected.codec())
	r.temporary = natsd.NewTable(r.store, kindTemporary, r.temporaryForm().codec())
	r.tokens = natsd.NewTable(r.store, kindToken, tokenForm().codec())
}

// place is what a sealed field is bound to.
func place(field, kind string, names ...string) string {
	return natsd.Key(kind, names...) + "/" + field
}

func (r *Registry) productForm() form[string, logbridge.Product, productJSON] {
	return named(
		func(id string, p logbridge.Product) productJSON {
			return productJSON{r.seal.seal(place("secret", kindProduct, id), p.Secret), p.AllowRegister, p.TimeZone, p.Quota}
		},
		func(id string, j productJSON) (logbridge.Product, error) {
			secret, err := r.seal.open(place("secret", kindProduct, id), j.Secret)
			return logbridge.Product{ID: id, Secret: secret, AllowRegister: j.AllowRegister, TimeZone: j.TimeZone, Quota: j.Quota}, err
		})
}

func (r *Registry) deviceForm() form[logbridge.DeviceID, logbridge.Device, deviceJSON] {
	type id = logbridge.DeviceID
	return form[id, logbridge.Device, deviceJSON]{
		names: func(k id) []string { return []string{k.Product, k.Device} },
		key: func(n []string) (id, bool) {
			if len(n) != 2 {
				return id{}, false
			}
			return id{Product: n[0], Device: n[1]}, true
		},
		order: func(a, b id) int {
			return cmp.Or(strings.Compare(a.Product, b.Product), strings.Compare(a.Device, b.Device))
		},
		toJSON: func(k id, d logbridge.Device) deviceJSON {
			return deviceJSON{r.seal.seal(place("psk", kindDevice, k.Product, k.Device), d.PSK), d.Certificate, d.CertificateSubject, d.Tags}
		},
		ofJSON: func(k id, j deviceJSON) (logbridge.Device, error) {
			psk, err := r.seal.open(place("psk", kindDevice, k.Product, k.Device), j.PSK)
			return logbridge.Device{ID: k, PSK: psk, Certificate: j.Certificate, CertificateSubject: j.Subject, Tags: j.Tags}, err
		},
	}
}

func projectForm() form[string, logbridge.SLSProject, projectJSON] {
	return named(
		func(_ string, p logbridge.SLSProject) projectJSON { return projectJSON{p.Hosts} },
		func(name string, j projectJSON) (logbridge.SLSProject, error) {
			return logbridge.SLSProject{Name: name, Hosts: j.Hosts}, nil
		})
}

func (r *Registry) logstoreForm() form[storeKey, logbridge.Logstore, logstoreJSON] {
	at := func(k storeKey) string { return place("write_tokens", kindLogstore, k.Owner, k.Name) }
	return owned(
		func(k storeKey, s logbridge.Logstore) logstoreJSON {
			return logstoreJSON{s.WebTracking, s.Origins, r.rulesToJSON(at(k), s.WebRules)}
		},
		func(k storeKey, j logstoreJSON) (logbridge.Logstore, error) {
			rules, err := r.rulesOfJSON(at(k), j.rulesJSON)
			return logbridge.Logstore{Project: k.Owner, Name: k.Name, WebTracking: j.WebTracking, Origins: j.Origins, WebRules: rules}, err
		})
}

func (r *Registry) rulesToJSON(place string, w logbridge.WebRules) rulesJSON {
	return rulesJSON{r.seal.seal(place, listText(len(w.WriteTokens), w.WriteTokens)), w.Limits, w.Privacy}
}

func (r *Registry) rulesOfJSON(place string, j rulesJSON) (logbridge.WebRules, error) {
	w := logbridge.WebRules{Limits: j.Limits, Privacy: j.Privacy}
	text, err := r.seal.open(place, j.WriteTokens)
	if err != nil || text == "" {
		return w, err
	}
	if err := json.Unmarshal([]byte(text), &w.WriteTokens); err != nil {
		return w, fmt.Errorf("%w: stored write tokens: %w", logbridge.ErrInvalid, err)
	}
	return w, nil
}

func (r *Registry) keyForm() form[string, logbridge.AccessKey, keyJSON] {
	return named(
		func(id string, k logbridge.AccessKey) keyJSON {
			return keyJSON{k.Project, r.seal.seal(place("secret", kindKey, id), k.Secret)}
		},
		func(id string, j keyJSON) (logbridge.AccessKey, error) {
			secret, err := r.seal.open(place("secret", kindKey, id), j.Secret)
			return logbridge.AccessKey{Project: j.Project, ID: id, Secret: secret}, err
		})
}

func (r *Registry) temporaryForm() form[string, string, temporaryJSON] {
	return named(
		func(name, root string) temporaryJSON {
			return temporaryJSON{r.seal.seal(place("root", kindTemporary, name), root)}
		},
		func(name string, j temporaryJSON) (string, error) {
			root, err := r.seal.open(place("root", kindTemporary, name), j.Root)
			if err == nil && root == "" { // anyone could derive from it
				err = fmt.Errorf("%w: stored root of temporary keys is empty", logbridge.ErrInvalid)
			}
			return root, err
		})
}

func (r *Registry) topicForm() form[string, logbridge.CLSTopic, topicJSON] {
	at := func(id string) string { return place("write_tokens", kindTopic, id) }
	return named(
		func(id string, t logbridge.CLSTopic) topicJSON {
			return topicJSON{t.AnonymousWrite, t.Origins, r.rulesToJSON(at(id), t.WebRules)}
		},
		func(id string, j topicJSON) (logbridge.CLSTopic, error) {
			rules, err := r.rulesOfJSON(at(id), j.rulesJSON)
			return logbridge.CLSTopic{ID: id, AnonymousWrite: j.AnonymousWrite, Origins: j.Origins, WebRules: rules}, err
		})
}

func (r *Registry) topicKeyForm() form[storeKey, logbridge.TopicKey, topicKeyJSON] {
	return owned(
		func(at storeKey, k logbridge.TopicKey) topicKeyJSON {
			return topicKeyJSON{r.seal.seal(place("secret", kindTopicKey, at.Owner, at.Name), k.Secret)}
		},
		func(at storeKey, j topicKeyJSON) (logbridge.TopicKey, error) {
			secret, err := r.seal.open(place("secret", kindTopicKey, at.Owner, at.Name), j.Secret)
			return logbridge.TopicKey{Topic: at.Owner, ID: at.Name, Secret: secret}, err
		})
}

func tokenForm() form[string, storedToken, tokenJSON] {
	return named(
		func(_ string, t storedToken) tokenJSON {
			j := tokenJSON{Name: t.Name, Role: t.Role, Created: t.Created, Expires: t.Expires, Scope: t.Scope, Hash: t.hash[:]}
			if t.Limited() {
				j.Role, j.Limited = "", t.Role
			}
			return j
		},
		func(id string, j tokenJSON) (storedToken, error) {
			t := storedToken{Token: logbridge.Token{ID: id, Name: j.Name, Role: j.Role, Created: j.Created, Expires: j.Expires, Scope: j.Scope}}
			if t.Limited() {
				t.Role = j.Limited
			}
			if copy(t.hash[:], j.Hash); len(j.Hash) != sha256.Size || tokenID(t.hash) != id {
				return t, fmt.Errorf("%w: stored token %s has not its own hash", logbridge.ErrInvalid, id)
			}
			return t, nil
		})
}
