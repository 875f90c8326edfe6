package keyspace

import "rowfall/replication/resp"

// hashReaders are the commands of hashes.
var hashReaders = map[string]*reader{
	"HGET":    {3, hget},
	"HMGET":   {-3, hmget},
	"HGETALL": {2, hgetall},
	"HKEYS":   {2, hkeys},
	"HVALS":   {2, hvals},
	"HLEN":    {2, length(Hash)},
	"HEXISTS": {3, hexists},
	"HSTRLEN": {3, hstrlen},
	"HSCAN":   {-3, collectionScan(Hash)},
}

func hget(k *Keyspace, dst []byte, proto int, args [][]byte) []byte {
	v, dst, ok := k.fetch(dst, args[1], Hash)
	if !ok {
		return dst
	}
	if val, ok := v.Field(args[2]); ok {
		return resp.AppendBulk(dst, val)
	}
	return resp.AppendNull(dst, proto)
}

func hmget(k *Keyspace, dst []byte, proto int, args [][]byte) []byte {
	v, dst, ok := k.fetch(dst, args[1], Hash)
	if !ok {
		return dst
	}
	dst = resp.AppendArray(dst, len(args)-2)
	for _, name := range args[2:] {
		if val, ok := v.Field(name); ok {
			dst = resp.AppendBulk(dst, val)
		} else {
			dst = resp.AppendNull(dst, proto)
		}
	}
	return dst
}

func hgetall(k *Keyspace, dst []byte, proto int, args [][]byte) []byte {
	v, dst, ok := k.fetch(dst, args[1], Hash)
	if !ok {
		return dst
	}
	dst = resp.AppendMap(dst, proto, v.Len())
	v.Fields(func(f, val []byte) bool {
		dst = resp.AppendBulk(resp.AppendBulk(dst, f), val)
		return true
	})
	return dst
}

func hkeys(k *Keyspace, dst []byte, _ int, args [][]byte) []byte {
	v, dst, ok := k.fetch(dst, args[1], Hash)
	if !ok {
		return dst
	}
	dst = resp.AppendArray(dst, v.Len())
	v.Fields(func(f, _ []byte) bool {
		dst = resp.AppendBulk(dst, f)
		return true
	})
	return dst
}

func hvals(k *Keyspace, dst []byte, _ int, args [][]byte) []byte {
	v, dst, ok := k.fetch(dst, args[1], Hash)
	if !ok {
		return dst
	}
	dst = resp.AppendArray(dst, v.Len())
	v.Fields(func(_, val []byte) bool {
		dst = resp.AppendBulk(dst, val)
		return true
	})
	return dst
}

func hexists(k *Keyspace, dst []byte, _ int, args [][]byte) []byte {
	v, dst, ok := k.fetch(dst, args[1], Hash)
	if !ok {
		return dst
	}
	_, ok = v.Field(args[2])
	return resp.AppendInt(dst, flag(ok))
}

func hstrlen(k *Keyspace, dst []byte, _ int, args [][]byte) []byte {
	v, dst, ok := k.fetch(dst, args[1], Hash)
	if !ok {
		return dst
	}
	val, _ := v.Field(args[2])
	return resp.AppendInt(dst, int64(len(val)))
}
