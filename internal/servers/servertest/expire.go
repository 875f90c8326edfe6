package servertest

import "strings"

// ExpireTime returns the PEXPIRETIME of a key in milliseconds since 1970. It also works for
// servers older than Redis 7.0. The result is negative for a key without expiry and for a key that
// does not exist. do sends a command and returns its integer reply.
func ExpireTime(do func(args ...any) (int64, error), key string) (int64, error) {
	ms, err := do("PEXPIRETIME", key)
	if err == nil || !strings.HasPrefix(err.Error(), "ERR unknown command") {
		return ms, err
	}
	// PTTL plus the present time is the expiry if both were read in the same millisecond.
	const script = `local function now()
			local t = redis.call('TIME')
			return t[1] * 1000 + math.floor(t[2] / 1000)
		end
		while true do
			local at, left = now(), redis.call('PTTL', KEYS[1])
			if left < 0 then return left end
			if at == now() then return at + left end
		end`
	return do("EVAL", script, 1, key)
}
