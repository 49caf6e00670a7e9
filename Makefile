# Everything that is done to this tree. "make check" is the gate; .ci/run runs
# exactly that. Tools are pinned in tools/go.mod, golangci-lint in tools/lint/go.mod,
# apart from the product's own dependencies.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# Steps run one after the other: the first failure ends the gate, and each step
# uses every core by itself.
.NOTPARALLEL:

GO ?= go
TOOL := $(GO) tool -modfile=tools/go.mod
BROWSERTEST := internal/console/browsertest
# Bounds one package's tests, lest one hangs; the slowest starts and kills real processes
# for 16 minutes, and a machine may be several times as slow.
TIMEOUT ?= 90m
FUZZTIME ?= 30s
# Worlds of each storm. A failing one prints its history and the command that
# plays it again: KIND, FROM and SEEDS name it, SALT changes the order of its
# goroutines alone. VERIFY worlds of each storm are played twice and compared.
SEEDS ?= 24
STORIES ?= 200
KIND ?= ^TestStorm
FROM ?=
SALT ?= 0
VERIFY ?= $(if $(FROM),0,3)
# Ten runs are what benchstat wants before it calls a difference real.
COUNT ?= 10
# Of each cell of "make bench-pacing".
PACING_SEEDS ?= 8
# Where "make bench-scale" keeps what it found, and the parts that it measures; all.
SCALE ?= bin/scale
PARTS ?=
# How long a slice of "make soak-slice" lasts; it lives in DIR, too.
MINUTES ?= 40
soak-slice: DIR := $(if $(filter file,$(origin DIR)),bin/soak,$(DIR))
# The revision of "make upgrade-test" and "make formats": the newest release before
# this commit, or where there is none a version that a good deal was changed after.
BEFORE = $(or $(OLD),$(shell git describe --tags --abbrev=0 HEAD^ 2>/dev/null || echo 93a0f65))
# What "make demo" and "make bench-load" add to the command line.
ARGS ?=
BENCH_LOAD ?= --lanes 1,4 --batch 1,20 --probes 1000
# A run of "make chaos" lives in DIR and goes on there until EVENTS were checked.
# FAULTS, KINDS and ALLOW_SKIP are lists of names: docs/chaos.md.
DIR ?= bin/chaos
EVENTS ?= 3000
ROUND ?= 300
CHAOS = CHAOS_ALLOW_SKIP="$(ALLOW_SKIP)" CHAOS_FAULTS="$(FAULTS)" CHAOS_SEED="$(SEED)" bin/chaos.test -test.run '^TestChaos$$' -test.timeout 0
# The image's tag and version, the machine it is for, and what it trusts.
VERSION ?= dev
ARCH ?= $(shell $(GO) env GOARCH)
PLATFORMS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64
CAFILE ?= /etc/ssl/certs/ca-certificates.crt

FORMATS := cmd/weir/testdata/formats.json

.PHONY: help check upgrade-test formats console-test fmt fixed vet staticcheck lint tidy deploy-check rules test storm build dist image compose-test cluster-test soak chaos chaos-short bench bench-load bench-pacing bench-scale soak-slice fuzz demo clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

check: fmt fixed vet staticcheck tidy deploy-check rules console-test test storm ## the gate: all of the following, down to storm

fmt: ## gofmt has nothing to change
	@echo '== fmt'
	@files=$$("$$($(GO) env GOROOT)/bin/gofmt" -l .); \
	if [[ -n $$files ]]; then echo "not formatted:" $$files >&2; exit 1; fi

fixed: ## go fix has nothing to modernise
	@echo '== fixed'
	@$(GO) fix -diff ./...
	@$(GO) -C tools fix -diff ./...
	@$(GO) -C $(BROWSERTEST) fix -diff ./...

vet: ## go vet
	@echo '== vet'
	@$(GO) vet ./...
	@$(GO) vet -tags 'soak chaos pacing compose upgrade cluster' ./cmd/weir
	@$(GO) -C tools vet ./...
	@$(GO) -C $(BROWSERTEST) vet ./...

staticcheck: ## staticcheck
	@echo '== staticcheck'
	@$(TOOL) staticcheck ./...
	@$(GO) -C tools tool staticcheck ./...
	@cd $(BROWSERTEST) && $(GO) tool -modfile="$(CURDIR)/tools/go.mod" staticcheck ./...

# Not of the gate, for its time: CONTRIBUTING.md. The linter is built on first use.
lint: ## golangci-lint with .golangci.yml: all linters but those that are off for a reason
	@echo '== lint'
	@$(GO) tool -modfile=tools/lint/go.mod golangci-lint run ./...

tidy: ## go.mod and go.sum say what the source needs
	@echo '== tidy'
	@$(GO) mod tidy -diff
	@$(GO) -C tools mod tidy -diff
	@$(GO) -C $(BROWSERTEST) mod tidy -diff

# A module of its own. It needs a Chromium; SCREENSHOTS=DIR keeps a picture of each
# page.
console-test: ## the console in a real browser; a skipped test is a failure
	@echo '== console-test'
	@mkdir -p bin
	@cd $(BROWSERTEST) && $(GO) tool -modfile="$(CURDIR)/tools/go.mod" gotestsum --format pkgname --jsonfile "$(CURDIR)/bin/console-test.json" -- \
		-count=1 -timeout $(TIMEOUT) ./...
	@$(GO) -C tools run ./noskip "$(CURDIR)/bin/console-test.json"

# promtool is in Debian's package prometheus; .ci/run puts it into bin, with nothing
# that would be started.
rules: ## the alert rules: what each fires at, and what it must not fire at
	@echo '== rules'
	@promtool=$$(command -v promtool || echo bin/promtool); \
	if [[ ! -x $$promtool ]]; then \
		echo "promtool is missing: install Debian's package prometheus, or put promtool into bin" >&2; exit 1; \
	fi; \
	$$promtool check config deploy/prometheus/prometheus.yml >/dev/null && \
	$$promtool test rules deploy/prometheus/alerts_test.yml

# The race detector needs cgo. Most tests wait most of the time, so more of them run
# at once than there are cores. Nothing is printed after the test runner's
# closing line unless a test was skipped: then the gate fails. All of vet ran before.
test: ## all tests, with the race detector, shuffled; a skipped test is a failure
	@echo '== test'
	@mkdir -p bin
	@$(GO) -C tools test -count=1 ./...
	@CGO_ENABLED=1 GORACE=atexit_sleep_ms=50 $(TOOL) gotestsum --format pkgname --jsonfile bin/test.json -- \
		-race -vet=off -shuffle=on -count=1 -parallel 6 -timeout $(TIMEOUT) ./...
	@$(GO) -C tools run ./noskip "$(CURDIR)/bin/test.json"

# First more stories as goroutines happen to run, which is fifteen times as fast;
# their histories are printed, and do not replay exactly.
storm: ## small worlds in which everything goes wrong by chance; again with FROM=, SEEDS=, KIND=
	@echo '== storm'
	@mkdir -p bin
	@$(if $(FROM),,$(GO) test -run '$(KIND)' -count=1 -timeout $(TIMEOUT) ./consumer -seeds $(STORIES))
	@$(GO) -C tools build -o ../bin/storm ./storm
	@bin/storm -dir bin/worlds -run '$(KIND)' -from $(or $(FROM),0) -seeds $(SEEDS) -salt $(SALT) -verify $(VERIFY) ./consumer

build: ## bin/weir
	$(GO) build -trimpath -o bin/ ./cmd/weir

deploy-check: ## docker-compose.yml and deploy/kubernetes, as Compose's, Kubernetes' and KEDA's own libraries read them
	@echo '== deploy-check'
	@for module in deploy/composetest deploy/kubetest; do \
		$(GO) -C $$module fix -diff ./... && $(GO) -C $$module vet ./... && $(GO) -C $$module mod tidy -diff && \
		$(GO) -C $$module test -count=1 ./... || exit 1; \
	done

# The bill of materials is read from a binary, so that it names what is in it.
dist: ## bin/dist: binaries for PLATFORMS, a bill of materials, checksums (VERSION=)
	@rm -rf bin/dist
	@mkdir -p bin/dist
	@for platform in $(PLATFORMS); do \
		os=$${platform%/*}; arch=$${platform#*/}; ext=; if [[ $$os == windows ]]; then ext=.exe; fi; \
		echo "== $$platform"; \
		CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch $(GO) build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' \
			-o "bin/dist/weir_$${os}_$${arch}$$ext" ./cmd/weir; \
	done
	@$(GO) -C tools run ./sbom $(VERSION) "$(CURDIR)/bin/dist/weir_$(subst /,_,$(firstword $(PLATFORMS)))" >bin/dist/weir.cdx.json
	@cd bin/dist && sha256sum -- * >SHA256SUMS && cat SHA256SUMS

# The machine's own roots of trust go into the image.
image: ## the image weir:dev, without a network, of a binary made here (VERSION=, ARCH=)
	@rm -rf bin/image
	@mkdir -p bin/image/root/etc/ssl/certs bin/image/root/etc/weir bin/image/data/var/lib/weir
	@cp "$(CAFILE)" bin/image/root/etc/ssl/certs/ca-certificates.crt
	@chmod -R a+rX bin/image
	CGO_ENABLED=0 GOOS=linux GOARCH=$(ARCH) $(GO) build -trimpath -buildvcs=false \
		-ldflags '-s -w -X main.version=$(VERSION)' -o bin/image/root/weir ./cmd/weir
	@chmod 755 bin/image/root/weir
	docker build --quiet --no-cache --file deploy/prebuilt.Dockerfile --platform linux/$(ARCH) --build-arg VERSION=$(VERSION) \
		--build-arg REVISION="$$(git rev-parse HEAD 2>/dev/null || echo unknown)" --tag weir:$(VERSION) bin/image

compose-test: ## docker-compose.yml for real, under kills, cuts and scaling, to this version and back; wants a Docker engine; about 15 minutes
	$(GO) test -tags compose -run '^TestCompose' -count=1 -timeout 1h -v ./cmd/weir

# The old one is built of what Git has of it, with nothing but the modules that are
# there.
bin/upgrade/weir: FORCE
	@rm -rf bin/upgrade && mkdir -p bin/upgrade/source
	@git archive $(BEFORE) | tar -x -C bin/upgrade/source
	@echo "the version before: $$(git log -1 --format='%h %s' $(BEFORE))"
	@cd bin/upgrade/source && $(GO) build -trimpath -buildvcs=false -o ../weir ./cmd/weir
	@rm -rf bin/upgrade/source

upgrade-test: bin/upgrade/weir ## replicas and an embedded store taken to this version, back and forward again under load; OLD=REVISION; 25 minutes
	WEIR_OLD="$(CURDIR)/bin/upgrade/weir" $(GO) test -tags upgrade -run '^TestUpgrade' -skip '^TestUpgradeGolden$$' -count=1 -timeout 1h -v ./cmd/weir

formats: bin/upgrade/weir ## what the version before stores, written down for the tests of this one; OLD=REVISION
	WEIR_OLD="$(CURDIR)/bin/upgrade/weir" WEIR_GOLDEN="$(CURDIR)/$(FORMATS)" $(GO) test -tags upgrade -run '^TestUpgradeGolden$$' -count=1 -timeout 10m -v ./cmd/weir

cluster-test: ## backup and restore with each kind of broker, the cluster of deploy/nats among them; about a minute
	$(GO) test -tags cluster -run '^TestH19WeirRestore' -count=1 -timeout 1h -v ./cmd/weir

# The last of them wants wrk to be installed.
soak: ## weir killed 100 times with -9 under provider faults, eight replicas that come and go, the gateway under wrk; half an hour
	$(GO) test -tags soak -run TestSoak -count=1 -timeout 1h -v ./cmd/weir

# The clocks of its children can be turned; with a Go for which that is not known
# to work it is built all the same, and the run says what it leaves out.
bin/chaos.test: FORCE
	@mkdir -p bin
	@rm -rf bin/skew; $(GO) run ./internal/chaos/skew -o bin/skew || true
	@overlay=; if [[ -f bin/skew/overlay.json ]]; then overlay="-overlay bin/skew/overlay.json"; fi; \
	$(GO) test -c -tags chaos $$overlay -o $@ ./cmd/weir

FORCE:

chaos: bin/chaos.test ## real processes under every fault, in rounds; goes on where it stopped (DIR=, EVENTS=)
	@CHAOS_DIR="$(DIR)" CHAOS_EVENTS="$(EVENTS)" CHAOS_ROUND="$(ROUND)" CHAOS_KINDS="$(KINDS)" $(CHAOS)

# A folder of its own each time, which stays if there is a finding.
chaos-short: bin/chaos.test ## the cheap faults on one server, about 2 minutes
	@dir=$$(mktemp -d "$${TMPDIR:-/tmp}/weir-chaos-XXXXXX"); \
	CHAOS_SHORT=1 CHAOS_DIR="$$dir" CHAOS_EVENTS=300 CHAOS_ROUND=100 CHAOS_KINDS=one $(CHAOS); \
	rm -rf "$$dir"

bench: ## benchmarks into bin/bench.txt (COUNT=10); OLD=FILE compares with an older run
	@mkdir -p bin
	$(GO) test -run '^$$' -bench . -benchmem -count $(COUNT) ./... | tee bin/bench.txt
	$(TOOL) benchstat $(OLD) bin/bench.txt

# Whole processes, beside what the broker and the provider take alone. The page says
# what a goal that is missed is missed by.
bench-load: build ## events a second, times and costs of weir serve: docs/benchmarks/throughput.md (BENCH_LOAD=...)
	@mkdir -p docs/benchmarks
	bin/weir bench --page docs/benchmarks/throughput.md $(BENCH_LOAD)

# The page is written by the command, and says what a goal that is missed is
# missed by. On two cores that were busy with other things it took 27 minutes; what
# is measured over HTTP suffers by that.
bench-pacing: ## how full the slots are kept: docs/benchmarks/pacing.md (PACING_SEEDS=8)
	@mkdir -p docs/benchmarks
	$(GO) test -tags pacing -run '^TestBenchPacing$$' -count=1 -timeout 1h -v ./cmd/weir -seeds $(PACING_SEEDS) -page "$(CURDIR)/docs/benchmarks/pacing.md"

# Each part keeps what it found in SCALE, so that the page can be made of parts that
# were measured apart: idle backlog ledger fleet replicas batch. About half an hour.
bench-scale: bin/chaos.test ## what lanes, backlogs, ledgers, replicas and batches cost: docs/benchmarks/scale.md (PARTS=)
	@mkdir -p docs/benchmarks
	@SCALE_DIR="$(SCALE)" SCALE_PARTS="$(PARTS)" SCALE_PAGE="$(CURDIR)/docs/benchmarks/scale.md" bin/chaos.test -test.run '^TestBenchScale$$' -test.timeout 0

# A slice goes on with the store of the ones before; nothing but its last minute may be
# longer than MINUTES.
soak-slice: bin/chaos.test ## load and faults for MINUTES (at most 40), again and again in DIR, and whether anything grows
	@SOAK_DIR="$(DIR)" SOAK_MINUTES="$(MINUTES)" bin/chaos.test -test.run '^TestSoakSlice$$' -test.timeout 0

# The go command fuzzes one target at a time, so the targets are found by name.
fuzz: ## each fuzz target in turn, for FUZZTIME (30s)
	@grep -rEo --include='*_test.go' --exclude-dir=tools '^func Fuzz[A-Za-z0-9_]*' . | sort | \
	while IFS=: read -r file func; do \
		name=$${func#func }; \
		echo "== fuzz $$(dirname "$$file") $$name"; \
		$(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")" </dev/null; \
	done

demo: ## weir demo, with nothing to set up (ARGS=... are passed on)
	$(GO) run ./cmd/weir demo $(ARGS)

clean: ## remove what the other targets made
	rm -rf bin
