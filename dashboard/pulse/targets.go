package pulse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"ticktape/internal/service"
)

// Target is a process whose metrics are read. A name that stands for several
// addresses is as many processes, whose numbers are added up; so are several
// targets of one name.
type Target struct{ Name, URL string }

// ParseTargets reads targets as PULSE_TARGETS has them: name=url, with commas between.
func ParseTargets(list []string) ([]Target, error) {
	targets := make([]Target, 0, len(list))
	for _, text := range list {
		name, address, ok := strings.Cut(strings.TrimSpace(text), "=")
		u, err := url.Parse(address)
		if !ok || name == "" || err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, service.Settingf("PULSE_TARGETS has %q: write it like kafka-connector=http://127.0.0.1:8081/metrics,cron-connector=http://127.0.0.1:8082/metrics", text)
		}
		if u.Path == "" {
			u.Path = "/metrics"
		}
		targets = append(targets, Target{name, u.String()})
	}
	return targets, nil
}

const (
	scrapeTime = 2 * time.Second
	maxMetrics = 4 << 20
)

// families are the metrics of one process.
type families map[string]*dto.MetricFamily

func parseMetrics(text []byte) (families, error) {
	p := expfmt.NewTextParser(model.UTF8Validation)
	f, err := p.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("its metrics can't be read: %w", err)
	}
	return f, nil
}

// scrape reads the metrics of all processes that a target stands for.
func scrape(ctx context.Context, client *http.Client, t Target) ([]families, error) {
	ctx, cancel := context.WithTimeout(ctx, scrapeTime)
	defer cancel()
	u, err := url.Parse(t.URL)
	if err != nil {
		return nil, err
	}
	hosts := []string{u.Host}
	// Behind a name with several addresses is a replica at each. Over TLS the name
	// is part of what is proved.
	if ips, err := net.DefaultResolver.LookupHost(ctx, u.Hostname()); err == nil && u.Scheme == "http" && len(ips) > 1 && u.Hostname() != "localhost" {
		hosts = hosts[:0]
		for _, ip := range ips {
			hosts = append(hosts, net.JoinHostPort(ip, port(u)))
		}
	}
	var list []families
	for _, host := range hosts {
		at := *u
		at.Host = host
		f, err := read(ctx, client, at.String())
		if err != nil {
			return nil, fmt.Errorf("%s does not answer: %w", t.URL, err)
		}
		list = append(list, f)
	}
	return list, nil
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return "80"
}

func read(ctx context.Context, client *http.Client, address string) (families, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/plain")
	resp, err := client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxMetrics))
	if err != nil {
		return nil, err
	}
	return parseMetrics(b)
}

// each calls f with each metric of a family that has the labels.
func (fs families) each(name string, labels map[string]string, f func(m *dto.Metric, label func(string) string)) {
	for _, m := range fs[name].GetMetric() {
		label := func(name string) string {
			for _, l := range m.GetLabel() {
				if l.GetName() == name {
					return l.GetValue()
				}
			}
			return ""
		}
		matches := true
		for k, v := range labels {
			matches = matches && label(k) == v
		}
		if matches {
			f(m, label)
		}
	}
}

// value is the sum of a family's counters or gauges.
func (fs families) value(name string, labels map[string]string) (sum float64, found bool) {
	fs.each(name, labels, func(m *dto.Metric, _ func(string) string) {
		sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
		found = true
	})
	return sum, found
}

// buckets is a histogram as Prometheus has it, its counts not added up.
type buckets struct {
	edges  []float64 // upper bounds, without the infinite one
	counts []int64   // one more
	sum    float64
	total  int64
}

func (b *buckets) add(h *dto.Histogram) {
	if b.counts == nil {
		for _, x := range h.GetBucket() {
			if x.GetUpperBound() < 1e300 {
				b.edges = append(b.edges, x.GetUpperBound())
			}
		}
		b.counts = make([]int64, len(b.edges)+1)
	}
	var below int64
	for _, x := range h.GetBucket() {
		if i := slices.Index(b.edges, x.GetUpperBound()); i >= 0 {
			b.counts[i] += int64(x.GetCumulativeCount()) - below
			below = int64(x.GetCumulativeCount())
		}
	}
	b.counts[len(b.edges)] += int64(h.GetSampleCount()) - below
	b.sum += h.GetSampleSum()
	b.total += int64(h.GetSampleCount())
}

// since returns what has come since an earlier reading; all of it where the
// process has begun anew.
func (b buckets) since(old buckets) buckets {
	if len(old.counts) != len(b.counts) || old.total > b.total {
		return b
	}
	d := buckets{edges: b.edges, counts: make([]int64, len(b.counts)), sum: b.sum - old.sum, total: b.total - old.total}
	for i := range b.counts {
		d.counts[i] = max(b.counts[i]-old.counts[i], 0)
	}
	return d
}

func (b buckets) quantile(q float64) float64 {
	if len(b.edges) == 0 {
		return 0
	}
	return quantile(q, b.edges, b.counts, b.edges[len(b.edges)-1])
}

// reading is what the Kafka connectors say of one function.
type reading struct {
	calls, records, bytes buckets // calls in seconds
	codes                 map[string]int64
	retries, dead         int64
	stopped               []int
}

// connector adds up what the Kafka connectors say, by function.
func connector(list []families) map[string]*reading {
	out := map[string]*reading{}
	of := func(label func(string) string) *reading {
		f, _, _ := strings.Cut(label("function"), ".") // its namespace
		if out[f] == nil {
			out[f] = &reading{codes: map[string]int64{}}
		}
		return out[f]
	}
	for _, fs := range list {
		fs.each("kafka_connector_call_seconds", nil, func(m *dto.Metric, label func(string) string) {
			r := of(label)
			r.calls.add(m.GetHistogram())
			r.codes[label("code")] += int64(m.GetHistogram().GetSampleCount())
		})
		fs.each("kafka_connector_batch_records", nil, func(m *dto.Metric, label func(string) string) { of(label).records.add(m.GetHistogram()) })
		fs.each("kafka_connector_batch_bytes", nil, func(m *dto.Metric, label func(string) string) { of(label).bytes.add(m.GetHistogram()) })
		fs.each("kafka_connector_retries_total", nil, func(m *dto.Metric, label func(string) string) {
			of(label).retries += int64(m.GetCounter().GetValue())
		})
		fs.each("kafka_connector_dead_letters_total", nil, func(m *dto.Metric, label func(string) string) {
			of(label).dead += int64(m.GetCounter().GetValue())
		})
		fs.each("kafka_connector_stopped_partitions", nil, func(m *dto.Metric, label func(string) string) {
			if p, err := strconv.Atoi(label("partition")); err == nil && m.GetGauge().GetValue() > 0 {
				of(label).stopped = append(of(label).stopped, p)
			}
		})
	}
	for _, r := range out {
		slices.Sort(r.stopped)
	}
	return out
}
