package k3d

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"go.yaml.in/yaml/v4"
)

// object is a Kubernetes object, or a part of one.
type object map[string]any

// at follows the keys down. It is nil where there is nothing.
func (o object) at(keys ...string) any {
	var v any = o
	for _, k := range keys {
		m, ok := v.(object)
		if !ok {
			return nil
		}
		v = m[k]
	}
	return v
}

func (o object) text(keys ...string) string { s, _ := o.at(keys...).(string); return s }
func (o object) number(keys ...string) int  { n, _ := o.at(keys...).(int); return n }

func (o object) object(keys ...string) object { m, _ := o.at(keys...).(object); return m }

func (o object) list(keys ...string) (all []object) {
	l, _ := o.at(keys...).([]any)
	for _, e := range l {
		if m, ok := e.(object); ok {
			all = append(all, m)
		}
	}
	return all
}

func (o object) kind() string { return o.text("kind") }
func (o object) name() string { return o.text("metadata", "name") }

// documents reads a file of YAML. A key that stands there twice is an error of the decoder.
func documents(t *testing.T, file string) (all []object) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	for {
		var o object
		err := dec.Decode(&o)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, o)
	}
}

// merge lays a patch over a value, as Kubernetes' strategic merge does where
// lists have names: containers, variables, volumes.
func merge(base, patch any) any {
	switch p := patch.(type) {
	case object:
		b, ok := base.(object)
		if !ok {
			return p
		}
		out := object{}
		for k, v := range b {
			out[k] = v
		}
		for k, v := range p {
			out[k] = merge(out[k], v)
		}
		return out
	case []any:
		b, _ := base.([]any)
		out := slices.Clone(b)
		for _, e := range p {
			m, ok := e.(object)
			if !ok || m["name"] == nil {
				return p
			}
			i := slices.IndexFunc(out, func(x any) bool { o, ok := x.(object); return ok && o["name"] == m["name"] })
			if i < 0 {
				out = append(out, e)
			} else {
				out[i] = merge(out[i], e)
			}
		}
		return out
	}
	return patch
}

// render does what `kubectl kustomize` does with what is used of it here:
// resources, components, and patches by kind and name. test-k8s.sh applies what
// kustomize itself makes of them.
func render(t *testing.T, folder string, into []object) []object {
	t.Helper()
	k := documents(t, filepath.Join(folder, "kustomization.yaml"))[0]
	strings := func(key string) (all []string) {
		l, _ := k.at(key).([]any)
		for _, e := range l {
			all = append(all, e.(string))
		}
		return all
	}
	for _, r := range strings("resources") {
		path := filepath.Join(folder, r)
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			into = render(t, path, into)
		} else {
			into = append(into, documents(t, path)...)
		}
	}
	for _, p := range k.list("patches") {
		for _, patch := range documents(t, filepath.Join(folder, p.text("path"))) {
			i := slices.IndexFunc(into, func(o object) bool { return o.kind() == patch.kind() && o.name() == patch.name() })
			if i < 0 {
				t.Fatalf("%s patches %s %s, which there is not", folder, patch.kind(), patch.name())
			}
			into[i] = merge(into[i], patch).(object)
		}
	}
	return into
}
