package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/logbridge/logbridge"
)

type projectView struct {
	Project string   `json:"project"`
	Hosts   []string `json:"hosts" doc:"Host values, without port, that mean this project beside <project>.<anything>"`
}

type logstoreView struct {
	Logstore    string   `json:"logstore"`
	WebTracking bool     `json:"web_tracking" doc:"whether anonymous writes are taken"`
	Origins     []string `json:"origins" doc:"origins that a page may write from; empty or * is any"`
	StoreRules
}

type accessKeyView struct {
	ID     string `json:"id"`
	Secret string `json:"secret,omitempty" doc:"only when it was made by this call; never shown again"`
}

type topicView struct {
	Topic          string   `json:"topic"`
	AnonymousWrite bool     `json:"anonymous_write"`
	Origins        []string `json:"origins" doc:"origins that a page may write from; empty or * is any"`
	StoreRules
}

type projectPath struct {
	Project string `path:"project"`
}

type logstorePath struct {
	Project  string `path:"project"`
	Logstore string `path:"logstore"`
}

type accessKeyPath struct {
	Project string `path:"project"`
	ID      string `path:"id"`
}

type topicPath struct {
	Topic string `path:"topic"`
}

type putProject struct {
	Project string `path:"project"`
	Body    *struct {
		Hosts *[]string `json:"hosts,omitempty" maxItems:"100"`
	}
}

type putLogstore struct {
	Project  string `path:"project"`
	Logstore string `path:"logstore"`
	Body     *struct {
		WebTracking *bool     `json:"web_tracking,omitempty"`
		Origins     *[]string `json:"origins,omitempty" maxItems:"100"`
		StoreRulesChange
	}
}

type putAccessKey struct {
	Project string `path:"project"`
	ID      string `path:"id"`
	Body    *accessKeyBody
}

type accessKeyBody struct {
	Secret *string `json:"secret,omitempty" minLength:"1" maxLength:"200" doc:"made and shown once when a new key has none"`
}

// apply gives secret the wanted value, or makes one when there is none; the view shows what was made.
func (b *accessKeyBody) apply(view *accessKeyView, secret *string, makeSecret func() string) {
	if b != nil {
		set(secret, b.Secret)
	}
	if *secret == "" {
		*secret = makeSecret()
		view.Secret = *secret
	}
}

type putTopic struct {
	Topic string `path:"topic"`
	Body  *struct {
		AnonymousWrite *bool     `json:"anonymous_write,omitempty"`
		Origins        *[]string `json:"origins,omitempty" maxItems:"100"`
		StoreRulesChange
	}
}

func (a *api) slsStores() {
	const viewer, operator = logbridge.RoleViewer, logbridge.RoleOperator
	const project, store, key = "/sls/{project}", "/sls/{project}/logstores/{logstore}", "/sls/{project}/access-keys/{id}"
	callFor(a, anywhere, viewer, http.MethodGet, "/sls", "list-sls-projects", "List SLS projects", a.listProjects)
	callFor(a, partly, viewer, http.MethodGet, project, "get-sls-project", "Show an SLS project", a.getProject)
	call(a, operator, http.MethodPut, project, "put-sls-project", "Create or change an SLS project", a.putProject)
	call(a, operator, http.MethodDelete, project, "delete-sls-project", "Delete an SLS project", a.deleteProject)
	callFor(a, partly, viewer, http.MethodGet, "/sls/{project}/logstores", "list-logstores", "List logstores", a.listLogstores)
	call(a, viewer, http.MethodGet, store, "get-logstore", "Show a logstore", a.getLogstore)
	call(a, operator, http.MethodPut, store, "put-logstore", "Create or change a logstore", a.putLogstore)
	call(a, operator, http.MethodDelete, store, "delete-logstore", "Delete a logstore", a.deleteLogstore)
	call(a, viewer, http.MethodGet, "/sls/{project}/access-keys", "list-access-keys", "List access keys", a.listAccessKeys)
	call(a, viewer, http.MethodGet, key, "get-access-key", "Show an access key", a.getAccessKey)
	call(a, operator, http.MethodPut, key, "put-access-key", "Create or change an access key", a.putAccessKey)
	call(a, operator, http.MethodDelete, key, "delete-access-key", "Delete an access key", a.deleteAccessKey)
}

func (a *api) clsStores() {
	const viewer, operator = logbridge.RoleViewer, logbridge.RoleOperator
	callFor(a, anywhere, viewer, http.MethodGet, "/cls", "list-cls-topics", "List CLS topics", a.listTopics)
	call(a, viewer, http.MethodGet, "/cls/{topic}", "get-cls-topic", "Show a CLS topic", a.getTopic)
	call(a, operator, http.MethodPut, "/cls/{topic}", "put-cls-topic", "Create or change a CLS topic", a.putTopic)
	call(a, operator, http.MethodDelete, "/cls/{topic}", "delete-cls-topic", "Delete a CLS topic", a.deleteTopic)
	const key = "/cls/{topic}/access-keys/{id}"
	call(a, viewer, http.MethodGet, "/cls/{topic}/access-keys", "list-topic-keys", "List the access keys of a CLS topic", a.listTopicKeys)
	call(a, viewer, http.MethodGet, key, "get-topic-key", "Show an access key of a CLS topic", a.getTopicKey)
	call(a, operator, http.MethodPut, key, "put-topic-key", "Create or change an access key of a CLS topic", a.putTopicKey)
	call(a, operator, http.MethodDelete, key, "delete-topic-key", "Delete an access key of a CLS topic", a.deleteTopicKey)
}

// found lets a PUT create what is not there.
func found(err error) error {
	if errors.Is(err, logbridge.ErrNotFound) {
		return nil
	}
	return err
}

// list is never null in JSON.
func list(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// views shows a list of things; it is never null in JSON.
func views[T, V any](things []T, view func(T) V) []V {
	out := make([]V, 0, len(things))
	for _, t := range things {
		out = append(out, view(t))
	}
	return out
}

func viewProject(p logbridge.SLSProject) projectView {
	return projectView{Project: p.Name, Hosts: list(p.Hosts)}
}

func viewLogstore(l logbridge.Logstore) logstoreView {
	return logstoreView{Logstore: l.Name, WebTracking: l.WebTracking, Origins: list(l.Origins), StoreRules: viewRules(l.WebRules)}
}

func viewAccessKey(k logbridge.AccessKey) accessKeyView { return accessKeyView{ID: k.ID} }

func viewTopic(t logbridge.CLSTopic) topicView {
	return topicView{Topic: t.ID, AnonymousWrite: t.AnonymousWrite, Origins: list(t.Origins), StoreRules: viewRules(t.WebRules)}
}

type projectList struct {
	Projects []projectView `json:"projects"`
}

func (a *api) listProjects(ctx context.Context, _ *none) (*answer[projectList], error) {
	all := within(ctx, a.deps.Projects.SLSProjects(), func(p logbridge.SLSProject) logbridge.Stream { return projectStreams(p.Name) })
	return &answer[projectList]{projectList{views(all, viewProject)}}, nil
}

func (a *api) getProject(_ context.Context, in *projectPath) (*answer[projectView], error) {
	p, err := a.deps.Projects.SLSProject(in.Project)
	if err != nil {
		return nil, err
	}
	return &answer[projectView]{viewProject(p)}, nil
}

func (a *api) putProject(ctx context.Context, in *putProject) (*answer[projectView], error) {
	defer a.lock(in.Project)()
	p, err := a.deps.Projects.SLSProject(in.Project)
	if found(err) != nil {
		return nil, err
	}
	before := shown(p, err, viewProject)
	p.Name = in.Project
	if in.Body != nil {
		set(&p.Hosts, in.Body.Hosts)
	}
	if err := a.mayClaim(ctx, p); err != nil {
		return nil, err
	}
	if err := a.deps.Projects.PutSLSProject(ctx, p); err != nil {
		return nil, err
	}
	changed(ctx, before, viewProject(p))
	return &answer[projectView]{viewProject(p)}, nil
}

// mayClaim keeps a limited token from taking the hosts of projects that are not in its scope, those that mean one by its name
// among them, whose names know case where hosts do not.
func (a *api) mayClaim(ctx context.Context, p logbridge.SLSProject) error {
	for _, host := range p.Hosts {
		host = strings.Trim(host, "[]")
		of, ok := a.deps.Projects.ProjectByHost(host)
		taken := ok && of.Name != p.Name && !sees(ctx, projectStreams(of.Name))
		if label, _, _ := strings.Cut(host, "."); !ok {
			taken = slices.ContainsFunc(a.deps.Projects.SLSProjects(), func(o logbridge.SLSProject) bool {
				return strings.EqualFold(o.Name, label) && o.Name != p.Name && !sees(ctx, projectStreams(o.Name))
			})
		}
		if taken {
			return fmt.Errorf("%w: host %q means another project already", logbridge.ErrInvalid, clip(host))
		}
	}
	return nil
}

func (a *api) deleteProject(ctx context.Context, in *projectPath) (*none, error) {
	p, err := a.deps.Projects.SLSProject(in.Project)
	return deleted(ctx, shown(p, err, viewProject), a.deps.Projects.DeleteSLSProject(ctx, in.Project))
}

type logstoreList struct {
	Logstores []logstoreView `json:"logstores"`
}

func (a *api) listLogstores(ctx context.Context, in *projectPath) (*answer[logstoreList], error) {
	if _, err := a.deps.Projects.SLSProject(in.Project); err != nil {
		return nil, err
	}
	all := within(ctx, a.deps.Logstores.Logstores(in.Project), func(l logbridge.Logstore) logbridge.Stream { return logbridge.SLSStream(l.Project, l.Name) })
	return &answer[logstoreList]{logstoreList{views(all, viewLogstore)}}, nil
}

func (a *api) getLogstore(_ context.Context, in *logstorePath) (*answer[logstoreView], error) {
	l, err := a.deps.Logstores.Logstore(in.Project, in.Logstore)
	if err != nil {
		return nil, err
	}
	return &answer[logstoreView]{viewLogstore(l)}, nil
}

func (a *api) putLogstore(ctx context.Context, in *putLogstore) (*answer[logstoreView], error) {
	defer a.lock(in.Project + "/" + in.Logstore)()
	l, err := a.deps.Logstores.Logstore(in.Project, in.Logstore)
	if found(err) != nil {
		return nil, err
	}
	before := shown(l, err, viewLogstore)
	l.Project, l.Name = in.Project, in.Logstore
	if in.Body != nil {
		set(&l.WebTracking, in.Body.WebTracking)
		set(&l.Origins, in.Body.Origins)
		in.Body.apply(&l.WebRules)
	}
	if err := a.deps.Logstores.PutLogstore(ctx, l); err != nil {
		return nil, err
	}
	changed(ctx, before, viewLogstore(l))
	return &answer[logstoreView]{viewLogstore(l)}, nil
}

func (a *api) deleteLogstore(ctx context.Context, in *logstorePath) (*none, error) {
	l, err := a.deps.Logstores.Logstore(in.Project, in.Logstore)
	return deleted(ctx, shown(l, err, viewLogstore), a.deps.Logstores.DeleteLogstore(ctx, in.Project, in.Logstore))
}

type accessKeyList struct {
	AccessKeys []accessKeyView `json:"access_keys"`
}

func (a *api) listAccessKeys(_ context.Context, in *projectPath) (*answer[accessKeyList], error) {
	if _, err := a.deps.Projects.SLSProject(in.Project); err != nil {
		return nil, err
	}
	return &answer[accessKeyList]{accessKeyList{views(a.deps.AccessKeys.AccessKeys(in.Project), viewAccessKey)}}, nil
}

// accessKey finds a key within its project.
func (a *api) accessKey(in accessKeyPath) (logbridge.AccessKey, error) {
	k, err := a.deps.AccessKeys.AccessKey(in.ID)
	if err == nil && k.Project != in.Project {
		return logbridge.AccessKey{}, fmt.Errorf("access key %q in project %q: %w", clip(in.ID), clip(in.Project), logbridge.ErrNotFound)
	}
	return k, err
}

func (a *api) getAccessKey(_ context.Context, in *accessKeyPath) (*answer[accessKeyView], error) {
	k, err := a.accessKey(*in)
	if err != nil {
		return nil, err
	}
	return &answer[accessKeyView]{viewAccessKey(k)}, nil
}

func (a *api) putAccessKey(ctx context.Context, in *putAccessKey) (*answer[accessKeyView], error) {
	defer a.lock(in.ID)()
	k, err := a.deps.AccessKeys.AccessKey(in.ID)
	if found(err) != nil {
		return nil, err
	}
	if err == nil && !sees(ctx, projectStreams(k.Project)) {
		return nil, fmt.Errorf("%w: access key %q is taken", logbridge.ErrInvalid, clip(in.ID))
	}
	before, secret := shown(k, err, viewAccessKey), k.Secret
	k.Project, k.ID = in.Project, in.ID
	view := viewAccessKey(k)
	in.Body.apply(&view, &k.Secret, a.deps.MakePSK)
	if err := a.deps.AccessKeys.PutAccessKey(ctx, k); err != nil {
		return nil, err
	}
	changed(ctx, before, viewAccessKey(k), renewed("secret", secret, k.Secret)...)
	return &answer[accessKeyView]{view}, nil
}

func (a *api) deleteAccessKey(ctx context.Context, in *accessKeyPath) (*none, error) {
	k, err := a.accessKey(*in)
	if err != nil {
		return nil, err
	}
	return deleted(ctx, viewAccessKey(k), a.deps.AccessKeys.DeleteAccessKey(ctx, in.ID))
}

type topicList struct {
	Topics []topicView `json:"topics"`
}

func (a *api) listTopics(ctx context.Context, _ *none) (*answer[topicList], error) {
	all := within(ctx, a.deps.Topics.CLSTopics(), func(t logbridge.CLSTopic) logbridge.Stream { return logbridge.CLSStream(t.ID) })
	return &answer[topicList]{topicList{views(all, viewTopic)}}, nil
}

func (a *api) getTopic(_ context.Context, in *topicPath) (*answer[topicView], error) {
	t, err := a.deps.Topics.CLSTopic(in.Topic)
	if err != nil {
		return nil, err
	}
	return &answer[topicView]{viewTopic(t)}, nil
}

func (a *api) putTopic(ctx context.Context, in *putTopic) (*answer[topicView], error) {
	defer a.lock(in.Topic)()
	t, err := a.deps.Topics.CLSTopic(in.Topic)
	if found(err) != nil {
		return nil, err
	}
	before := shown(t, err, viewTopic)
	t.ID = in.Topic
	if in.Body != nil {
		set(&t.AnonymousWrite, in.Body.AnonymousWrite)
		set(&t.Origins, in.Body.Origins)
		in.Body.apply(&t.WebRules)
	}
	if err := a.deps.Topics.PutCLSTopic(ctx, t); err != nil {
		return nil, err
	}
	changed(ctx, before, viewTopic(t))
	return &answer[topicView]{viewTopic(t)}, nil
}

func (a *api) deleteTopic(ctx context.Context, in *topicPath) (*none, error) {
	t, err := a.deps.Topics.CLSTopic(in.Topic)
	return deleted(ctx, shown(t, err, viewTopic), a.deps.Topics.DeleteCLSTopic(ctx, in.Topic))
}
