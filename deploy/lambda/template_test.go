package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"ticktape/internal/lambda"
	"ticktape/internal/live"
	"ticktape/internal/service"
	"ticktape/internal/store"
)

// template is what the tests read of template.yaml. A function of CloudFormation
// is what it is given: of !Ref X there is X.
type template struct {
	Globals   struct{ Function properties }
	Resources map[string]struct {
		Type       string
		Properties properties
	}
}

type properties struct {
	// Of functions.
	Runtime, Handler, CodeUri, FunctionName string
	Architectures                           []string
	MemorySize, Timeout                     int
	ReservedConcurrentExecutions            int
	Environment                             struct{ Variables map[string]any }
	EventInvokeConfig                       struct{ MaximumRetryAttempts *int }
	Events                                  map[string]struct {
		Type       string
		Properties struct {
			ScheduleExpression, Path, Method, PayloadFormatVersion string
		}
	}
	// Of event source mappings.
	StartingPosition                    string
	Topics                              []string
	BatchSize                           int
	AmazonManagedKafkaEventSourceConfig []any
	SelfManagedKafkaEventSourceConfig   []any
	FunctionResponseTypes               []any
	DestinationConfig                   []any
	// Of alarms.
	MetricName string
	Dimensions []struct{ Name, Value string }
}

func readTemplate(t *testing.T) (all template, names []string) {
	t.Helper()
	text, err := os.ReadFile("template.yaml")
	var tree map[string]any
	if err == nil {
		err = yaml.Unmarshal(text, &tree)
	}
	if err == nil {
		text, err = json.Marshal(tree)
	}
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		t.Fatal(err)
	}
	if names, err = functions(filepath.Join("..", "..")); err != nil {
		t.Fatal(err)
	}
	return all, names
}

// resource is the name of a function's resource.
func resource(name string) string { return strings.ToUpper(name[:1]) + name[1:] }

func TestTheTemplateHasEachFunctionAsItIsBuilt(t *testing.T) {
	all, names := readTemplate(t)
	global := all.Globals.Function
	if global.Runtime != "provided.al2023" || global.Handler != "bootstrap" || !slices.Equal(global.Architectures, []string{"Architecture"}) {
		t.Errorf("runtime %s, handler %s, architectures %v", global.Runtime, global.Handler, global.Architectures)
	}
	var found, alarmed []string
	for _, r := range all.Resources {
		if r.Type == "AWS::Serverless::Function" {
			found = append(found, strings.TrimPrefix(r.Properties.FunctionName, "${AWS::StackName}-"))
		}
		if r.Type == "AWS::CloudWatch::Alarm" && r.Properties.MetricName == "Errors" {
			alarmed = append(alarmed, strings.ToLower(r.Properties.Dimensions[0].Value))
		}
	}
	slices.Sort(found)
	slices.Sort(alarmed)
	if !slices.Equal(found, names) || !slices.Equal(alarmed, names) {
		t.Errorf("the template has %v and alarms of %v, functions/ has %v", found, alarmed, names)
	}
	known := settingsOf(reflect.TypeFor[lambda.Config]())
	for _, name := range names {
		p := all.Resources[resource(name)].Properties
		if p.CodeUri != "../../build/lambda/"+name+".zip" {
			t.Errorf("%s: CodeUri %s", name, p.CodeUri)
		}
		limit, err := service.ParseBytes(p.Environment.Variables["GOMEMLIMIT"].(string))
		if memory := service.Bytes(p.MemorySize) << 20; err != nil || limit < memory*8/10 || limit > memory*95/100 {
			t.Errorf("%s: GOMEMLIMIT %v is not within 80 and 95 %% of MemorySize %d (%v)", name, limit, p.MemorySize, err)
		}
		for _, key := range []string{"CLAIMS", "REPORT_BATCH_ITEM_FAILURES", "REPEAT_EVERY", "REPEAT_FOR"} {
			if _, set := p.Environment.Variables[key]; set && !slices.Contains(known, key) {
				t.Errorf("%s sets %s, which is no setting", name, key)
			}
		}
		// Who may change something by HTTP, and only who may, has the token.
		asked := p.Events["Request"]
		_, token := p.Environment.Variables["SECRET_TRIGGER_TOKEN"]
		if token != (name == "watchlist" || name == "backfill") {
			t.Errorf("%s has the token: %v", name, token)
		}
		if asked.Type != "" && (asked.Type != "HttpApi" || asked.Properties.Path != "/function/"+name || asked.Properties.Method != "ANY" || asked.Properties.PayloadFormatVersion != "2.0" || p.Timeout >= 30) {
			t.Errorf("%s is asked by %+v within %d s; an HTTP API waits 30 s", name, asked, p.Timeout)
		}
		if s := p.Events["Schedule"]; s.Type != "" && (s.Properties.ScheduleExpression != "rate(1 minute)" || p.Timeout > 60 || p.EventInvokeConfig.MaximumRetryAttempts == nil || *p.EventInvokeConfig.MaximumRetryAttempts != 0) {
			t.Errorf("%s: schedule %+v, timeout %d s, retries %v", name, s, p.Timeout, p.EventInvokeConfig.MaximumRetryAttempts)
		}
	}
	if alone := all.Resources["Fetch"].Properties.ReservedConcurrentExecutions; alone != 1 {
		t.Errorf("fetch may run %d times at once, and must run alone", alone)
	}
}

// settingsOf are the variables that a struct is read from.
func settingsOf(t reflect.Type) (names []string) {
	for i := range t.NumField() {
		names = append(names, t.Field(i).Tag.Get("env"))
	}
	return names
}

func TestTheTemplateDeliversEachRecordUntilItIsDone(t *testing.T) {
	all, _ := readTemplate(t)
	cassandra, err := store.ConfigFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"process", "persist"} {
		f, m := all.Resources[resource(name)].Properties, all.Resources[resource(name)+"Ticks"].Properties
		group := map[string]any{"ConsumerGroupId": name}
		if m.StartingPosition != "TRIM_HORIZON" || !slices.Equal(m.Topics, []string{"ticks"}) || m.BatchSize < 1000 ||
			!reflect.DeepEqual(m.AmazonManagedKafkaEventSourceConfig, []any{"Msk", group, "AWS::NoValue"}) || !reflect.DeepEqual(m.SelfManagedKafkaEventSourceConfig, []any{"Msk", "AWS::NoValue", group}) {
			t.Errorf("%s: %+v", name, m)
		}
		// Of the two one without the other loses records, or repeats too much.
		if !reflect.DeepEqual(m.FunctionResponseTypes, []any{"Provisioned", []any{"ReportBatchItemFailures"}, "AWS::NoValue"}) ||
			!reflect.DeepEqual(f.Environment.Variables["REPORT_BATCH_ITEM_FAILURES"], []any{"Provisioned", "true", "false"}) {
			t.Errorf("%s: FunctionResponseTypes %v, REPORT_BATCH_ITEM_FAILURES %v", name, m.FunctionResponseTypes, f.Environment.Variables["REPORT_BATCH_ITEM_FAILURES"])
		}
		if len(m.DestinationConfig) != 3 || m.DestinationConfig[0] != "Queue" || m.DestinationConfig[2] != "AWS::NoValue" {
			t.Errorf("%s gives up by default: %v", name, m.DestinationConfig)
		}
		if limit := time.Duration(f.Timeout) * time.Second; limit < live.Quiet+4*cassandra.Timeout {
			t.Errorf("%s has %s, too little to wait for %s and to read and write with CASSANDRA_TIMEOUT %s", name, limit, live.Quiet, cassandra.Timeout)
		}
	}
	if all.Resources["Process"].Properties.Environment.Variables["CLAIMS"] != strconv.FormatBool(true) {
		t.Error("process makes no claims, so that each of its calls waits 6 seconds")
	}
	if got := slices.Sorted(maps.Keys(all.Resources["Persist"].Properties.Environment.Variables)); slices.Contains(got, "CLAIMS") {
		t.Error("persist makes claims, which it has no use for")
	}
}
