package httpapi

import (
	"context"
	"iter"
	"net/http"
	"time"

	"github.com/logbridge/logbridge"
)

// Deps is everything a Server needs of the rest of the program. All of it may be called concurrently. *registry.Registry
// satisfies Products, Devices, Projects, Logstores, AccessKeys, TemporaryKeys, Topics, TopicKeys and Tokens; *levels.Levels satisfies Levels, Rules
// and Observer; *sink.Log satisfies Log and Counter. SetLevel and Overrides are functions because their types live in a package
// that this one may not know: a levels.Change converts to LevelWish and back, a levels.Override to LevelOverride.
type Deps struct {
	Products      Products
	Devices       Devices
	Projects      Projects
	Logstores     Logstores
	AccessKeys    AccessKeys
	TemporaryKeys TemporaryKeys
	Topics        Topics
	TopicKeys     TopicKeys
	Tokens        Tokens
	Levels        Levels
	Rules         Rules
	Observer      Observer
	// SetLevel sets the level of one device; nil error means durable and visible.
	SetLevel func(ctx context.Context, id logbridge.DeviceID, w LevelWish) (logbridge.LevelState, error)
	// Overrides lists the live device levels.
	Overrides func() []LevelOverride
	// Broker takes MQTT over WebSocket; nil is none.
	Broker Broker
	// Attempts bounds wrong signatures of devices; nil is no bound.
	Attempts Attempts
	// Registrations knows which devices may still fetch their key; nil is none.
	Registrations Registrations
	// RotateSeal begins to change the key that seals secrets at rest, and SealRotation says how far that is.
	RotateSeal   func() error
	SealRotation func() SealRotation
	// DeviceCount is how many devices there are; it costs nothing.
	DeviceCount func() int
	// CheckDevice says for what Devices.PutDevice would refuse a device, and changes nothing.
	CheckDevice func(d logbridge.Device) error
	// MakePSK makes a new device secret: base64 text.
	MakePSK func() string
	// AddressKey is the key under which addresses of clients are hashed; nil keeps none. It is called for each request and reads from
	// a cache.
	AddressKey func() (string, error)
	Log        Log
	// Audit is where the records of changes go; nil is Log.
	Audit Audit
	// Erase removes all records that a stream has now; nil error means that no query finds them any more.
	Erase   func(ctx context.Context, stream logbridge.Stream) error
	Counter Counter
	// Share gives a reader's part of the processors for work on what it has read, which ends with the context.
	Share func(context.Context) Share
	// Status counts what GET /status shows; nil leaves the call out.
	Status func(ctx context.Context) (Status, error)
	// Ready is nil when uploads can be stored; its error is the reason otherwise. It must not block.
	Ready func() error
	// Metrics serves /metrics; nil leaves the path out.
	Metrics http.Handler
}

// Products reads from a cache and returns ErrNotFound for what is not there. A write that returns nil is durable and
// visible to the next read; so it is for all of the registry's interfaces below.
type Products interface {
	Product(id string) (logbridge.Product, error)
	Products() []logbridge.Product
	PutProduct(ctx context.Context, p logbridge.Product) error
	DeleteProduct(ctx context.Context, id string) error
	// Location is the time zone of a product's log lines, never nil.
	Location(product string) *time.Location
}

// Devices keeps devices. DevicesAfter goes in the order of product and name from behind a device on, which need not exist;
// "" is every product.
type Devices interface {
	Device(id logbridge.DeviceID) (logbridge.Device, error)
	DevicesAfter(product string, after logbridge.DeviceID) iter.Seq[logbridge.Device]
	PutDevice(ctx context.Context, d logbridge.Device) error
	DeleteDevice(ctx context.Context, id logbridge.DeviceID) error
}

// Projects keeps SLS projects. ProjectByHost takes a Host value without port.
type Projects interface {
	SLSProject(name string) (logbridge.SLSProject, error)
	SLSProjects() []logbridge.SLSProject
	ProjectByHost(host string) (logbridge.SLSProject, bool)
	PutSLSProject(ctx context.Context, p logbridge.SLSProject) error
	DeleteSLSProject(ctx context.Context, name string) error
}

// Logstores keeps the stores of SLS projects.
type Logstores interface {
	Logstore(project, name string) (logbridge.Logstore, error)
	Logstores(project string) []logbridge.Logstore
	PutLogstore(ctx context.Context, l logbridge.Logstore) error
	DeleteLogstore(ctx context.Context, project, name string) error
}

// AccessKeys keeps the keys that sign requests to a project.
type AccessKeys interface {
	AccessKey(id string) (logbridge.AccessKey, error)
	AccessKeys(project string) []logbridge.AccessKey
	PutAccessKey(ctx context.Context, k logbridge.AccessKey) error
	DeleteAccessKey(ctx context.Context, id string) error
}

// TemporaryKeys makes and knows access keys that end by themselves. IssueTemporaryKey takes a life of zero for its default;
// ErrInvalid for one that is too short or too long, ErrNotFound for a logstore that is not there. TemporaryKey gives the key that
// a security token came with, ended or not; ErrUnauthorized if it is no token.
type TemporaryKeys interface {
	IssueTemporaryKey(ctx context.Context, project, logstore string, life time.Duration) (logbridge.TemporaryKey, error)
	TemporaryKey(token string) (logbridge.TemporaryKey, error)
}

// Topics keeps CLS topics.
type Topics interface {
	CLSTopic(id string) (logbridge.CLSTopic, error)
	CLSTopics() []logbridge.CLSTopic
	PutCLSTopic(ctx context.Context, t logbridge.CLSTopic) error
	DeleteCLSTopic(ctx context.Context, id string) error
}

// TopicKeys keeps the keys that sign uploads to a CLS topic.
type TopicKeys interface {
	TopicKey(topic, id string) (logbridge.TopicKey, error)
	TopicKeys(topic string) []logbridge.TopicKey
	PutTopicKey(ctx context.Context, k logbridge.TopicKey) error
	DeleteTopicKey(ctx context.Context, topic, id string) error
}

// Tokens knows who may call the operator API. Authenticate returns ErrUnauthorized for a token that is not good; it is a look-up
// in memory that knows at once what any node has revoked. No scope is everything.
type Tokens interface {
	Authenticate(token string) (logbridge.Token, error)
	CreateToken(ctx context.Context, name string, role logbridge.Role, expires time.Time, scope ...string) (logbridge.Token, string, error)
	Tokens() []logbridge.Token
	DeleteToken(ctx context.Context, id string) error
}

// Levels is the wanted and the seen level of every device. A write that returns nil is durable and visible. Clear returns
// ErrNotFound for a device without a level of its own, ClearBase for a product without one; Forget drops all about a device that was deleted.
// Briefs puts into out what State would say, in short. Levels and Rules record what they do and what they refuse; Refused records what is refused before they are asked.
type Levels interface {
	State(id logbridge.DeviceID) logbridge.LevelState
	Briefs(ids []logbridge.DeviceID, out []logbridge.LevelBrief)
	Base(product string) logbridge.Level
	Clear(ctx context.Context, id logbridge.DeviceID, by logbridge.Actor, reason string) error
	SetBase(ctx context.Context, product string, level logbridge.Level, by logbridge.Actor, reason string) error
	ClearBase(ctx context.Context, product string, by logbridge.Actor, reason string) error
	Forget(ctx context.Context, id logbridge.DeviceID, by logbridge.Actor) error
	Refused(ctx context.Context, of logbridge.DeviceID, what string, by logbridge.Actor, why error)
}

// Rules are the levels of all devices that a selector means. A write that returns nil is durable and in force. ErrNotFound says
// that a rule is not there, or over.
type Rules interface {
	AddRule(ctx context.Context, w logbridge.RuleWish) (logbridge.LevelRule, logbridge.RuleReach, error)
	Rule(id string) (logbridge.LevelRule, logbridge.RuleReach, error)
	Rules() []logbridge.LevelRule
	ChangeRule(ctx context.Context, id string, c logbridge.RuleChange) (logbridge.LevelRule, logbridge.RuleReach, error)
	ClearRule(ctx context.Context, id string, by logbridge.Actor, reason string) error
}

// Observer takes note of what devices do. Observe is cheap and never blocks.
type Observer interface {
	Observe(list ...logbridge.Observation)
}

// LevelWish is a level that an operator wants of one device. For is zero for the default time.
type LevelWish struct {
	Level     logbridge.Level
	For       time.Duration
	Permanent bool
	Reason    string
	By        logbridge.Actor
}

// LevelOverride is one live device level.
type LevelOverride struct {
	Device logbridge.DeviceID
	logbridge.LevelState
}

// Log is where records go and come from. Append: nil means stored for good; ErrUnavailable that the outcome is unknown;
// the batch is not kept: its memory is used again. Query and Tail end with their context; a pair with an error is the last, but for
// a *logbridge.Lost. Tail gives everything behind from in position order, then what arrives. Newest is where a Tail gives only
// what arrives; a Query that begins then sees everything up to it.
type Log interface {
	Append(ctx context.Context, b logbridge.Batch) (logbridge.Receipt, error)
	Query(ctx context.Context, q logbridge.Query) iter.Seq2[logbridge.Record, error]
	Tail(ctx context.Context, from logbridge.Position, q logbridge.Query) iter.Seq2[logbridge.Record, error]
	Newest() logbridge.Position
	Count(ctx context.Context, q logbridge.Query, by logbridge.CountBy) ([]logbridge.Count, error)
}

// Audit takes audit records; nil error means stored for good, or left out for a reason of its own.
type Audit interface {
	Append(ctx context.Context, b logbridge.Batch) (logbridge.Receipt, error)
}

// Share is held between Begin, which is false when the context is done, and End, while nothing is read. Pause lets others
// come first. *sink.Share is one.
type Share interface {
	Begin() bool
	End()
	Pause() bool
}

// Counter counts what became of every record. LedgerOf gives the sums of some streams, in their order,
// LedgerLosses those of the streams of which lines were refused or dropped. Refuse takes what is not
// stored: stream is "" when what was asked for does not exist; lines is at least 1.
type Counter interface {
	Ledger() logbridge.Ledger
	LedgerOf(streams []logbridge.Stream) []logbridge.Sums
	LedgerLosses() map[logbridge.Stream]logbridge.Sums
	Refuse(source logbridge.Source, stream logbridge.Stream, reason string, lines int)
	// Drop takes what is not stored although its sender was told that it is.
	Drop(source logbridge.Source, stream logbridge.Stream, reason string, lines int)
}
