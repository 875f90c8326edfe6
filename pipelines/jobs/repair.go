package jobs

import (
	"context"
	"errors"

	"rowfall/sink"
	"rowfall/transform"
)

// repair puts what differs from the expectations of a row into the unit. A key of another type is
// removed if a former definition of a table explains it. Otherwise repair returns a
// *sink.KeyTypeError.
func repair(ctx context.Context, e *Engine, expected []byte) error {
	var want transform.Expectation
	for len(expected) > 0 {
		expected = transform.ParseExpectation(&want, expected)
		_, err := sink.Repair(ctx, e.host.Sink(), e.host.Commands(), &want)
		var other *sink.KeyTypeError
		if errors.As(err, &other) && e.host.IsFormer(want.Key, other.Held) {
			sink.Overwrite(e.host.Commands(), &want)
			// The next row may be a member of the same key, and must not find the old type again.
			err = e.host.Flush(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
