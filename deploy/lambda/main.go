// Command lambda builds the functions for AWS Lambda: build/lambda/NAME.zip, each
// with one file, bootstrap, which the runtime provided.al2023 starts. The same
// sources give the same bytes. `make lambda` runs it.
package main

import (
	"archive/zip"
	"bytes"
	"cmp"
	"compress/flate"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"ticktape/deploy/local/run"
	"ticktape/internal/service"
)

func main() { service.Main("lambda", build) }

// architectures are Lambda's, by the names that Go, AWS and others have for them.
var architectures = map[string]string{"arm64": "arm64", "aarch64": "arm64", "amd64": "amd64", "x86_64": "amd64"}

func build(ctx context.Context) error {
	root := flag.String("root", ".", "the checkout")
	out := flag.String("out", filepath.Join("build", "lambda"), "where the archives go")
	flag.Parse()
	asked := cmp.Or(os.Getenv("LAMBDA_ARCH"), "arm64")
	arch, ok := architectures[asked]
	if !ok {
		return service.Settingf("LAMBDA_ARCH=%q is no architecture of AWS Lambda: set it to arm64 or amd64", asked)
	}
	names := flag.Args()
	if len(names) == 0 {
		var err error
		if names, err = functions(*root); err != nil {
			return err
		}
	}
	revision := revisionOf(ctx, *root)
	for _, name := range names {
		dir, err := os.MkdirTemp("", "lambda")
		if err != nil {
			return err
		}
		archive := filepath.Join(*out, name+".zip")
		size, zipped, err := pack(ctx, *root, name, arch, revision, dir, archive)
		if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
			return fmt.Errorf("build function %s: %w", name, err)
		}
		fmt.Printf("%s  linux/%s  %5.1f MB  (unpacked %.1f MB)\n", archive, arch, megabytes(zipped), megabytes(size))
	}
	return nil
}

func megabytes(bytes int64) float64 { return float64(bytes) / 1e6 }

// functions lists the folders of the functions.
func functions(root string) (names []string, err error) {
	handlers, err := filepath.Glob(filepath.Join(root, "functions", "*", "handler.go"))
	if err != nil {
		return nil, err
	}
	if len(handlers) == 0 {
		return nil, fmt.Errorf("there are no functions in %s: run this in the checkout, or name it with -root", filepath.Join(root, "functions"))
	}
	for _, h := range handlers {
		names = append(names, filepath.Base(filepath.Dir(h)))
	}
	return names, nil
}

// revisionOf is the commit that is checked out, as service.Revision has it.
func revisionOf(ctx context.Context, root string) string {
	git := func(args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, "git", args...)
		cmd.Dir = root
		out, err := cmd.Output()
		return strings.TrimSpace(string(out)), err
	}
	commit, err := git("rev-parse", "HEAD")
	if err != nil {
		return "unknown"
	}
	if changed, err := git("status", "--porcelain", "--", "go.mod", "go.sum", "internal", "functions", "template"); err == nil && changed != "" {
		commit += "+dirty"
	}
	return commit
}

// pack builds the function into a folder of its own and writes the archive.
func pack(ctx context.Context, root, name, arch, revision, dir, archive string) (size, zipped int64, err error) {
	binary, err := compile(ctx, root, name, arch, revision, dir)
	if err != nil {
		return 0, 0, err
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		return 0, 0, err
	}
	packed, err := archived(content)
	if err != nil {
		return 0, 0, err
	}
	if err := os.MkdirAll(filepath.Dir(archive), 0o755); err != nil {
		return 0, 0, err
	}
	return int64(len(content)), int64(len(packed)), os.WriteFile(archive, packed, 0o644)
}

// compile builds the function's bootstrap in dir: the template's main, with the
// function's files in the place of the sample handler.
func compile(ctx context.Context, root, name, arch, revision, dir string) (binary string, err error) {
	root, err = filepath.Abs(root)
	if err != nil {
		return "", err
	}
	overlay, err := run.Overlay(filepath.Join(root, "template", "aws-lambda", "function"), filepath.Join(root, "functions", name))
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o644); err != nil {
		return "", err
	}
	binary = filepath.Join(dir, "bootstrap")
	// lambda.norpc leaves out what only the runtime go1.x needed.
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-tags=lambda.norpc", "-overlay", file,
		"-ldflags", "-s -w -buildid= -X ticktape/internal/service.revision="+revision, "-o", binary, "./template/aws-lambda")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0")
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, complaint.Bytes())
	}
	return binary, nil
}

// archived makes an archive of the one file that the runtime wants, the same bytes
// for the same content.
func archived(bootstrap []byte) ([]byte, error) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	w.RegisterCompressor(zip.Deflate, func(out io.Writer) (io.WriteCloser, error) { return flate.NewWriter(out, flate.BestCompression) })
	header := &zip.FileHeader{Name: "bootstrap", Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)}
	header.SetMode(0o755) // the runtime runs as somebody else
	f, err := w.CreateHeader(header)
	if err == nil {
		_, err = f.Write(bootstrap)
	}
	if err == nil {
		err = w.Close()
	}
	return b.Bytes(), err
}
