#!/usr/bin/env bash
# Makes sure that what Ticktape is built and run with is installed: Java 17 or
# 21, Maven, Node.js 18 or later with npm, and, with the argument "test", "bench"
# or "profile", what these need beside. As root on Debian or Ubuntu it installs what is
# missing; else it prints the line that does.
set -euo pipefail

missing=()     # packages
wanted=()      # what they are for, in words

need() { # what-in-words package...
	wanted+=("$1")
	shift
	missing+=("$@")
}

# Whether apt-get can install the package.
known() {
	case $(apt-cache policy "$1" 2>/dev/null) in *"Candidate: "[0-9]*) return 0 ;; esac
	return 1
}

java_found() {
	local java version
	for java in "${JAVA_HOME:-/none}/bin/java" "$(command -v java || true)" \
		/usr/lib/jvm/*17*/bin/java /usr/lib/jvm/*21*/bin/java \
		/Library/Java/JavaVirtualMachines/*17*/Contents/Home/bin/java /Library/Java/JavaVirtualMachines/*21*/Contents/Home/bin/java \
		/opt/homebrew/opt/openjdk@17/bin/java /opt/homebrew/opt/openjdk@21/bin/java; do
		[ -x "$java" ] || continue
		version=$("$java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
		case $version in 17 | 21) return 0 ;; esac
	done
	return 1
}

node_found() {
	local major
	command -v node >/dev/null && command -v npm >/dev/null || return 1
	major=$(node --version | sed 's/^v\([0-9]*\).*/\1/')
	[ "$major" -ge 18 ]
}

chromium_found() {
	[ -n "${CHROMIUM:-}" ] || command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null
}

can_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

check() { # [test | bench | profile]
	missing=() wanted=()
	java_found || need "Java 17 or 21" java
	command -v mvn >/dev/null || need "Maven" maven
	node_found || need "Node.js 18 or later with npm" nodejs npm
	case ${1:-} in
	test) chromium_found || need "Chromium" chromium ;;
	bench) command -v wrk >/dev/null || need "wrk" wrk ;;
	profile) command -v jcmd >/dev/null && command -v jfr >/dev/null || need "a JDK with jcmd and jfr" jdk ;;
	esac
}

join() { local IFS=,; local all="$*"; echo "${all//,/, }"; }

check "${1:-}"
[ ${#missing[@]} -eq 0 ] && exit 0

java_package() {
	if known openjdk-17-jre-headless; then
		echo openjdk-17-jre-headless
	else # Debian 13 and later
		echo openjdk-21-jre-headless
	fi
}

if ! can_install; then
	java=openjdk-17-jre-headless
	if command -v apt-cache >/dev/null && ! known "$java" && known openjdk-21-jre-headless; then
		java=openjdk-21-jre-headless
	fi
	packages=("${missing[@]/#java/$java}")
	packages=("${packages[@]/#jdk/${java/jre/jdk}}")
	echo "Missing: $(join "${wanted[@]}"). On Debian or Ubuntu this line installs it:" >&2
	echo "    sudo apt-get update && sudo apt-get install -y --no-install-recommends ca-certificates ${packages[*]}" >&2
	echo "Elsewhere install it as you are used to (JAVA_HOME tells where Java is), then start again." >&2
	exit 1
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT

run() { # what-in-words command...
	local what=$1 begun=$SECONDS
	shift
	"$@" >"$log" 2>&1 &
	local pid=$!
	while kill -0 "$pid" 2>/dev/null; do
		sleep 0.2
		if ((SECONDS - begun >= 2)); then
			begun=$SECONDS
			echo "       … $what: $(tail -n 1 "$log" | cut -c 1-70)"
		fi
	done
	if ! wait "$pid"; then
		echo "$what failed; the end of what it said:" >&2
		tail -n 15 "$log" | sed 's/^/    /' >&2
		echo "Check the network and /etc/apt/sources.list, then start again." >&2
		exit 1
	fi
}

export DEBIAN_FRONTEND=noninteractive
echo "Installing with apt-get: $(join "${wanted[@]}")"
run "apt-get update" apt-get update
packages=()
for p in "${missing[@]}"; do
	case $p in
	java) packages+=("$(java_package)") ;;
	jdk) packages+=("$(java_package | sed s/jre/jdk/)") ;;
	*) packages+=("$p") ;;
	esac
done
run "apt-get install" apt-get install -y --no-install-recommends -o Dpkg::Use-Pty=0 ca-certificates "${packages[@]}"

check "${1:-}"
if [ ${#missing[@]} -ne 0 ]; then
	echo "Still missing after apt-get: $(join "${wanted[@]}"). Install it by hand and start again." >&2
	exit 1
fi
echo "Installed."
