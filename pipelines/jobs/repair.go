package jobs

import (
	"context"
	"errors"

	"rowfall/sink"
	"rowfall/transform"
)

// repair compares the sink with the expectations of a row, and puts the commands that correct the
// differences into the unit. A key that holds a value of another type is overwritten if a former
// definition of a table has written it. Otherwise repair returns a *sink.KeyTypeError.
func repair(ctx context.Context, e *Engine, expected []byte) error {
	var want transform.Expectation
	expiry := e.host.Expiry()
	for len(expected) > 0 {
		expected = transform.ParseExpectation(&want, expected)
		_, err := sink.Repair(ctx, e.host.Sink(), e.host.Commands(), &want, expiry)
		var other *sink.KeyTypeError
		if errors.As(err, &other) && e.host.IsFormer(want.Key, other.Held) {
			sink.Overwrite(e.host.Commands(), &want, expiry)
			// If the next row writes a member of the same key, the sink must hold the new type.
			err = e.host.Flush(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
