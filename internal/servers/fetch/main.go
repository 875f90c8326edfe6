// Command fetch makes every kind of server runnable on this machine and prints its version and
// path. It implements `make servers`. A kind that is not available on this machine is printed as
// such. It is an error only if the environment variable CI is true.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"rowfall/internal/servers"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := fetch(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func fetch(ctx context.Context) error {
	var errs []error
	for _, k := range servers.Kinds() {
		in, err := servers.Install(ctx, os.Stderr, k)
		switch {
		case err == nil:
			fmt.Printf("%-13s %-22s %s\n", k, in.Version(k), in.Path(k))
		case errors.Is(err, servers.ErrUnavailable) && os.Getenv("CI") != "true":
			fmt.Printf("%-13s not available: %v\n", k, err)
		default:
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
