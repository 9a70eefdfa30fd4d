package main

// The access keys of SLS projects and of CLS topics differ in their paths alone.

// keyState is an access key as the operator API shows it.
type keyState struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
}

type keyList struct {
	AccessKeys []keyState `json:"access_keys"`
}

func keyColumns() []column[keyState] {
	return []column[keyState]{{name: "ACCESS KEY", value: func(k keyState) string { return k.ID }}}
}

type slsKeyCmd struct {
	Ls   slsKeyLsCmd   `cmd:"" help:"List the access keys of a project."`
	Show slsKeyShowCmd `cmd:"" help:"Show an access key; its secret is never shown again."`
	Set  slsKeySetCmd  `cmd:"" help:"Create an access key, or give it another secret."`
	Rm   slsKeyRmCmd   `cmd:"" help:"Delete an access key."`
}

type topicKeyCmd struct {
	Ls   topicKeyLsCmd   `cmd:"" help:"List the access keys of a topic."`
	Show topicKeyShowCmd `cmd:"" help:"Show an access key; its secret is never shown again."`
	Set  topicKeySetCmd  `cmd:"" help:"Create an access key, or give it another secret."`
	Rm   topicKeyRmCmd   `cmd:"" help:"Delete an access key."`
}

type (
	slsKeyLsCmd struct {
		Client
		Output
		projectArg
	}
	topicKeyLsCmd struct {
		Client
		Output
		topicArg
	}
)

func (c slsKeyLsCmd) Run(p program) error {
	return listKeys(p, c.Client, c.Output, c.path("access-keys"))
}
func (c topicKeyLsCmd) Run(p program) error {
	return listKeys(p, c.Client, c.Output, c.path("access-keys"))
}

func listKeys(p program, c Client, o Output, path string) error {
	return list(p, c, o, path, func(a keyList) []keyState { return a.AccessKeys }, keyColumns())
}

// slsKeyArg and topicKeyArg name an access key on the command line.
type (
	slsKeyArg struct {
		Key pairArg `arg:"" placeholder:"PROJECT/ID" help:"PROJECT/ID."`
	}
	topicKeyArg struct {
		Key pairArg `arg:"" placeholder:"TOPIC/ID" help:"TOPIC/ID."`
	}
)

func (a slsKeyArg) path() string   { return escape("sls", a.Key.owner, "access-keys", a.Key.name) }
func (a topicKeyArg) path() string { return escape("cls", a.Key.owner, "access-keys", a.Key.name) }

type (
	slsKeyShowCmd struct {
		Client
		Output
		slsKeyArg
	}
	topicKeyShowCmd struct {
		Client
		Output
		topicKeyArg
	}
)

func (c slsKeyShowCmd) Run(p program) error   { return showKey(p, c.Client, c.Output, c.path()) }
func (c topicKeyShowCmd) Run(p program) error { return showKey(p, c.Client, c.Output, c.path()) }

func showKey(p program, c Client, o Output, path string) error {
	return fetch(p, c, o, path, func(k keyState) error { return writeFields(p.stdout, o, field{"access key", k.ID}) })
}

// secretArg is where a key's secret comes from.
type secretArg struct {
	SecretFile []byte `type:"filecontent" placeholder:"FILE" help:"File with the secret, - is standard input; for a new key one is made and printed, once, if it is left out."`
}

type (
	slsKeySetCmd struct {
		Client
		slsKeyArg
		secretArg
	}
	topicKeySetCmd struct {
		Client
		topicKeyArg
		secretArg
	}
)

func (c slsKeySetCmd) Run(p program) error   { return c.put(p, c.Client, c.path(), c.Key) }
func (c topicKeySetCmd) Run(p program) error { return c.put(p, c.Client, c.path(), c.Key) }

// put registers a key and prints the secret that the server made, if it made one.
func (a secretArg) put(p program, c Client, path string, key pairArg) error {
	wish := members{}
	wish.secret(a.SecretFile)
	var after keyState
	return put(p, c, path, wish, &after, func() error {
		switch {
		case after.Secret != "":
			return tell(p, "secret %s", after.Secret)
		case a.SecretFile != nil:
			return tell(p, "access key %s: has this secret", key)
		}
		return tell(p, "access key %s: registered before, and keeps its secret", key)
	})
}

type (
	slsKeyRmCmd struct {
		Client
		slsKeyArg
	}
	topicKeyRmCmd struct {
		Client
		topicKeyArg
	}
)

func (c slsKeyRmCmd) Run(p program) error {
	return remove(p, c.Client, c.path(), "access key "+c.Key.String())
}

func (c topicKeyRmCmd) Run(p program) error {
	return remove(p, c.Client, c.path(), "access key "+c.Key.String())
}
