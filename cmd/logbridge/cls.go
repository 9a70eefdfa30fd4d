package main

type clsCmd struct {
	Ls   topicLsCmd   `cmd:"" help:"List CLS topics."`
	Show topicShowCmd `cmd:"" help:"Show a CLS topic."`
	Set  topicSetCmd  `cmd:"" help:"Create a CLS topic, or change what is named of it."`
	Rm   topicRmCmd   `cmd:"" help:"Delete a CLS topic; its records stay."`
	Key  topicKeyCmd  `cmd:"" help:"Access keys of a topic."`
}

// topicState is a CLS topic as the operator API shows it.
type topicState struct {
	Topic          string   `json:"topic"`
	AnonymousWrite bool     `json:"anonymous_write"`
	Origins        []string `json:"origins"`
	webRules
}

type topicLsCmd struct {
	Client
	Output
}

func (c topicLsCmd) Run(p program) error {
	type answer struct{ Topics []topicState }
	return list(p, c.Client, c.Output, "/cls", func(a answer) []topicState { return a.Topics }, []column[topicState]{
		{name: "TOPIC", value: func(s topicState) string { return s.Topic }},
		{name: "WRITES", value: func(s topicState) string { return writes(s.AnonymousWrite) }},
		{name: "ORIGINS", value: func(s topicState) string { return origins(s.Origins) }},
	})
}

// topicArg names a CLS topic on the command line.
type topicArg struct {
	Topic string `arg:"" placeholder:"TOPIC" help:"The topic's id."`
}

func (a topicArg) path(elements ...string) string {
	return escape(append([]string{"cls", a.Topic}, elements...)...)
}

type topicShowCmd struct {
	Client
	Output
	topicArg
}

func (c topicShowCmd) Run(p program) error {
	return fetch(p, c.Client, c.Output, c.path(), func(a topicState) error {
		return writeFields(p.stdout, c.Output, append([]field{{"topic", a.Topic}, {"writes", writes(a.AnonymousWrite)}, {"origins", origins(a.Origins)}}, a.fields()...)...)
	})
}

type topicSetCmd struct {
	Client
	topicArg
	AnonymousWrite *bool    `negatable:"" help:"Take writes without a signature."`
	Origin         []string `sep:"none" placeholder:"ORIGIN" help:"An origin that pages may write from, as https://shop.example, or * for any; may be given again, and replaces those that there were."`
	webRulesArgs
}

func (c topicSetCmd) Run(p program) error {
	wish := members{}
	member(wish, "anonymous_write", c.AnonymousWrite)
	if c.Origin != nil {
		wish["origins"] = given(c.Origin)
	}
	var after topicState
	return c.put(p, c.Client, c.path(), wish, &after, func() error {
		return tell(p, "topic %s: %s writes, origins %s", after.Topic, writes(after.AnonymousWrite), origins(after.Origins))
	})
}

type topicRmCmd struct {
	Client
	topicArg
}

func (c topicRmCmd) Run(p program) error { return remove(p, c.Client, c.path(), "topic "+c.Topic) }
