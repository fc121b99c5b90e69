#!/usr/bin/env bash
# Ticktape on k3d with OpenFaaS, from nothing to a moving chart: `make k3d-up`.
# STEP=NAME does one step by itself. Each step may be run again at any time.
# README.md has the settings.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

STEPS="cluster openfaas images secrets platform functions check"

# cluster: the registry and the cluster of cluster.yaml.
step_cluster() {
  need docker k3d kubectl
  docker info >/dev/null 2>&1 || die "docker does not answer: start it (and see that this user may use it), then run this again"
  registry
  if k3d cluster list "$CLUSTER" >/dev/null 2>&1; then
    k3d cluster start "$CLUSTER"
  else
    free_port "$FUNCTIONS_PORT" FUNCTIONS_PORT=18080
    free_port "$DASHBOARD_PORT" DASHBOARD_PORT=18090
    room
    mkdir -p "$BUILD"
    sed -e "s/127\.0\.0\.1:8080:/127.0.0.1:$FUNCTIONS_PORT:/" -e "s/127\.0\.0\.1:8090:/127.0.0.1:$DASHBOARD_PORT:/" \
      "$HERE/cluster.yaml" >"$BUILD/cluster.yaml"
    local agents=0
    [ "$OVERLAY" != ha ] || agents=2
    k3d cluster create --config "$BUILD/cluster.yaml" --agents "$agents"
  fi
  await 180 "waiting for the nodes" k wait --for=condition=Ready node --all --timeout=5s
  say "cluster $CLUSTER is ready (context $KUBE_CONTEXT)"
}

# registry: on port 5000 inside and outside, because OpenFaaS asks it from inside
# for the images that docker pushes from outside.
registry() {
  if k3d registry list k3d-registry.localhost >/dev/null 2>&1; then
    docker start k3d-registry.localhost >/dev/null
  else
    ! listens 5000 || die "port 5000 is taken, and the registry needs it: stop what has it (on macOS: System Settings, AirDrop & Handoff, AirPlay Receiver)"
    k3d registry create registry.localhost --port 127.0.0.1:5000 --no-help
  fi
  # Docker asks the system for the name, which not every Linux knows by itself.
  if command -v getent >/dev/null 2>&1 && ! getent hosts k3d-registry.localhost >/dev/null; then
    die "the name k3d-registry.localhost is not known here: echo '127.0.0.1 k3d-registry.localhost' | sudo tee -a /etc/hosts"
  fi
}

free_port() { # PORT EXAMPLE
  ! listens "$1" || die "port $1 is taken: stop what has it, or choose another, as in $2 make k3d-up"
}

# room: a warning where docker has clearly too little memory.
room() {
  local have need=6
  [ "$OVERLAY" != ha ] || need=20
  have=$(docker info --format '{{.MemTotal}}' 2>/dev/null || echo 0)
  have=$((have / 1073741824))
  [ "$have" -ge "$need" ] || say "docker has $have GiB of memory, and overlay $OVERLAY takes about $need: if pods are killed, give it more"
}

# openfaas: the Community Edition, by its own Helm chart and under its own licence.
step_openfaas() {
  need kubectl helm
  say "OpenFaaS CE has a licence of its own: https://github.com/openfaas/faas/blob/master/EULA.md"
  k apply -f "$HERE/openfaas-namespaces.yaml"
  helm --kube-context "$KUBE_CONTEXT" upgrade --install openfaas openfaas --repo https://openfaas.github.io/faas-netes/ \
    --version "$OPENFAAS_CHART" --namespace openfaas --values "$HERE/openfaas.yaml"
  await 600 "waiting for OpenFaaS" ready openfaas deployment/gateway
  say "OpenFaaS is ready"
}

# images: those of the connectors, the dashboard and the market. faas-cli makes the
# functions'. Docker is all that this needs; `make images` makes the same ones.
step_images() {
  need docker
  local name program
  for name in kafka-connector cron-connector yahoo-connector dashboard market; do
    case $name in
    *-connector) program=connectors/${name%-connector} ;;
    market) program=internal/yahoo/yahootest/cmd/yahootest ;;
    esac
    [ "$name" != market ] || [ "$SOURCE" = simulated ] || continue
    if [ "$name" = dashboard ]; then
      build dashboard -f "$ROOT/deploy/images/dashboard.Dockerfile"
    else
      build "$name" -f "$ROOT/deploy/images/connector.Dockerfile" --build-arg "PROGRAM=$program"
    fi
  done
  say "the images are in the registry"
}

# build NAME ARGUMENTS…: and push.
build() {
  local image=$REGISTRY/ticktape-$1:$TAG
  shift
  docker build -t "$image" --build-arg "VERSION=$TAG" --build-arg "GIT_REVISION=$(revision)" "$@" "$ROOT" ||
    die "$image could not be built: see above"
  docker push "$image" || die "$image could not be pushed: see above; \`make k3d-up STEP=cluster\` starts the registry"
}

revision() { printf '%s' "${GIT_REVISION:-$(git -C "$ROOT" rev-parse HEAD 2>/dev/null || echo unknown)}"; }

# secrets: made up once, in the cluster, and nowhere else. The token is that of
# triggered calls; OpenFaaS's password is copied to where the connectors can read it.
step_secrets() {
  need kubectl faas-cli
  k apply --server-side -f "$HERE/base/namespace.yaml"
  local token password
  token=$(secret ticktape trigger-token trigger-token)
  [ -n "$token" ] || token=$(secret openfaas-fn trigger-token trigger-token)
  [ -n "$token" ] || token=$(LC_ALL=C od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
  password=$(secret openfaas basic-auth basic-auth-password)
  [ -n "$password" ] || die "OpenFaaS's secret basic-auth is not there: \`make k3d-up STEP=openfaas\` installs it"
  put_secret trigger-token trigger-token "$token"
  put_secret basic-auth basic-auth-user "$(secret openfaas basic-auth basic-auth-user)" basic-auth-password "$password"
  login "$password"
  # In this order, because "create" does not replace.
  if faas secret list | grep -qw trigger-token; then
    printf '%s' "$token" | faas secret update trigger-token
  else
    printf '%s' "$token" | faas secret create trigger-token
  fi
  say "secrets are there"
}

# secret NAMESPACE NAME KEY: its value, empty where there is none.
secret() {
  k -n "$1" get secret "$2" --ignore-not-found -o "go-template={{if .data}}{{with index .data \"$3\"}}{{. | base64decode}}{{end}}{{end}}"
}

# put_secret NAME KEY VALUE…: in namespace ticktape. Values go through a pipe,
# because others can read what stands on a command line.
put_secret() {
  local name=$1
  shift
  {
    printf 'apiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\n  namespace: ticktape\n  labels: {app.kubernetes.io/part-of: ticktape}\nstringData:\n' "$name"
    while [ $# -gt 0 ]; do
      printf '  %s: "%s"\n' "$1" "$2"
      shift 2
    done
  } | k apply --server-side --force-conflicts -f - >/dev/null
}

faas() { (cd "$ROOT" && faas-cli "$@" --gateway "$GATEWAY"); }

login() {
  await 60 "waiting for the gateway at $GATEWAY" curl -fsS -o /dev/null "$GATEWAY/healthz"
  printf '%s' "$1" | faas login --username admin --password-stdin >/dev/null || die "faas-cli can't log in to $GATEWAY: is it another cluster's? FUNCTIONS_PORT tells where this one is"
}

# platform: Kafka, Cassandra, connectors and dashboard.
step_platform() {
  need kubectl
  installed
  kustomization >/dev/null
  local again=0
  ! k -n ticktape get deployment/dashboard >/dev/null 2>&1 || again=1
  k apply --server-side --force-conflicts -k "$BUILD"
  # A tag that moves names another image without saying so.
  if [ $again = 1 ] && [ "$TAG" = latest ]; then
    k -n ticktape rollout restart deployment
  fi
  local parts="statefulset/kafka statefulset/cassandra deployment/kafka-connector deployment/cron-connector deployment/yahoo-connector"
  [ "$SOURCE" != simulated ] || parts="$parts deployment/market"
  # shellcheck disable=SC2086
  await 900 "waiting for the platform" ready ticktape $parts
  say "Kafka, Cassandra and the connectors are ready"
}

# installed: refuses what would mix or lose data.
installed() {
  local is
  is=$(k -n ticktape get configmap installed --ignore-not-found -o 'jsonpath={.data.overlay} {.data.source}')
  [ -n "$is" ] || return 0
  [ "$is" = "$OVERLAY $SOURCE" ] ||
    die "this cluster has OVERLAY=${is% *} SOURCE=${is#* }, whose data fit no other: run this with those, or \`make k3d-down\` first"
}

# kustomization: the overlay, its components, and TAG in one folder, that
# `kubectl apply -k build/k3d` takes too.
kustomization() {
  mkdir -p "$BUILD"
  {
    cat <<EOF
# Written by deploy/k3d/up.sh; changes here do not last.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: ticktape
resources:
  - ../../deploy/k3d/overlays/$OVERLAY
components:
  - ../../deploy/k3d/components/node-ports
EOF
    [ "$SOURCE" != simulated ] || say "  - ../../deploy/k3d/components/simulated"
    [ "$MONITORING" != 1 ] || say "  - ../../deploy/k3d/components/monitoring"
    cat <<EOF
configMapGenerator:
  - name: installed
    literals: [overlay=$OVERLAY, source=$SOURCE]
    options: {disableNameSuffixHash: true}
images:
EOF
    local name
    for name in kafka-connector cron-connector yahoo-connector dashboard market; do
      say "  - {name: $REGISTRY/ticktape-$name, newTag: \"$TAG\"}"
    done
  } >"$BUILD/kustomization.yaml"
  say "$BUILD/kustomization.yaml"
}

# functions: builds, pushes and deploys what is in stack.yml.
step_functions() {
  need docker kubectl faas-cli
  installed
  login "$(secret openfaas basic-auth basic-auth-password)"
  GIT_REVISION=$(revision)
  export TAG GIT_REVISION
  # The stand-in speaks Yahoo's interface: the functions are told where it is, and
  # what it is.
  local market=()
  [ "$SOURCE" != simulated ] || market=(-e SOURCE=simulated -e YAHOO_URL=http://market.ticktape:8099)
  faas up -f stack.yml ${market[@]+"${market[@]}"} ||
    die "faas-cli up failed: see above; where a push failed, \`make k3d-up STEP=cluster\` starts the registry; then \`make k3d-up STEP=functions\`"
  # shellcheck disable=SC2046
  await 600 "waiting for the functions" ready openfaas-fn $(k -n openfaas-fn get deployment -l faas_function -o name)
  say "the functions are ready at $GATEWAY/function/NAME"
}

# check: waits until a tick has come all the way.
step_check() {
  need kubectl curl
  await 300 "waiting for the dashboard" ready ticktape deployment/dashboard
  await 300 "waiting for a tick in the dashboard" ticked
  local simulated=""
  ! curl -fsS "$DASHBOARD/api/status" | grep -q '"simulated":true' || simulated=", with SIMULATED prices"
  say
  say "Ticktape runs$simulated."
  say "  dashboard   $DASHBOARD"
  say "  functions   $GATEWAY/function/quotes?symbols=AAPL   (watchlist, candles, ticks: docs/api.md)"
  say "  password    kubectl --context $KUBE_CONTEXT -n openfaas get secret basic-auth -o go-template='{{index .data \"basic-auth-password\" | base64decode}}'"
  say "\`make k3d-down\` removes all of it."
}

ticked() {
  local status
  status=$(curl -fsS --max-time 5 "$DASHBOARD/api/status") || return 1
  printf '%s' "$status" | grep -qE '"live_ticks":[1-9]' || { say "the dashboard is up and no tick has come yet"; return 1; }
}

check_settings
if [ -n "${STEP:-}" ]; then
  case " $STEPS " in *" $STEP "*) ;; *) die "STEP=$STEP is no step: it is one of $STEPS" ;; esac
  "step_$STEP"
else
  need docker k3d kubectl helm faas-cli curl
  for step in $STEPS; do
    say "== $step"
    "step_$step"
  done
fi
