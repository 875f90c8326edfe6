package sink

import "rowfall/transform"

// message identifies what a message is about.
type message struct{ channel, row string }

// lastMessages returns the index of the last message about each channel and row, among the deferred
// commands of a unit.
func lastMessages(u *transform.Commands) map[message]int {
	var last map[message]int
	for i, d := range u.Deferred() {
		if d.Kind != transform.DeferredPublish {
			continue
		}
		if last == nil {
			last = make(map[message]int)
		}
		last[message{string(d.Key), string(d.Row)}] = i
	}
	return last
}

// resolvePublish appends the PUBLISH of a message, unless the unit has a later message about the
// same row in the same channel.
func resolvePublish(r *resolution, d *transform.Deferred) error {
	if r.lastMessages[message{string(d.Key), string(d.Row)}] == r.index {
		r.out.Append([]byte("PUBLISH"), d.Key, d.Member)
	}
	return nil
}
