# make help lists the targets.

SHELL := /bin/bash -euo pipefail
.DEFAULT_GOAL := help

# Packages whose tests run under the race detector.
RACE := ./registry/... ./meta/... ./audit/... ./identity/... ./authn/... ./gc/... ./job/... ./blob/... ./ociapi/... ./awswire/... ./iam/... ./oci/... ./lifecycle/... ./expiry/... ./advisory/... ./scan ./replicate/...
MODULES := . tools test/conformance
GOTEST := go test -count=1 -timeout 25m

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

.PHONY: build
build: ## build bin/ecru
	CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o bin/ecru ./cmd/ecru

.PHONY: run
run: build ## build and serve on the embedded stores, with data in ./ecru-data
	./bin/ecru serve --data ./ecru-data

.PHONY: test
test: setup check unit race conformance e2e replication hostile crash ## everything: what CI runs
	@test/setup report
	@echo "make test: all stages passed"

.PHONY: setup
setup: ## install the programs that the tests call (Debian, root)
	test/setup

.PHONY: check
check: ## gofmt, go vet, staticcheck, go mod verify
	@unformatted="$$(git ls-files -co --exclude-standard -- '*.go' | xargs -r ls 2>/dev/null | xargs -r gofmt -l)"; \
	if [ -n "$$unformatted" ]; then echo "gofmt -l:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go tool -modfile=tools/go.mod staticcheck ./...
	for m in $(MODULES); do (cd $$m && go mod verify); done

.PHONY: unit
unit: ## tests of all packages but those of race and test/; and of registry and audit in full
	$(GOTEST) $$(comm -23 <(go list ./... | grep -v '/ecru/test/' | sort) <(go list $(RACE) | sort)) ./registry ./audit

.PHONY: race
race: ## tests of the core under the race detector; of crashes and of random histories only a part
	CGO_ENABLED=1 $(GOTEST) -race $$(go list $(RACE) | grep -vE '/(registry|audit)$$')
	CGO_ENABLED=1 $(GOTEST) -race -short ./registry ./audit

.PHONY: conformance
conformance: ## the official OCI conformance suite
	$(GOTEST) -v ./test/oci/...

.PHONY: e2e
e2e: ## aws, boto3, docker, podman and skopeo against a server
	$(GOTEST) -v ./test/harness/... ./test/e2e/...

.PHONY: replication
replication: ## regions as processes, on networks that are cut
	$(GOTEST) -v ./test/replication/...

.PHONY: hostile
hostile: ## bad input
	$(GOTEST) -v ./test/hostile/...

.PHONY: crash
crash: ## 25 rounds of kill -9 under load
	$(GOTEST) -v ./test/crash/... -args -rounds 25

.PHONY: kill9
kill9: ## 100 rounds of kill -9 under load
	$(GOTEST) -v -timeout 30m ./test/crash/... -args -rounds 100

FUZZTIME := 10s
.PHONY: fuzz
fuzz: ## every fuzz test for FUZZTIME (10s)
	grep -rlE --include='*_test.go' '^func Fuzz' . | xargs -r -n1 dirname | sort -u | while read -r dir; do \
		go test -list '^Fuzz' $$dir | grep '^Fuzz' | while read -r name; do \
			go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) $$dir; \
		done; \
	done

.PHONY: bench
bench: ## compare with Debian's docker-registry and with the machine's limits
	go run ./bench $(BENCH)

.PHONY: clean
clean: ## remove what make built
	rm -rf bin bench/tmp
