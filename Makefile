# "make" prints what there is. Everything runs from a fresh clone with Go alone; with npm, the console is built as well.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

TOOL := go tool -modfile=tools.mod
FUZZTIME ?= 10s
ARGS ?=
# What go test prints around a benchmark's own table is left out.
TABLE := grep --line-buffered -vE '^(goos|goarch|pkg|cpu|Benchmark|PASS|ok)'

.PHONY: help run build test crash check bench fuzz clean

help: ## Print this list.
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 8

run: build ## Start the server with a small simulated fleet and a demo page (ARGS='--http 127.0.0.1:9000' for more).
	./bin/logbridge serve --demo $(ARGS)

build: ## Build bin/logbridge, with its console if npm is there.
	@./.ci/console
	CGO_ENABLED=0 go build -trimpath -o bin/logbridge ./cmd/logbridge

# The MQTT command line tools are what a user has, and mosquitto is a broker that is not ours; strace kills the server at chosen
# system calls, and an ext4 image shows what a power cut leaves; logcli is what readers of Loki have; chromium is what web pages
# run in; zsh and fish complete commands. Without them the tests that use them say that they are skipped.
test: ## Run all tests with the race detector; the last line counts what ran and what was skipped (as root on Debian it installs mosquitto, strace, e2fsprogs, chromium, zsh and fish first).
	@./.ci/packages mosquitto:mosquitto mosquitto_sub:mosquitto-clients strace:strace mkfs.ext4:e2fsprogs
	@./.ci/packages chromium:chromium
	@./.ci/packages zsh:zsh fish:fish
	@./.ci/console
	@./.ci/logcli
	@./.ci/websdk
	@$(TOOL) gotestsum --format pkgname-and-test-fails --format-hide-empty-pkg -- -race -timeout 45m ./...

crash: ## Break the running program in every way we know, for some minutes, and count what is lost: one table.
	@./.ci/packages strace:strace mkfs.ext4:e2fsprogs
	@cd cmd/logbridge && LOGBRIDGE_TEST_CRASH=1 go test -count=1 -timeout 30m -run '^TestCrash' | grep --line-buffered -vE '^(PASS|ok|exit status)'

check: ## gofmt, vet, staticcheck, govulncheck, the console's types and the tests.
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$unformatted" ]; then echo "run gofmt -w on:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	$(TOOL) staticcheck ./...
	@./.ci/vulncheck
	@./.ci/console check
	@$(MAKE) --no-print-directory test

bench: ## Six tables: what a client sees and what the sink acknowledges, each row beside its limit in the same run; a fleet of 19 000 devices beside mosquitto; the store with 10 M records; ingest beside readers; a cluster beside an embedded server.
	@./.ci/packages strace:strace mosquitto:mosquitto
	@go test -count=1 -run '^$$' -bench '^BenchmarkTable$$' -benchtime 1x -timeout 30m ./cmd/logbridge | $(TABLE)
	@go test -count=1 -run '^$$' -bench '^BenchmarkFleet$$' -benchtime 1x -timeout 30m ./cmd/logbridge | $(TABLE)
	@go test -count=1 -run '^$$' -bench '^BenchmarkAcks$$' -benchtime 1x -timeout 30m ./sink | $(TABLE)
	@go test -count=1 -run '^$$' -bench '^BenchmarkStore$$' -benchtime 1x -timeout 30m ./sink | $(TABLE)
	@go test -count=1 -run '^$$' -bench '^BenchmarkFair$$' -benchtime 1x -timeout 30m ./sink | $(TABLE)
	@go test -count=1 -run '^$$' -bench '^BenchmarkCluster$$' -benchtime 1x -timeout 30m ./sink | $(TABLE)

fuzz: ## Run every fuzz target for FUZZTIME (10s).
	@./.ci/fuzz $(FUZZTIME)

clean: ## Remove what make has built.
	rm -rf bin
