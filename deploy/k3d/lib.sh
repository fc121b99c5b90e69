# What up.sh and down.sh have in common. Written for the bash 3.2 that macOS has.

# Where everything is. KUBE_CONTEXT is always given to kubectl and helm, so that
# no other cluster is ever touched because it happens to be the current one.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
HERE=$ROOT/deploy/k3d
BUILD=$ROOT/build/k3d

CLUSTER=ticktape
REGISTRY=k3d-registry.localhost:5000
OVERLAY=${OVERLAY:-single}
SOURCE=${SOURCE:-yahoo}
TAG=${TAG:-latest}
MONITORING=${MONITORING:-0}
FUNCTIONS_PORT=${FUNCTIONS_PORT:-8080}
DASHBOARD_PORT=${DASHBOARD_PORT:-8090}
OPENFAAS_CHART=${OPENFAAS_CHART:-15.0.6}
KUBE_CONTEXT=${KUBE_CONTEXT:-k3d-$CLUSTER}
GATEWAY=http://127.0.0.1:$FUNCTIONS_PORT
DASHBOARD=http://127.0.0.1:$DASHBOARD_PORT

say() { printf '%s\n' "$*"; }
die() {
  printf 'k3d: %s\n' "$*" >&2
  exit 1
}
k() { kubectl --context "$KUBE_CONTEXT" "$@"; }

# need TOOL…: all that are missing, in one line.
need() {
  local tool missing=""
  for tool in "$@"; do
    command -v "$tool" >/dev/null 2>&1 && continue
    case $tool in
    docker) tool="docker (docs.docker.com/engine/install)" ;;
    k3d) tool="k3d (k3d.io)" ;;
    kubectl) tool="kubectl (kubernetes.io/docs/tasks/tools)" ;;
    helm) tool="helm (helm.sh/docs/intro/install)" ;;
    faas-cli) tool="faas-cli (docs.openfaas.com/cli/install)" ;;
    esac
    missing="$missing${missing:+, }$tool"
  done
  [ -z "$missing" ] || die "missing: $missing: install that and run this again"
}

check_settings() {
  case $OVERLAY in single | ha) ;; *) die "OVERLAY=$OVERLAY is neither single nor ha: set it to one of them" ;; esac
  case $SOURCE in yahoo | simulated) ;; *) die "SOURCE=$SOURCE is neither yahoo nor simulated: set it to one of them" ;; esac
  case $MONITORING in 0 | 1) ;; *) die "MONITORING=$MONITORING is neither 0 nor 1: set it to one of them" ;; esac
}

# listens PORT: whether somebody does on loopback.
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# await SECONDS WHAT COMMAND…: runs the command until it succeeds. What the
# command prints is told every 10 seconds, and in the end where it never did.
await() {
  local limit=$1 what=$2 begun=$SECONDS told=$SECONDS detail=""
  shift 2
  until detail=$("$@" 2>&1); do
    detail=$(printf '%s' "$detail" | tail -n 1)
    if [ $((SECONDS - begun)) -ge "$limit" ]; then
      die "$what: not within $limit s (${detail:-no answer}): \`kubectl --context $KUBE_CONTEXT get pods -A\` shows what is wrong; run this again when it is mended"
    fi
    if [ $((SECONDS - told)) -ge 10 ]; then
      told=$SECONDS
      say "  … $what ($((SECONDS - begun)) s): ${detail:-no answer yet}"
    fi
    sleep 1
  done
}

# ready NAMESPACE KIND/NAME…: whether all replicas are; prints what is missing.
ready() {
  local namespace=$1 object generation seen want updated ready all missing=""
  shift
  for object in "$@"; do
    IFS=, read -r generation seen want updated ready all <<EOF
$(k -n "$namespace" get "$object" -o 'jsonpath={.metadata.generation},{.status.observedGeneration},{.spec.replicas},{.status.updatedReplicas},{.status.readyReplicas},{.status.replicas}' 2>/dev/null)
EOF
    if [ -z "$want" ] || [ "$generation" != "$seen" ] || [ "$want" != "$updated" ] || [ "$want" != "$ready" ] || [ "$want" != "$all" ]; then
      missing="$missing $object (${ready:-0} of ${want:-?})"
    fi
  done
  [ -z "$missing" ] || { say "not ready:$missing"; return 1; }
}
