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

func hget(k *Keyspace, w *resp.Writer, args [][]byte) {
	v, ok := k.fetch(w, args[1], Hash)
	if !ok {
		return
	}
	if val, ok := v.Field(args[2]); ok {
		w.Bulk(val)
		return
	}
	w.Null()
}

func hmget(k *Keyspace, w *resp.Writer, args [][]byte) {
	v, ok := k.fetch(w, args[1], Hash)
	if !ok {
		return
	}
	w.Array(len(args) - 2)
	for _, name := range args[2:] {
		if !w.OK() {
			return
		}
		if val, ok := v.Field(name); ok {
			w.Bulk(val)
		} else {
			w.Null()
		}
	}
}

func hgetall(k *Keyspace, w *resp.Writer, args [][]byte) {
	v, ok := k.fetch(w, args[1], Hash)
	if !ok {
		return
	}
	w.Map(v.Len())
	v.Fields(func(f, val []byte) bool {
		w.Bulk(f)
		w.Bulk(val)
		return w.OK()
	})
}

func hkeys(k *Keyspace, w *resp.Writer, args [][]byte) {
	v, ok := k.fetch(w, args[1], Hash)
	if !ok {
		return
	}
	w.Array(v.Len())
	v.Fields(func(f, _ []byte) bool {
		w.Bulk(f)
		return w.OK()
	})
}

func hvals(k *Keyspace, w *resp.Writer, args [][]byte) {
	v, ok := k.fetch(w, args[1], Hash)
	if !ok {
		return
	}
	w.Array(v.Len())
	v.Fields(func(_, val []byte) bool {
		w.Bulk(val)
		return w.OK()
	})
}

func hexists(k *Keyspace, w *resp.Writer, args [][]byte) {
	v, ok := k.fetch(w, args[1], Hash)
	if !ok {
		return
	}
	_, ok = v.Field(args[2])
	w.Int(flag(ok))
}

func hstrlen(k *Keyspace, w *resp.Writer, args [][]byte) {
	v, ok := k.fetch(w, args[1], Hash)
	if !ok {
		return
	}
	val, _ := v.Field(args[2])
	w.Int(int64(len(val)))
}
