package service

import "runtime/debug"

// version and revision are set by the linker where the build has no version
// control to ask, which is so in a container:
// -ldflags "-X ticktape/internal/service.version=… -X ticktape/internal/service.revision=…".
var version, revision string

// Version is the release that the binary belongs to, or "devel" where its build
// was told none.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

// Revision is the commit that the binary was built from, with "+dirty" behind
// it where the tree had changes, or "unknown".
func Revision() string {
	if revision != "" {
		return revision
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	var commit, dirty string
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			commit = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				dirty = "+dirty"
			}
		}
	}
	if commit == "" {
		return "unknown"
	}
	return commit + dirty
}
