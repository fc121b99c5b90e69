# `make help` lists the targets. Settings are environment variables, as in
#   FUNCTIONS_PORT=18080 SOURCE=simulated make run

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: k3d-up k3d-down test-k8s lambda screenshots bench bench-quick profile help run stop status test try lint build images test-images test-compose generate tools clean distclean fuzz bin test-monitoring

# Tools are pinned here and nowhere else.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.7.0
GOFUMPT := mvdan.cc/gofumpt@v0.9.2

# Messages that are used again rather than made anew come from pools.
POOLS := ,pool=ticktape/internal/trigger/triggerpb.Batch,pool=ticktape/internal/chunk/chunkpb.Chunk

help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "Settings of make run (environment variables, with what they are by default):"
	@sed -n 's/^#> /  /p' $(MAKEFILE_LIST)

#> SOURCE=auto            yahoo, simulated, or auto: Yahoo if it answers within 5 s, else simulated
#> SYMBOLS=…              what the watch list has at first, as in SYMBOLS=AAPL,MSFT,BTC-USD
#> FUNCTIONS_PORT=8080 DASHBOARD_PORT=8090 KAFKA_PORT=9092 CASSANDRA_PORT=9042
#> KAFKA_BROKERS= CASSANDRA_HOSTS=        addresses of servers of your own, instead of those that are started
#> KAFKA_HEAP=512m CASSANDRA_HEAP=1g
#> YAHOO_STREAM=…         1 streams prices beside polling, 0 does not; by default real ones are streamed, simulated ones not
#> MARKET_SYMBOLS=20 MARKET_SPEED=1 MARKET_SEED=1 MARKET_HOURS=0    the simulated market
#> BASIC_AUTH=0           1 asks for a password to deploy and list functions
#> PPROF=0                1 serves Go's profiles of every process on loopback; make status lists where
#> TICKTAPE_DIR=build/run    data, logs, secrets
#> TICKTAPE_CACHE=build      downloaded jars

run: tools bin ## start everything and show where to look
	@exec build/local run

stop: bin ## stop what make run started; the data stay
	@exec build/local stop

status: bin ## show each part: state, pid, port, memory, restarts
	@exec build/local status

test: ## all tests: unit, property, integration on real servers, the web page, end to end
	@deploy/local/tools.sh test
	@$(MAKE) --no-print-directory bin
	@exec build/local test

try: ## send a function its example request, as in make try FN=quotes
	@[ -f "functions/$(FN)/example.curl" ] || { echo "say which function: make try FN=quotes (or $$(ls -m functions))" >&2; exit 1; }
	@token="$${TICKTAPE_DIR:-build/run}/functions/secrets/trigger-token"; grep -h '^#' functions/$(FN)/example.curl; \
	curl -sS -i -K functions/$(FN)/example.curl --connect-to "::127.0.0.1:$${FUNCTIONS_PORT:-8080}" \
	$$(grep -q 'Needs the token' functions/$(FN)/example.curl && [ -r "$$token" ] && echo "-H X-Trigger-Token:$$(cat "$$token")") && echo || \
	{ echo "make run starts the functions; FUNCTIONS_PORT tells where they are, if not on 8080" >&2; exit 1; }

test-monitoring: ## the alerts and the Grafana dashboard, by Prometheus' promtool (PROMTOOL=…)
	@tool=$$(realpath "$$(command -v "$${PROMTOOL:-promtool}")" 2>/dev/null) || { echo "promtool is missing: apt-get install prometheus, or PROMTOOL=path to it" >&2; exit 1; }; \
	PROMTOOL="$$tool" go test ./deploy/monitoring -count 1 -run Promtool -v

lint: ## gofumpt, vet and staticcheck
	@unformatted=$$(go run $(GOFUMPT) -l $$(git ls-files '*.go' | grep -v -e '\.pb\.go$$' -e '_vtproto\.pb\.go$$')); \
	if [ -n "$$unformatted" ]; then echo "gofumpt would change:"; echo "$$unformatted" | sed 's/^/    /'; exit 1; fi
	go vet ./...
	go run $(STATICCHECK) ./...

bench: tools ## measure everything, about half an hour; docs/performance.md explains it
	@deploy/local/tools.sh bench || echo "       … going on without: what needs it will fail"
	@exec go run ./bench all

bench-quick: tools ## the main figures in two minutes
	@exec go run ./bench quick

profile: tools ## CPU and heap profiles of every process while it works through a backlog
	@deploy/local/tools.sh profile || echo "       … going on without: Java's methods will not be told"
	@exec go run ./bench profile

build: tools bin ## build every program and the web page
	@exec build/local build

lambda: ## build the functions for AWS Lambda into build/lambda (LAMBDA_ARCH=arm64)
	@go run ./deploy/lambda

screenshots: ## take the dashboard's pictures in docs/ again
	@deploy/local/tools.sh test
	cd dashboard/web && npm ci --no-audit --no-fund --loglevel=error && npm run build
	go build -o build/bin/serve ./dashboard/feedtest/serve
	cd dashboard/web && SERVE=$(CURDIR)/build/bin/serve SHOTS=$(CURDIR)/docs CHROMIUM=$${CHROMIUM:-$$(command -v chromium)} node test/browser/docs.mjs

generate: ## make the generated Go code again from the .proto files
	@command -v protoc >/dev/null || { echo "protoc is missing: apt-get install protobuf-compiler" >&2; exit 1; }
	go build -o build/bin/protoc-gen-go google.golang.org/protobuf/cmd/protoc-gen-go
	go build -o build/bin/protoc-gen-go-vtproto github.com/planetscale/vtprotobuf/cmd/protoc-gen-go-vtproto
	@cd internal && for proto in $$(git ls-files '*.proto'); do echo "internal/$$proto"; \
	case $$proto in chunk/*) unsafe= ;; *) unsafe=+unmarshal_unsafe ;; esac; \
	protoc --plugin=../build/bin/protoc-gen-go --plugin=../build/bin/protoc-gen-go-vtproto \
	  --go_out=. --go_opt=paths=source_relative \
	  --go-vtproto_out=. --go-vtproto_opt=paths=source_relative,features=marshal+unmarshal$$unsafe+size+pool$(POOLS) $$proto || exit 1; done

fuzz: ## try every decoder on made-up input for FUZZTIME (10s) each
	@for dir in $$(git grep -lE '^func Fuzz' -- '*_test.go' | xargs -n 1 dirname | sort -u); do \
	for target in $$(go test -list '^Fuzz' ./$$dir | grep ^Fuzz); do \
	echo "./$$dir $$target"; go test ./$$dir -run '^$$' -fuzz "^$$target$$" -fuzztime $${FUZZTIME:-10s} || exit 1; done; done

k3d-up: ## k3d with OpenFaaS, from nothing to a moving chart; deploy/k3d/README.md has the settings (STEP, OVERLAY, SOURCE, TAG)
	@exec deploy/k3d/up.sh

k3d-down: ## remove that cluster, with its data
	@exec deploy/k3d/down.sh

test-k8s: ## ask the Kubernetes of KUBECONFIG whether it takes the manifests
	@exec deploy/k3d/test-k8s.sh

images: ## build the container images; deploy/images/README.md lists them and the settings
	@exec go run ./deploy/images build

test-images: ## try the container images with docker: user, size, read-only root, health, refusals
	@exec go run ./deploy/images test

test-compose: ## try compose.yaml with docker, beside whatever runs: up, a tick, down, up, the same data
	@exec go run ./deploy/images compose

tools: ## install what is missing: Java, Maven, Node.js
	@deploy/local/tools.sh

clean: bin ## stop, and remove all data and everything built
	@build/local clean
	@rm -rf build/local build/test build/web.sum dashboard/web/dist/page

distclean: clean ## clean, and remove downloads too
	@rm -rf build dashboard/web/node_modules

bin:
	@[ -n "$$(command -v go)" ] || { echo "Go is missing: install Go 1.26 or later" >&2; exit 1; }
	@go build -o build/local ./deploy/local & pid=$$!; tenths=0; \
	while kill -0 $$pid 2>/dev/null; do \
	  sleep 0.1; tenths=$$((tenths + 1)); \
	  if [ $$((tenths % 50)) = 0 ]; then echo "       … building the runtime ($$((tenths / 10)) s)"; fi; \
	done; wait $$pid
