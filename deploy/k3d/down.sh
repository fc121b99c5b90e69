#!/usr/bin/env bash
# Removes what up.sh made: the cluster, with all data in it, and with REGISTRY=1
# the registry and the images in it.
set -euo pipefail
with_registry=${REGISTRY:-0}
. "$(dirname "$0")/lib.sh"
need docker k3d
docker info >/dev/null 2>&1 || die "docker does not answer: start it, then run this again"
if k3d cluster list "$CLUSTER" >/dev/null 2>&1; then
  k3d cluster delete "$CLUSTER"
else
  say "there is no cluster $CLUSTER"
fi
if [ "$with_registry" = 1 ]; then
  k3d registry delete k3d-registry.localhost
elif k3d registry list k3d-registry.localhost >/dev/null 2>&1; then
  say "the registry stays, with the images in it: REGISTRY=1 make k3d-down removes it too"
fi
