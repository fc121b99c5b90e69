// Command aws-lambda is the process around a function's handler on AWS Lambda: the
// bootstrap of a custom runtime (provided.al2023), built by `make lambda`.
// deploy/lambda/README.md lists its settings.
package main

import (
	"cmp"
	"context"
	"os"
	// The runtime has no time zone database, and exchanges keep local time.
	_ "time/tzdata"

	runtime "github.com/aws/aws-lambda-go/lambda"

	"ticktape/internal/lambda"
	"ticktape/internal/service"
	"ticktape/template/aws-lambda/function"
)

func main() {
	service.Main(cmp.Or(os.Getenv("AWS_LAMBDA_FUNCTION_NAME"), "function"), run)
}

func run(ctx context.Context) error {
	if os.Getenv("AWS_LAMBDA_RUNTIME_API") == "" {
		return service.Settingf("AWS_LAMBDA_RUNTIME_API is not set: this program is started by AWS Lambda, or by its runtime interface emulator (deploy/lambda/README.md)")
	}
	adapter, err := lambda.New(function.Handle)
	if err != nil {
		return err
	}
	// It returns never, and ends the process where AWS's side is gone.
	go runtime.StartWithOptions(adapter)
	<-ctx.Done()
	adapter.Drain()
	return nil
}
