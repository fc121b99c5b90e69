// Package k3d has nothing but the tests of the manifests and scripts beside it.
package k3d
