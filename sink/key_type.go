package sink

import (
	"errors"
	"fmt"

	"rowfall/replication/keyspace"
)

// KeyTypeError is returned if a key holds a value of another type than the mapping writes there.
type KeyTypeError struct {
	Key string
	// Held is the type of the value, such as "string".
	Held string
}

// Error names the key and the remedy.
func (e *KeyTypeError) Error() string {
	return fmt.Sprintf("the key %.200q holds a %s, which the mapping has not written: "+
		"give the output another key, or replace all data with --from snapshot --replace",
		e.Key, e.Held)
}

// ExplainKeyType adds a *KeyTypeError to err if a keyspace has rejected a unit because a key holds
// a value of another type.
func ExplainKeyType(ks *keyspace.Keyspace, err error) error {
	var stage *keyspace.StageError
	if !errors.As(err, &stage) || stage.Key == "" {
		return err
	}
	var buffer []byte
	reply, e := ReadKeyspace(ks, &buffer, [][]byte{[]byte("TYPE"), []byte(stage.Key)})
	if e != nil || string(reply.Text) == "none" {
		return err
	}
	return fmt.Errorf("%w: %w", &KeyTypeError{stage.Key, string(reply.Text)}, err)
}
