package registry

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/natsd"
	"golang.org/x/sync/errgroup"
)

// provisionWorkers is how many things are provisioned at the same time: each waits for the disk twice.
const provisionWorkers = 16

// Names of parents that are in order, to check a child without repeating its parent's fault.
const (
	anyProduct = "0123456789"
	anyProject = "any"
	anyTopic   = "any"
)

// configActor is who provisions, in the audit stream.
var configActor = logbridge.Actor{Name: "config"}

// Provision registers what p says. It may be applied again and again: a field is set only where it is absent or still
// what was provisioned last, so what an operator changed since stays, and what p does not name, or names no longer, is
// left alone. First everything is checked; all faults are reported together, each with its place such as
// products[0].devices[2].psk, and nothing is done if there is one.
func (r *Registry) Provision(ctx context.Context, p Provision, levels BaseLevels) error {
	parents, children := r.plan(p, levels)
	if err := checkThings(append(parents[:len(parents):len(parents)], children...)); err != nil {
		return err
	}
	store, err := natsd.OpenStore(ctx, r.node, provisionBucket, r.log)
	if err != nil {
		return err
	}
	last := natsd.NewTable(store, kindMemory, r.memoryForm().codec())
	if err := store.Load(ctx); err != nil {
		return err
	}
	if err := r.applyThings(ctx, last, parents); err != nil {
		return err
	}
	return r.applyThings(ctx, last, children)
}

// thing is one entry of a Provision.
type thing struct {
	where  string   // in the YAML
	key    string   // in the registry
	hosts  []string // that it claims
	faults faults
	// apply stores what has to be changed, given what was provisioned last, and returns what to remember.
	apply func(ctx context.Context, last memory) (next memory, err error)
}

// plan lists what p says: what others belong to first.
func (r *Registry) plan(p Provision, levels BaseLevels) (parents, children []thing) {
	for i, product := range p.Products {
		where := fmt.Sprintf("products[%d]", i)
		parents = append(parents, r.productThing(where, product, levels))
		for j, d := range product.Devices {
			children = append(children, r.deviceThing(fmt.Sprintf("%s.devices[%d]", where, j), product.ID, d))
		}
	}
	for i, project := range p.SLS {
		where := fmt.Sprintf("sls[%d]", i)
		parents = append(parents, r.projectThing(where, project))
		for j, k := range project.AccessKeys {
			children = append(children, r.keyThing(fmt.Sprintf("%s.access_keys[%d]", where, j), project.Project, k))
		}
		for j, s := range project.Logstores {
			children = append(children, r.logstoreThing(fmt.Sprintf("%s.logstores[%d]", where, j), project.Project, s))
		}
	}
	for i, t := range p.CLS {
		where := fmt.Sprintf("cls[%d]", i)
		parents = append(parents, r.topicThing(where, t))
		for j, k := range t.AccessKeys {
			children = append(children, r.topicKeyThing(fmt.Sprintf("%s.access_keys[%d]", where, j), t.Topic, k))
		}
	}
	return parents, children
}

// checkThings joins all faults, and those of things and hosts that are there twice.
func checkThings(all []thing) error {
	var errs []error
	first := map[string]string{}
	claim := func(name, where, what string) {
		if other, taken := first[name]; taken && other != where {
			errs = append(errs, fmt.Errorf("%s: %w: %s there already, at %s", where, logbridge.ErrInvalid, what, other))
		}
		first[name] = where
	}
	for _, t := range all {
		errs = append(errs, t.faults.err(t.where))
		claim(t.key, t.where, "it is")
		for _, host := range t.hosts {
			claim("host "+host, t.where, "host "+host+" is")
		}
	}
	return errors.Join(errs...)
}

// applyThings applies things that do not depend on each other.
func (r *Registry) applyThings(ctx context.Context, last *memories, all []thing) error {
	var mu sync.Mutex
	var errs []error
	var g errgroup.Group
	g.SetLimit(provisionWorkers)
	for _, t := range all {
		if ctx.Err() != nil {
			errs = append(errs, ctx.Err())
			break
		}
		g.Go(func() error {
			if err := r.applyThing(ctx, last, t); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("%s: %w", t.where, err))
			}
			return nil
		})
	}
	g.Wait()
	return errors.Join(errs...)
}

// applyThing changes a thing and then remembers it. After a crash between the two it is as provisioned but not
// remembered, and the same YAML settles that; the other way round it would look like the operator's.
func (r *Registry) applyThing(ctx context.Context, memories *memories, t thing) error {
	last := memory(nil)
	if m, _ := memories.Get(t.key); m != nil {
		last = *m
	}
	next, err := t.apply(ctx, last)
	if err != nil || maps.Equal(last, next) {
		return err
	}
	return putSealed(ctx, r, memories, t.key, next)
}

func (r *Registry) productThing(where string, p ProvisionProduct, levels BaseLevels) thing {
	t := thing{where: where, key: natsd.Key(kindProduct, p.ID)}
	quota := logbridge.Quota{}
	if p.Quota != nil {
		quota = *p.Quota
	}
	t.faults = productFaults(logbridge.Product{ID: p.ID, Secret: p.Secret, TimeZone: p.TimeZone, Quota: quota})
	if p.Level != nil {
		t.faults.invalid(levels == nil, "level", "levels are not kept here")
		t.faults.invalid(!p.Level.Valid(), "level", "there is no level %d", *p.Level)
	}
	t.apply = func(ctx context.Context, last memory) (memory, error) {
		v, err := r.Product(p.ID)
		v.ID = p.ID
		m := newMerge(err == nil, last)
		set(m, "secret", &v.Secret, p.Secret, p.Secret != "")
		setFlag(m, "allow_register", &v.AllowRegister, p.AllowRegister)
		set(m, "time_zone", &v.TimeZone, p.TimeZone, p.TimeZone != "")
		set(m, "quota", &v.Quota, quota, p.Quota != nil)
		if err := putIf(m.changed, func() error { return r.PutProduct(ctx, v) }); err != nil {
			return nil, err
		}
		return m.next, setLevel(ctx, m, p.ID, p.Level, levels)
	}
	return t
}

// setLevel treats the base level like a field of the product.
func setLevel(ctx context.Context, m *merge, product string, wanted *logbridge.Level, levels BaseLevels) error {
	if levels == nil {
		return nil
	}
	current, text := "", ""
	if level, own := levels.ProductBase(product); own {
		current = level.String()
	}
	if wanted != nil {
		text = wanted.String()
	}
	if !m.decide("level", current, text, wanted != nil) {
		return nil
	}
	return levels.SetBase(ctx, product, *wanted, configActor, "provisioned")
}

func (r *Registry) deviceThing(where, product string, d ProvisionDevice) thing {
	id := logbridge.DeviceID{Product: product, Device: d.Name}
	t := thing{where: where, key: natsd.Key(kindDevice, product, d.Name)}
	psk := d.PSK
	if psk == "" && d.Certificate == "" && d.CertificateSubject == "" {
		psk = MakePSK()
	}
	t.faults = deviceFaults(logbridge.Device{ID: logbridge.DeviceID{Product: anyProduct, Device: d.Name}, PSK: psk,
		Certificate: d.Certificate, CertificateSubject: d.CertificateSubject, Tags: d.Tags})
	t.apply = func(ctx context.Context, last memory) (memory, error) {
		v, err := r.Device(id)
		v.ID, v.Tags = id, maps.Clone(v.Tags)
		m := newMerge(err == nil, last)
		if !m.exists && d.PSK == "" {
			v.PSK = psk
		}
		set(m, "psk", &v.PSK, d.PSK, d.PSK != "")
		set(m, "certificate", &v.Certificate, d.Certificate, d.Certificate != "")
		set(m, "certificate_subject", &v.CertificateSubject, d.CertificateSubject, d.CertificateSubject != "")
		set(m, "tags", &v.Tags, d.Tags, d.Tags != nil)
		return m.next, putIf(m.changed, func() error { return r.PutDevice(ctx, v) })
	}
	return t
}

func (r *Registry) projectThing(where string, p ProvisionProject) thing {
	hosts := cleanHosts(p.Hosts)
	t := thing{where: where, key: natsd.Key(kindProject, p.Project), hosts: hosts}
	t.faults = projectFaults(logbridge.SLSProject{Name: p.Project, Hosts: hosts})
	t.apply = func(ctx context.Context, last memory) (memory, error) {
		v, err := r.SLSProject(p.Project)
		v.Name = p.Project
		m := newMerge(err == nil, last)
		set(m, "hosts", &v.Hosts, hosts, hosts != nil)
		return m.next, putIf(m.changed, func() error { return r.PutSLSProject(ctx, v) })
	}
	return t
}

func (r *Registry) keyThing(where, project string, k ProvisionAccessKey) thing {
	t := thing{where: where, key: natsd.Key(kindKey, k.ID)}
	t.faults = keyFaults(logbridge.AccessKey{Project: anyProject, ID: k.ID, Secret: k.Secret})
	t.apply = func(ctx context.Context, last memory) (memory, error) {
		v, err := r.AccessKey(k.ID)
		if err == nil && v.Project != project {
			return nil, fmt.Errorf("%w: access key %s belongs to project %s already", logbridge.ErrInvalid, k.ID, v.Project)
		}
		v.Project, v.ID = project, k.ID
		m := newMerge(err == nil, last)
		set(m, "secret", &v.Secret, k.Secret, true)
		return m.next, putIf(m.changed, func() error { return r.PutAccessKey(ctx, v) })
	}
	return t
}

func (r *Registry) logstoreThing(where, project string, s ProvisionLogstore) thing {
	t := thing{where: where, key: natsd.Key(kindLogstore, project, s.Name)}
	t.faults = logstoreFaults(logbridge.Logstore{Project: anyProject, Name: s.Name, Origins: s.Origins, WebRules: s.rules()})
	t.apply = func(ctx context.Context, last memory) (memory, error) {
		v, err := r.Logstore(project, s.Name)
		v.Project, v.Name = project, s.Name
		m := newMerge(err == nil, last)
		setFlag(m, "web_tracking", &v.WebTracking, s.WebTracking)
		set(m, "origins", &v.Origins, s.Origins, s.Origins != nil)
		s.set(m, &v.WebRules)
		return m.next, putIf(m.changed, func() error { return r.PutLogstore(ctx, v) })
	}
	return t
}

func (r *Registry) topicThing(where string, p ProvisionTopic) thing {
	t := thing{where: where, key: natsd.Key(kindTopic, p.Topic)}
	t.faults = topicFaults(logbridge.CLSTopic{ID: p.Topic, Origins: p.Origins, WebRules: p.rules()})
	t.apply = func(ctx context.Context, last memory) (memory, error) {
		v, err := r.CLSTopic(p.Topic)
		v.ID = p.Topic
		m := newMerge(err == nil, last)
		setFlag(m, "anonymous_write", &v.AnonymousWrite, p.AnonymousWrite)
		set(m, "origins", &v.Origins, p.Origins, p.Origins != nil)
		p.set(m, &v.WebRules)
		return m.next, putIf(m.changed, func() error { return r.PutCLSTopic(ctx, v) })
	}
	return t
}

func (r *Registry) topicKeyThing(where, topic string, k ProvisionAccessKey) thing {
	t := thing{where: where, key: natsd.Key(kindTopicKey, topic, k.ID)}
	t.faults = topicKeyFaults(logbridge.TopicKey{Topic: anyTopic, ID: k.ID, Secret: k.Secret})
	t.apply = func(ctx context.Context, last memory) (memory, error) {
		v, err := r.TopicKey(topic, k.ID)
		v.Topic, v.ID = topic, k.ID
		m := newMerge(err == nil, last)
		set(m, "secret", &v.Secret, k.Secret, true)
		return m.next, putIf(m.changed, func() error { return r.PutTopicKey(ctx, v) })
	}
	return t
}

func putIf(changed bool, put func() error) error {
	if !changed {
		return nil
	}
	return put()
}
