package registry

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/logbridge/logbridge"
)

// storeKey names what belongs to another thing: a logstore of a project, an access key of a topic.
type storeKey struct{ Owner, Name string }

func (k storeKey) String() string { return k.Owner + "/" + k.Name }

// SLSProject gives a project, or ErrNotFound.
func (r *Registry) SLSProject(name string) (logbridge.SLSProject, error) {
	return get(r.projects, name, "project")
}

// SLSProjects lists all projects by name.
func (r *Registry) SLSProjects() []logbridge.SLSProject { return list(r.projects, "", every) }

// PutSLSProject adds a project or replaces it. A host that means another project already is ErrInvalid.
func (r *Registry) PutSLSProject(ctx context.Context, p logbridge.SLSProject) error {
	p.Hosts = cleanHosts(p.Hosts)
	if err := projectFaults(p).err(""); err != nil {
		return err
	}
	r.claims.Lock()
	defer r.claims.Unlock()
	for _, host := range p.Hosts {
		if owner, ok := r.hosts.project(host); ok && owner != p.Name {
			return fmt.Errorf("%w: host %s means project %s already", logbridge.ErrInvalid, host, owner)
		}
	}
	return r.projects.Put(ctx, p.Name, p)
}

// DeleteSLSProject deletes a project that has no logstores and no access keys; one that has is ErrInvalid.
func (r *Registry) DeleteSLSProject(ctx context.Context, name string) error {
	r.family.Lock()
	defer r.family.Unlock()
	if stores, keys := len(r.Logstores(name)), len(r.AccessKeys(name)); stores+keys > 0 {
		return fmt.Errorf("%w: project %s still has %d logstores and %d access keys: delete them first", logbridge.ErrInvalid, name, stores, keys)
	}
	return remove(ctx, r.projects, name, "project")
}

// ProjectByHost gives the project that a Host value means, with or without a port: the configured hosts first, then the
// project whose name is the first label, as in <project>.<anything> (web-tracking.md 2).
func (r *Registry) ProjectByHost(host string) (logbridge.SLSProject, bool) {
	if strings.IndexByte(host, ':') >= 0 { // without one an error would be made for each request
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
	}
	name, ok := r.hosts.project(cleanHost(host))
	if !ok {
		if name, _, ok = strings.Cut(host, "."); !ok {
			return logbridge.SLSProject{}, false
		}
	}
	for _, spelling := range []string{name, strings.ToLower(name)} { // hosts know no case, names do
		if p, _ := r.projects.Get(spelling); p != nil {
			return *p, true
		}
	}
	return logbridge.SLSProject{}, false
}

// Logstore gives a logstore, or ErrNotFound.
func (r *Registry) Logstore(project, name string) (logbridge.Logstore, error) {
	return get(r.logstores, storeKey{project, name}, "logstore")
}

// Logstores lists the logstores of a project by name.
func (r *Registry) Logstores(project string) []logbridge.Logstore {
	return list(r.logstores, storeKey{Owner: project}, func(s *logbridge.Logstore) bool { return s.Project == project })
}

// PutLogstore adds a logstore or replaces it. Its project must exist (ErrNotFound).
func (r *Registry) PutLogstore(ctx context.Context, s logbridge.Logstore) error {
	if err := logstoreFaults(s).err(""); err != nil {
		return err
	}
	r.family.RLock()
	defer r.family.RUnlock()
	if _, err := r.SLSProject(s.Project); err != nil {
		return err
	}
	s.Origins, s.WebRules = slices.Clone(s.Origins), cloneRules(s.WebRules)
	return putSealed(ctx, r, r.logstores, storeKey{s.Project, s.Name}, s)
}

// DeleteLogstore deletes a logstore, not its records.
func (r *Registry) DeleteLogstore(ctx context.Context, project, name string) error {
	return remove(ctx, r.logstores, storeKey{project, name}, "logstore")
}

// AccessKey gives the access key of this id, whichever project it belongs to, or ErrNotFound.
func (r *Registry) AccessKey(id string) (logbridge.AccessKey, error) {
	return get(r.keys, id, "access key")
}

// AccessKeys lists the access keys of a project by id.
func (r *Registry) AccessKeys(project string) []logbridge.AccessKey {
	all := list(r.keys, "", every)
	return slices.DeleteFunc(all, func(k logbridge.AccessKey) bool { return k.Project != project })
}

// PutAccessKey adds an access key or replaces its secret. Its project must exist (ErrNotFound); an id that belongs to
// another project is ErrInvalid.
func (r *Registry) PutAccessKey(ctx context.Context, k logbridge.AccessKey) error {
	if err := keyFaults(k).err(""); err != nil {
		return err
	}
	r.family.RLock()
	defer r.family.RUnlock()
	if _, err := r.SLSProject(k.Project); err != nil {
		return err
	}
	r.claims.Lock()
	defer r.claims.Unlock()
	if old, err := r.AccessKey(k.ID); err == nil && old.Project != k.Project {
		return fmt.Errorf("%w: access key %s belongs to project %s already", logbridge.ErrInvalid, k.ID, old.Project)
	}
	return putSealed(ctx, r, r.keys, k.ID, k)
}

// DeleteAccessKey deletes an access key.
func (r *Registry) DeleteAccessKey(ctx context.Context, id string) error {
	return remove(ctx, r.keys, id, "access key")
}

// CLSTopic gives a topic, or ErrNotFound.
func (r *Registry) CLSTopic(id string) (logbridge.CLSTopic, error) {
	return get(r.topics, id, "topic")
}

// CLSTopics lists all topics by id.
func (r *Registry) CLSTopics() []logbridge.CLSTopic { return list(r.topics, "", every) }

// PutCLSTopic adds a topic or replaces it.
func (r *Registry) PutCLSTopic(ctx context.Context, t logbridge.CLSTopic) error {
	if err := topicFaults(t).err(""); err != nil {
		return err
	}
	t.Origins, t.WebRules = slices.Clone(t.Origins), cloneRules(t.WebRules)
	return putSealed(ctx, r, r.topics, t.ID, t)
}

// DeleteCLSTopic deletes a topic that has no access keys, not its records; one that has is ErrInvalid.
func (r *Registry) DeleteCLSTopic(ctx context.Context, id string) error {
	r.family.Lock()
	defer r.family.Unlock()
	if keys := len(r.TopicKeys(id)); keys > 0 {
		return fmt.Errorf("%w: topic %s still has %d access keys: delete them first", logbridge.ErrInvalid, id, keys)
	}
	return remove(ctx, r.topics, id, "topic")
}

// TopicKey gives an access key of a topic, or ErrNotFound.
func (r *Registry) TopicKey(topic, id string) (logbridge.TopicKey, error) {
	return get(r.topicKeys, storeKey{topic, id}, "access key")
}

// TopicKeys lists the access keys of a topic by id.
func (r *Registry) TopicKeys(topic string) []logbridge.TopicKey {
	return list(r.topicKeys, storeKey{Owner: topic}, func(k *logbridge.TopicKey) bool { return k.Topic == topic })
}

// PutTopicKey adds an access key of a topic or replaces its secret. The topic must exist (ErrNotFound).
func (r *Registry) PutTopicKey(ctx context.Context, k logbridge.TopicKey) error {
	if err := topicKeyFaults(k).err(""); err != nil {
		return err
	}
	r.family.RLock()
	defer r.family.RUnlock()
	if _, err := r.CLSTopic(k.Topic); err != nil {
		return err
	}
	return putSealed(ctx, r, r.topicKeys, storeKey{k.Topic, k.ID}, k)
}

// DeleteTopicKey deletes an access key of a topic.
func (r *Registry) DeleteTopicKey(ctx context.Context, topic, id string) error {
	return remove(ctx, r.topicKeys, storeKey{topic, id}, "access key")
}

// hostIndex finds the project of a configured host.
type hostIndex struct {
	mu     sync.RWMutex
	byHost map[string]string
}

func (x *hostIndex) project(host string) (string, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	name, ok := x.byHost[host]
	return name, ok
}

// changed follows the table of projects.
func (x *hostIndex) changed(name string, before, after *logbridge.SLSProject, _ uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.byHost == nil {
		x.byHost = map[string]string{}
	}
	if before != nil {
		for _, host := range before.Hosts {
			if x.byHost[host] == name {
				delete(x.byHost, host)
			}
		}
	}
	if after != nil {
		for _, host := range after.Hosts {
			x.byHost[host] = name
		}
	}
}

// cleanHosts gives hosts the form in which requests are compared with them.
func cleanHosts(hosts []string) []string {
	out := slices.Clone(hosts)
	for i, h := range out {
		out[i] = cleanHost(h)
	}
	return out
}

// cleanHost writes a host in lower case, without the root dot and without the brackets of an IPv6 address.
func cleanHost(host string) string {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}
