// Package governor keeps full resyncs from hurting everybody else: so many at
// once, so many bytes a second in all, and a growing delay for a replica that
// asks for one after another because it cannot load what it gets (some servers
// then ask hundreds of times a second).
//
// It knows nothing of what is sent. The node is its only user.
package governor
