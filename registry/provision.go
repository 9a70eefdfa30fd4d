package registry

import (
	"context"

	"github.com/logbridge/logbridge"
)

// Provision is what a configuration file says should be registered: its provision section (design.md 7). A pointer that
// is nil, a nil slice or map and an empty string say nothing about the field. A name of digits only that begins with 0 must
// be quoted in YAML, which takes it for an octal number otherwise.
type Provision struct {
	Products []ProvisionProduct `yaml:"products,omitempty"`
	SLS      []ProvisionProject `yaml:"sls,omitempty"`
	CLS      []ProvisionTopic   `yaml:"cls,omitempty"`
}

// ProvisionProduct is a product with its devices.
type ProvisionProduct struct {
	ID            string            `yaml:"id"`
	Secret        string            `yaml:"secret,omitempty"`
	AllowRegister *bool             `yaml:"allow_register,omitempty"`
	TimeZone      string            `yaml:"time_zone,omitempty"`
	Level         *logbridge.Level  `yaml:"level,omitempty"`
	Quota         *logbridge.Quota  `yaml:"quota,omitempty"`
	Devices       []ProvisionDevice `yaml:"devices,omitempty"`
}

// ProvisionDevice is a device. Without a PSK, a certificate (PEM) and a certificate subject, a PSK is made when the device is
// first registered.
type ProvisionDevice struct {
	Name               string            `yaml:"name"`
	PSK                string            `yaml:"psk,omitempty"`
	Certificate        string            `yaml:"certificate,omitempty"`
	CertificateSubject string            `yaml:"certificate_subject,omitempty"`
	Tags               map[string]string `yaml:"tags,omitempty"`
}

// ProvisionProject is an SLS project with its access keys and logstores.
type ProvisionProject struct {
	Project    string               `yaml:"project"`
	Hosts      []string             `yaml:"hosts,omitempty"`
	AccessKeys []ProvisionAccessKey `yaml:"access_keys,omitempty"`
	Logstores  []ProvisionLogstore  `yaml:"logstores,omitempty"`
}

// ProvisionAccessKey is an access key of a project or a topic.
type ProvisionAccessKey struct {
	ID     string `yaml:"id"`
	Secret string `yaml:"secret"`
}

// ProvisionLogstore is a logstore of a project.
type ProvisionLogstore struct {
	Name           string   `yaml:"name"`
	WebTracking    *bool    `yaml:"web_tracking,omitempty"`
	Origins        []string `yaml:"origins,omitempty"`
	ProvisionRules `yaml:",inline"`
}

// ProvisionTopic is a CLS topic with its access keys.
type ProvisionTopic struct {
	Topic          string               `yaml:"topic"`
	AnonymousWrite *bool                `yaml:"anonymous_write,omitempty"`
	Origins        []string             `yaml:"origins,omitempty"`
	AccessKeys     []ProvisionAccessKey `yaml:"access_keys,omitempty"`
	ProvisionRules `yaml:",inline"`
}

// BaseLevels is where the base level of a product is kept: *levels.Levels.
type BaseLevels interface {
	// ProductBase gives the product's own base level, and whether it has one.
	ProductBase(product string) (logbridge.Level, bool)
	// SetBase makes it durable.
	SetBase(ctx context.Context, product string, level logbridge.Level, by logbridge.Actor, reason string) error
}
