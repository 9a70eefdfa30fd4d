package httpapi

import (
	"context"

	"github.com/logbridge/logbridge"
)

type topicKeyPath struct {
	Topic string `path:"topic"`
	ID    string `path:"id"`
}

type putTopicKey struct {
	Topic string `path:"topic"`
	ID    string `path:"id"`
	Body  *accessKeyBody
}

func viewTopicKey(k logbridge.TopicKey) accessKeyView { return accessKeyView{ID: k.ID} }

func (a *api) listTopicKeys(_ context.Context, in *topicPath) (*answer[accessKeyList], error) {
	if _, err := a.deps.Topics.CLSTopic(in.Topic); err != nil {
		return nil, err
	}
	return &answer[accessKeyList]{accessKeyList{views(a.deps.TopicKeys.TopicKeys(in.Topic), viewTopicKey)}}, nil
}

func (a *api) getTopicKey(_ context.Context, in *topicKeyPath) (*answer[accessKeyView], error) {
	k, err := a.deps.TopicKeys.TopicKey(in.Topic, in.ID)
	if err != nil {
		return nil, err
	}
	return &answer[accessKeyView]{viewTopicKey(k)}, nil
}

func (a *api) putTopicKey(ctx context.Context, in *putTopicKey) (*answer[accessKeyView], error) {
	defer a.lock(in.Topic + "/" + in.ID)()
	k, err := a.deps.TopicKeys.TopicKey(in.Topic, in.ID)
	if found(err) != nil {
		return nil, err
	}
	before, secret := shown(k, err, viewTopicKey), k.Secret
	k.Topic, k.ID = in.Topic, in.ID
	view := viewTopicKey(k)
	in.Body.apply(&view, &k.Secret, a.deps.MakePSK)
	if err := a.deps.TopicKeys.PutTopicKey(ctx, k); err != nil {
		return nil, err
	}
	changed(ctx, before, viewTopicKey(k), renewed("secret", secret, k.Secret)...)
	return &answer[accessKeyView]{view}, nil
}

func (a *api) deleteTopicKey(ctx context.Context, in *topicKeyPath) (*none, error) {
	k, err := a.deps.TopicKeys.TopicKey(in.Topic, in.ID)
	return deleted(ctx, shown(k, err, viewTopicKey), a.deps.TopicKeys.DeleteTopicKey(ctx, in.Topic, in.ID))
}
