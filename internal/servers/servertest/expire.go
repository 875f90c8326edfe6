package servertest

import "strings"

// ExpireTime is a key's PEXPIRETIME, in ms since 1970, for servers before Redis 7.0, too: there it may be off by one where
// a millisecond begins just then. It is negative for a key without a time and one that is not there. do sends a command.
func ExpireTime(do func(args ...any) (int64, error), key string) (int64, error) {
	ms, err := do("PEXPIRETIME", key)
	if err == nil || !strings.HasPrefix(err.Error(), "ERR unknown command") {
		return ms, err
	}
	const script = `local left, now = redis.call('PTTL', KEYS[1]), redis.call('TIME')
		return left < 0 and left or now[1] * 1000 + math.floor(now[2] / 1000) + left`
	return do("EVAL", script, 1, key)
}
