# make lint builds golangci-lint in the user's cache, once for each version of Go.
LINT_VERSION := v2.7.2
LINT_DIR := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/rowfall/tools/golangci-lint-$(LINT_VERSION)-$(shell go env GOVERSION)
LINT := $(LINT_DIR)/golangci-lint

# Benchmarks that compare a node's time and memory with those of redis-server and valkey-server.
# Environment variables such as ROWFALL_ROWS set their sizes.
FIGURES := FullResync|Joins|Followers|StreamToReplica
FIGURES := $(FIGURES)|MemoryPerRow|MemoryPerMember|GC|GCMembers|WriterBesideSnapshot

.DEFAULT_GOAL := help
.PHONY: help demo test test-long build lint bench cost fuzz servers clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: build ## run MySQL, a pipeline and a cascade of real replicas, and show their latency
	bin/rowfall demo

test: ## run every test, with the race detector
	go run ./internal/servers/with go test -race -timeout 30m ./...

test-long: ## run every test, including the long scenarios
	ROWFALL_LONG=1 go run ./internal/servers/with go test -race -timeout 60m ./...

build: ## build bin/rowfall
	go build -o bin/rowfall ./cmd/rowfall

lint: $(LINT) ## check format, style and the allowed imports of each package
	$(LINT) fmt --diff ./...
	$(LINT) run ./...

bench: servers ## measure throughput, latency and memory, and compare them with real servers
	go test -v -count=1 -timeout 60m -run '^TestBench' -tags bench ./internal/bench
	go test -count=1 -timeout 60m -p 1 -run '^$$' -bench '^Benchmark($(FIGURES))$$' -benchtime 1x ./replication ./replication/keyspace

cost: ## measure the CPU time of a row in each stage, from the binlog to a replica
	go test -count=1 -p 1 -run '^$$' -bench '^BenchmarkCost' ./binlog/... ./transform \
		./pipelines ./sink ./replication/...

fuzz: ## run each fuzz target for 10 seconds
	go run ./internal/fuzzall -time 10s

servers: ## fetch the database servers that demo and test use
	go run ./internal/servers/fetch

clean: ## remove bin, but not the user's cache
	rm -rf bin

$(LINT):
	GOBIN=$(LINT_DIR) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
