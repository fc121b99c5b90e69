#!/usr/bin/env bash
# Asks a real API server whether it takes every overlay, with and without each
# component: `make test-k8s`. It is a dry run in a namespace that is made for it and
# removed again, so that it says the same where Ticktape runs already.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
need kubectl
[ -n "${KUBECONFIG:-}" ] || [ -f "$HOME/.kube/config" ] || die "there is no Kubernetes to ask: set KUBECONFIG to the configuration of one"
asked() { kubectl "$@"; } # whichever is the current one
asked get --raw /readyz >/dev/null 2>&1 || die "the Kubernetes of KUBECONFIG does not answer (kubectl get --raw /readyz): start it, or set KUBECONFIG to another one's configuration"

work=$BUILD/test
namespace=ticktape-test-$$
mkdir -p "$work"
trap 'kubectl delete namespace "$namespace" --ignore-not-found --wait=false >/dev/null' EXIT
sed "s/^  name: ticktape$/  name: $namespace/" "$HERE/base/namespace.yaml" | asked apply --server-side -f - >/dev/null

failed=0
try() { # OVERLAY COMPONENT…
  {
    cat <<EOF
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: $namespace
resources: [../../../deploy/k3d/overlays/$1]
patches:
  # The port may be that of a Ticktape which runs.
  - target: {kind: Service, name: dashboard-external}
    patch: |
      - {op: remove, path: /spec/ports/0/nodePort}
components:
EOF
    shift
    for component in "$@"; do say "  - ../../../deploy/k3d/components/$component"; done
  } >"$work/kustomization.yaml"
  local out
  # A warning of the pod security standard is a failure, too.
  if out=$(asked apply --server-side --force-conflicts --dry-run=server -k "$work" 2>&1) && ! printf '%s' "$out" | grep -q Warning; then
    say "ok      $overlay: $* ($(printf '%s\n' "$out" | grep -c serverside-applied) objects)"
  else
    failed=1
    say "FAILED  $overlay: $*"
    printf '%s\n' "$out" | grep -v serverside-applied | sed 's/^/    /'
  fi
}

monitoring=""
if asked get crd servicemonitors.monitoring.coreos.com podmonitors.monitoring.coreos.com >/dev/null 2>&1; then
  monitoring=monitoring
else
  say "left out: component monitoring, because this cluster does not know ServiceMonitor and PodMonitor (the Prometheus operator brings them)"
fi
for overlay in single ha; do
  try "$overlay" node-ports
  # shellcheck disable=SC2086
  try "$overlay" node-ports simulated $monitoring
done
exit $failed
