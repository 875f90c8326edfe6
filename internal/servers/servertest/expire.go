package servertest

import "strings"

// ExpireTime is a key's PEXPIRETIME, in ms since 1970, for servers before Redis 7.0, too. It is negative for a key without
// a time and one that is not there. do sends a command.
func ExpireTime(do func(args ...any) (int64, error), key string) (int64, error) {
	ms, err := do("PEXPIRETIME", key)
	if err == nil || !strings.HasPrefix(err.Error(), "ERR unknown command") {
		return ms, err
	}
	// Both within one millisecond, or else they are no sum.
	const script = `local function now() local t = redis.call('TIME'); return t[1] * 1000 + math.floor(t[2] / 1000) end
		while true do
			local at, left = now(), redis.call('PTTL', KEYS[1])
			if left < 0 then return left end
			if at == now() then return at + left end
		end`
	return do("EVAL", script, 1, key)
}
