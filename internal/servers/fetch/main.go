// Command fetch makes every kind of server runnable on this machine and says which and where: it is `make servers`. A kind
// that this machine has no source for is named, and no failure, unless CI is true.
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
			fmt.Printf("%-13s none: %v\n", k, err)
		default:
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
