package loki

import (
	"fmt"

	"github.com/logbridge/logbridge"
)

// Parse reads a query. The error is one sentence that says what is wrong where, and wraps logbridge.ErrInvalid.
func Parse(query string) (Expr, error) {
	return nil, fmt.Errorf("%w: line 1, column 1: the language is not read yet", logbridge.ErrInvalid)
}

// ParseSelector reads a selector without stages, as the parameters match[] of series and query of labels have it. Other than in
// Parse, it may select everything: {} and the empty string do.
func ParseSelector(selector string) ([]Matcher, error) {
	return nil, fmt.Errorf("%w: line 1, column 1: the language is not read yet", logbridge.ErrInvalid)
}
