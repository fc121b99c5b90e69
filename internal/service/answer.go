package service

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"time"
)

// checkPatience is how long a process may take to say that it is well.
const checkPatience = 3 * time.Second

// Answer does what a program does instead of its work: with the arguments
// "-version" it says which build this is, with "-check URL" it asks that URL
// (such as http://127.0.0.1:8081/readyz) and passes the answer on, as 0 for 2xx
// and else 1. So an image that holds nothing but the program has a health check.
// done is false where the arguments ask for neither.
func Answer(name string, args []string, out io.Writer) (done bool, code int) {
	switch {
	case len(args) == 1 && (args[0] == "-version" || args[0] == "--version"):
		fmt.Fprintf(out, "%s %s (revision %s, %s, %s/%s)\n", name, Version(), Revision(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return true, ExitStopped
	case len(args) == 2 && args[0] == "-check":
		text, err := ask(args[1])
		if err != nil {
			fmt.Fprintf(out, "%s: %s\n", name, oneLine(err))
			return true, ExitFailed
		}
		fmt.Fprintln(out, text)
		return true, ExitStopped
	}
	return false, 0
}

// ask returns what url answers, or an error where that is no 2xx.
func ask(url string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), checkPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return "", fmt.Errorf("read the answer of %s: %w", url, err)
	}
	text := strings.TrimSpace(string(body))
	if resp.StatusCode/100 != 2 {
		return "", fmt.Errorf("%s answers %s: %s", url, resp.Status, text)
	}
	return text, nil
}
