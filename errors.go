package logbridge

import "errors"

// The kinds of error that cross package borders. Wrap them with what was being done; each outside surface has one
// table that turns a kind into its protocol's status and code.
var (
	// ErrInvalid: the input can never succeed as it is.
	ErrInvalid = errors.New("invalid")
	// ErrNotFound: the named thing does not exist.
	ErrNotFound = errors.New("not found")
	// ErrUnauthorized: who is asking could not be established.
	ErrUnauthorized = errors.New("unauthorized")
	// ErrForbidden: who is asking is known and may not do this.
	ErrForbidden = errors.New("forbidden")
	// ErrTooLarge: over a named bound.
	ErrTooLarge = errors.New("too large")
	// ErrUnavailable: a temporary condition; the same request may succeed later. After Append it means that the
	// outcome is unknown: the records may or may not be stored.
	ErrUnavailable = errors.New("temporarily unavailable")
)
