// Command fetch makes every kind of server runnable on this machine and says which and where: it is `make servers`.
package main

import (
	"context"
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
	in, err := servers.Install(ctx, os.Stderr, servers.Kinds()...)
	if err != nil {
		return err
	}
	for _, k := range servers.Kinds() {
		fmt.Printf("%-13s %-22s %s\n", k, in.Version(k), in.Path(k))
	}
	return nil
}
