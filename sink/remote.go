package sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Remote reads from a Redis-protocol server as an application would, such as a replica or a node in
// another process. Any goroutine may call its methods.
type Remote struct {
	addr   string
	client *redis.Client
}

// RemoteValue is the value of a key. Only the field for its Type is set.
type RemoteValue struct {
	Type   string // string, hash, set, zset
	String string
	Hash   map[string]string
	Set    []string
	ZSet   map[string]float64
	// Expires is set if the key has an expiry.
	Expires bool
}

// OpenRemote returns a reader of the server at host:port. It connects at the first call; Close it.
func OpenRemote(addr, password string) *Remote {
	return &Remote{addr: addr, client: redis.NewClient(&redis.Options{
		Addr: addr, Password: password, MaxRetries: 1,
		DialTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
	})}
}

// Addr returns the server's host:port.
func (r *Remote) Addr() string { return r.addr }

// Close closes the connections.
func (r *Remote) Close() error { return r.client.Close() }

// Progress returns the position of a pipeline's data on the server. Phase is Empty if the server
// holds no position of the pipeline.
func (r *Remote) Progress(ctx context.Context, pipeline string) (Progress, error) {
	fields, err := r.client.HGetAll(ctx, PositionKey(pipeline)).Result()
	if err != nil {
		return Progress{}, fmt.Errorf("read position from %s: %w", r.addr, err)
	}
	if len(fields) == 0 {
		return Progress{}, nil
	}
	return ParseProgress(fields)
}

// Field returns one field of a hash, and whether the field exists.
func (r *Remote) Field(ctx context.Context, key, field string) (string, bool, error) {
	v, err := r.client.HGet(ctx, key, field).Result()
	if errors.Is(err, redis.Nil) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("read %s from %s: %w", key, r.addr, err)
	}
	return v, true, nil
}

// Info returns a section of INFO as text.
func (r *Remote) Info(ctx context.Context, section string) (string, error) {
	text, err := r.client.Info(ctx, section).Result()
	if err != nil {
		return "", fmt.Errorf("read INFO %s from %s: %w", section, r.addr, err)
	}
	return text, nil
}

// Do executes a command and returns its reply: a string, an int64, nil or a []any of such. An error
// reply is returned as an error.
func (r *Remote) Do(ctx context.Context, command ...string) (any, error) {
	args := make([]any, len(command))
	for i, word := range command {
		args[i] = word
	}
	reply, err := r.client.Do(ctx, args...).Result()
	if err != nil {
		return nil, fmt.Errorf("send %s to %s: %w", command[0], r.addr, err)
	}
	return reply, nil
}

// scanBatch is the number of keys that one SCAN requests.
const scanBatch = 1000

// Each calls visit once for every key with its value, in no order. Keys that are created or removed
// meanwhile may be missing. An error of visit ends Each.
func (r *Remote) Each(ctx context.Context, visit func(key string, v RemoteValue) error) error {
	seen := make(map[string]struct{})
	var cursor uint64
	for {
		keys, next, err := r.client.Scan(ctx, cursor, "", scanBatch).Result()
		if err != nil {
			return fmt.Errorf("scan %s: %w", r.addr, err)
		}
		fresh := keys[:0]
		for _, k := range keys {
			if _, ok := seen[k]; !ok {
				seen[k] = struct{}{}
				fresh = append(fresh, k)
			}
		}
		if err := r.read(ctx, fresh, visit); err != nil {
			return err
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// read calls visit for keys, with two round trips.
func (r *Remote) read(
	ctx context.Context, keys []string, visit func(string, RemoteValue) error,
) error {
	if len(keys) == 0 {
		return nil
	}
	types := make([]*redis.StatusCmd, len(keys))
	left := make([]*redis.DurationCmd, len(keys))
	if _, err := r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, k := range keys {
			types[i], left[i] = p.Type(ctx, k), p.PTTL(ctx, k)
		}
		return nil
	}); err != nil {
		return fmt.Errorf("read types from %s: %w", r.addr, err)
	}
	values := make([]redis.Cmder, len(keys))
	_, err := r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, k := range keys {
			switch types[i].Val() {
			case "string":
				values[i] = p.Get(ctx, k)
			case "hash":
				values[i] = p.HGetAll(ctx, k)
			case "set":
				values[i] = p.SMembers(ctx, k)
			case "zset":
				values[i] = p.ZRangeWithScores(ctx, k, 0, -1)
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("read values from %s: %w", r.addr, err)
	}
	for i, k := range keys {
		v := RemoteValue{Type: types[i].Val(), Expires: left[i].Val() >= 0}
		switch cmd := values[i].(type) {
		case *redis.StringCmd:
			v.String = cmd.Val()
		case *redis.MapStringStringCmd:
			v.Hash = cmd.Val()
		case *redis.StringSliceCmd:
			v.Set = cmd.Val()
		case *redis.ZSliceCmd:
			v.ZSet = make(map[string]float64, len(cmd.Val()))
			for _, z := range cmd.Val() {
				member, _ := z.Member.(string)
				v.ZSet[member] = z.Score
			}
		}
		if err := visit(k, v); err != nil {
			return err
		}
	}
	return nil
}
