package httpapi

import "github.com/logbridge/logbridge"

// StoreRules (exported since the OpenAPI generator sees only such) is what a logstore or a topic asks of its writers, without the tokens.
type StoreRules struct {
	WriteTokens int                  `json:"write_token_count" doc:"how many write tokens there are; with any, an anonymous write must bring one"`
	Limits      logbridge.WebLimits  `json:"limits" doc:"what may be written; what is not there is as the server's settings say"`
	Privacy     logbridge.WebPrivacy `json:"privacy" doc:"what is kept of the people behind; likewise"`
}

// StoreRulesChange changes them: a member that is there replaces the former one as a whole.
type StoreRulesChange struct {
	WriteTokens *[]string             `json:"write_tokens,omitempty" maxItems:"4" doc:"what an anonymous write must bring one of, 16 to 128 letters, digits or - _ . ~; none is no such demand; never shown again"`
	Limits      *logbridge.WebLimits  `json:"limits,omitempty" doc:"replaces the former ones as a whole"`
	Privacy     *logbridge.WebPrivacy `json:"privacy,omitempty" doc:"replaces the former one as a whole"`
}

func viewRules(w logbridge.WebRules) StoreRules {
	return StoreRules{WriteTokens: len(w.WriteTokens), Limits: w.Limits, Privacy: w.Privacy}
}

func (b StoreRulesChange) apply(to *logbridge.WebRules) {
	set(&to.WriteTokens, b.WriteTokens)
	set(&to.Limits, b.Limits)
	set(&to.Privacy, b.Privacy)
}
