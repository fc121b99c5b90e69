package service

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// SettingsError says that the process can't start with the environment it has.
// Its text names the variable and how to put it right.
type SettingsError struct{ msg string }

func (e *SettingsError) Error() string { return e.msg }

// Settingf makes a SettingsError.
func Settingf(format string, args ...any) error {
	return &SettingsError{fmt.Sprintf(format, args...)}
}

// Load reads a struct with env tags (github.com/caarlos0/env) from the
// environment. What can't be read is a SettingsError that tells every variable
// in question, what is wrong with it and what it should look like.
func Load[T any]() (T, error) {
	cfg, err := env.ParseAs[T]()
	if err == nil {
		return cfg, nil
	}
	var all env.AggregateError
	if !errors.As(err, &all) {
		return cfg, fmt.Errorf("read settings: %w", err)
	}
	fields := map[string]string{}
	variables(reflect.TypeFor[T](), "", fields)
	var msgs []string
	for _, e := range all.Errors {
		var parse env.ParseError
		var unset env.VarIsNotSetError
		var empty env.EmptyVarError
		switch {
		case errors.As(e, &parse):
			key := fields[parse.Name]
			msgs = append(msgs, fmt.Sprintf("%s=%q %s", key, os.Getenv(key), complaint(parse)))
		case errors.As(e, &unset):
			msgs = append(msgs, unset.Key+" is not set: set it")
		case errors.As(e, &empty):
			msgs = append(msgs, empty.Key+" is empty: give it a value or unset it")
		default:
			msgs = append(msgs, e.Error())
		}
	}
	return cfg, &SettingsError{strings.Join(msgs, "; ")}
}

// variables maps the names of fields, which is all that env's errors tell, to
// those of their variables.
func variables(t reflect.Type, prefix string, into map[string]string) {
	if t.Kind() != reflect.Struct {
		return
	}
	for i := range t.NumField() {
		f := t.Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("env"), ",")
		if key != "" {
			into[f.Name] = prefix + key
			continue
		}
		variables(f.Type, prefix+f.Tag.Get("envPrefix"), into)
	}
}

func complaint(e env.ParseError) string {
	t := e.Type
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "is not a duration: write it like 500ms, 10s or 24h"
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return "can't be used: " + e.Err.Error()
	}
	switch t.Kind() {
	case reflect.Bool:
		return "is neither true nor false: write 1 or 0"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "is not a whole number in range: write digits only"
	case reflect.Float32, reflect.Float64:
		return "is not a number: write it like 0.5"
	}
	return "can't be used: " + e.Err.Error()
}

// Bytes is a number of bytes. As text it is digits, with KiB, MiB or GiB
// (powers of 1024) behind them or nothing.
type Bytes int64

// ParseBytes reads text such as "65536", "512KiB" or "4MiB".
func ParseBytes(s string) (Bytes, error) {
	digits, shift := s, 0
	for i, unit := range []string{"KiB", "MiB", "GiB"} {
		if rest, ok := strings.CutSuffix(s, unit); ok {
			digits, shift = strings.TrimSpace(rest), 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64>>shift {
		return 0, errors.New("not a number of bytes: write it like 65536, 512KiB or 4MiB")
	}
	return Bytes(n << shift), nil
}

// UnmarshalText lets Bytes be the type of a setting.
func (b *Bytes) UnmarshalText(text []byte) (err error) {
	*b, err = ParseBytes(string(text))
	return err
}

func (b Bytes) String() string {
	for i, unit := range []string{"GiB", "MiB", "KiB"} {
		shift := 10 * (3 - i)
		if b != 0 && b>>shift<<shift == b {
			return strconv.FormatInt(int64(b>>shift), 10) + unit
		}
	}
	return strconv.FormatInt(int64(b), 10)
}
