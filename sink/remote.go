package sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Remote is a Redis-protocol server read from outside, as any application would:
// a replica, or a node in another process. Its methods may be called by many
// goroutines.
type Remote struct {
	addr   string
	client *redis.Client
}

// RemoteValue is what a key of a remote server holds; the field that Type names
// is filled.
type RemoteValue struct {
	Type   string // string, hash, set, zset
	String string
	Hash   map[string]string
	Set    []string
	ZSet   map[string]float64
}

// OpenRemote returns a reader of the server at host:port; nothing is connected
// before the first call. Close it.
func OpenRemote(addr, password string) *Remote {
	return &Remote{addr: addr, client: redis.NewClient(&redis.Options{
		Addr: addr, Password: password, MaxRetries: 1, DialTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
	})}
}

// Addr returns the server's host:port.
func (r *Remote) Addr() string { return r.addr }

// Close ends the connections.
func (r *Remote) Close() error { return r.client.Close() }

// Progress returns where the server's data of a pipeline stands; Phase is Empty
// where it holds none.
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

// Field returns one field of a hash, and whether it is there.
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

// scanBatch is how many keys are asked for in one round trip.
const scanBatch = 1000

// Each visits every key once, with what it holds, in no order. Keys that come or
// go meanwhile may be seen or not.
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

func (r *Remote) read(ctx context.Context, keys []string, visit func(string, RemoteValue) error) error {
	if len(keys) == 0 {
		return nil
	}
	types := make([]*redis.StatusCmd, len(keys))
	if _, err := r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, k := range keys {
			types[i] = p.Type(ctx, k)
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
		v := RemoteValue{Type: types[i].Val()}
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
