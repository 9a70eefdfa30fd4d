package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/logbridge/logbridge/natsd"
)

// What a commit log must hold: the groups of several memtables, and for longer than a node takes to be started again.
const (
	leastLogAge   = age(time.Minute)
	leastLogBytes = 256 << 20
)

// checkNATS returns every rule about the NATS cluster that is broken. No fault repeats what may be secret.
func (c *Config) checkNATS() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.NATS == "" {
		if c.NATSSyncAlways || c.NATSCredentials+c.NATSNKey+c.NATSUser+c.NATSPassword+c.NATSCA+c.NATSCert+c.NATSKey != "" {
			fault("--nats-…: nothing uses these without --nats; leave them out or give it")
		}
		return errors.Join(faults...)
	}
	if err := natsd.CheckURL(c.NATS); err != nil {
		fault("--nats: %w", err)
	}
	if !c.NATSSyncAlways {
		fault("--nats: say --nats-sync-always if it is so: %w", natsd.ErrNotSynced)
	}
	if n := c.NATSReplicas; n != 1 && n != 3 && n != 5 {
		fault("--nats-replicas: use 1, 3 or 5: an even number survives no more than the odd one below it")
	}
	if c.NATSLogAge < leastLogAge {
		fault("--nats-log-age: use at least %s", time.Duration(leastLogAge))
	}
	if c.NATSLogBytes < leastLogBytes {
		fault("--nats-log-bytes: use at least %d", leastLogBytes)
	}
	logins := 0
	for _, given := range []bool{c.NATSCredentials != "", c.NATSNKey != "", c.NATSUser != "" || c.NATSPassword != ""} {
		if given {
			logins++
		}
	}
	if logins > 1 {
		fault("--nats-credentials, --nats-nkey, --nats-user: give one of them")
	}
	if (c.NATSUser == "") != (c.NATSPassword == "") {
		fault("--nats-user and --nats-password: give both or none")
	}
	if (c.NATSCert == "") != (c.NATSKey == "") {
		fault("--nats-cert and --nats-key: give both or none")
	}
	if c.Demo {
		fault("--nats: the demo runs on its own embedded server; leave one of them out")
	}
	return errors.Join(faults...)
}

// natsConfig is what the NATS of this process is to be.
func (c *Config) natsConfig() natsd.Config {
	return natsd.Config{
		Dir: filepath.Join(c.Data, "nats"),
		URL: c.NATS, SyncAlways: c.NATSSyncAlways, Replicas: c.NATSReplicas,
		Credentials: c.NATSCredentials, NKey: c.NATSNKey, User: c.NATSUser, Password: c.NATSPassword,
		CA: c.NATSCA, Cert: c.NATSCert, Key: c.NATSKey,
	}
}
