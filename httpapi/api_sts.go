package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/logbridge/logbridge"
)

// temporaryKeyView has the names of the vendor's AssumeRole, which browser SDKs are given as they are (web-tracking.md 3.6).
type temporaryKeyView struct {
	AccessKeyID     string    `json:"AccessKeyId"`
	AccessKeySecret string    `json:"AccessKeySecret"`
	SecurityToken   string    `json:"SecurityToken" doc:"to be sent as x-acs-security-token"`
	Expiration      time.Time `json:"Expiration"`
}

type postTemporaryKey struct {
	Body struct {
		Project  string `json:"project" minLength:"1" maxLength:"100"`
		Logstore string `json:"logstore" minLength:"1" maxLength:"100"`
		For      string `json:"for,omitempty" doc:"a duration of at most 12h; 60m without it" example:"15m"`
	}
}

func (a *api) temporaryKeys() {
	callFor(a, anywhere, logbridge.RoleOperator, http.MethodPost, "/sts", "create-temporary-key", "Make an access key for one logstore that ends by itself", a.createTemporaryKey)
}

func (a *api) createTemporaryKey(ctx context.Context, in *postTemporaryKey) (*answer[temporaryKeyView], error) {
	if !sees(ctx, logbridge.SLSStream(in.Body.Project, in.Body.Logstore)) {
		return nil, errOutside
	}
	life, err := lifeOf(in.Body.For)
	if err != nil {
		return nil, err
	}
	k, err := a.deps.TemporaryKeys.IssueTemporaryKey(ctx, in.Body.Project, in.Body.Logstore, life)
	if err != nil {
		return nil, err
	}
	changedThing(ctx, fmt.Sprintf("sls/%s/logstores/%s/temporary-keys/%s", in.Body.Project, in.Body.Logstore, k.ID), nil, map[string]any{"id": k.ID, "expires": k.Expires})
	return &answer[temporaryKeyView]{temporaryKeyView{k.ID, k.Secret, k.Token, k.Expires}}, nil
}
