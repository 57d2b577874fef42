# Two commands are all that a newcomer needs: make demo, make test. Whoever works on
# a device needs make test-devices too.
GO      ?= go
VERSION ?= $(shell git describe --tags --always 2>/dev/null || echo dev)
TOOL    := $(GO) tool -modfile=tools/go.mod
FUZZTIME ?= 30s

.PHONY: build demo test test-chart test-devices race fuzz vuln verify generate bench clean

build: ## bin/keyorch and bin/keyorch-dev
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/keyorch ./cmd/keyorch
	cd e2e && $(GO) build -o ../bin/keyorch-dev ./cmd/keyorch-dev

demo: build ## three sites, one of them dead, on real servers
	bin/keyorch-dev demo

test: ## every test there is, and how many worlds the model check explored
	$(GO) test -v -run 'TestModel|TestTeeth' ./link
	$(GO) test ./...
	cd e2e && $(GO) test -timeout 45m ./...
	cd deploy/helm/charttest && $(GO) test -count=1 ./... # what it reads is outside of its module

test-chart: ## the chart on a real Kubernetes API server, which is compiled the first time: several minutes
	cd deploy/helm/kube && $(GO) test -tags chart -count=1 -timeout 30m ./...
	cd deploy/helm/charttest && $(GO) test -tags chart -count=1 -timeout 30m -run Cluster .
	cd e2e && $(GO) test -tags chart -count=1 -timeout 30m ./kube

test-devices: build ## real devices under counted traffic; it needs root, and installs Debian packages
	cd e2e && KEYORCH_BIN=$(CURDIR)/bin $(GO) test -tags devices -count=1 -p 1 -v -timeout 30m ./devices/...

race: ## the product's own tests under the race detector
	$(GO) test -race ./...

fuzz: ## every fuzz target for FUZZTIME; what they find stays in testdata/fuzz
	cd tools && $(GO) run ./fuzz -C .. -time $(FUZZTIME)

vuln: ## known vulnerabilities, against what docs/security/vulnerabilities.md explains
	cd tools/vuln && $(GO) run . -C ../..

verify: ## format, tidy, vet, lint, determinism of workflows, generated files, import directions
	@test -z "$$(gofmt -l . | tee /dev/stderr)" || { echo "run gofmt -w on these"; exit 1; }
	$(GO) mod tidy -diff
	cd e2e && $(GO) mod tidy -diff
	cd deploy/helm/charttest && $(GO) mod tidy -diff
	cd deploy/helm/kube && $(GO) mod tidy -diff
	cd deploy/helm/kube/servers && $(GO) mod tidy -diff
	cd tools/vuln && $(GO) mod tidy -diff
	$(GO) vet ./...
	cd e2e && $(GO) vet ./... && $(GO) vet -tags devices ./devices/... && $(GO) vet -tags chart ./kube
	cd deploy/helm/charttest && $(GO) vet -tags chart ./...
	cd deploy/helm/kube && $(GO) vet -tags chart ./...
	cd tools && $(GO) vet ./... && cd vuln && $(GO) vet ./... && $(GO) test ./...
	$(TOOL) staticcheck ./...
	cd e2e && $(GO) tool -modfile=../tools/go.mod staticcheck ./...
	cd e2e && $(GO) tool -modfile=../tools/go.mod staticcheck -tags devices ./devices/...
	$(TOOL) workflowcheck ./workflows
	$(GO) test .
	$(GO) test -run 'Phases|Scripts' ./link
	$(GO) test -run 'Schema|Example|Reference' ./topology ./metrics
	cd deploy/helm/charttest && $(GO) test -run 'Rendering|Readme' -count=1 .

generate: ## write generated files anew: the phase diagram, the scripts' expected output, the metrics' reference
	$(GO) test ./link ./topology ./workflows ./metrics -update
	cd deploy/helm/charttest && $(GO) test -run 'Rendering|Readme' . -update

bench: ## fleets of 1,000 and 10,000 links beside their floor, and the rules of others: docs/benchmarks.md
	cd e2e && $(GO) test -count=1 -v -run TestRules ./rules
	cd e2e && $(GO) test -run '^$$' -bench 'Fleets|Secured|Audited' -benchtime 1x -timeout 30m .

clean:
	rm -rf bin
