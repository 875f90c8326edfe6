// Package governor keeps full resyncs from hurting everybody else. It limits how many run at once
// and how many bytes a second they send in all, delays a replica that asks for one after another
// because it cannot load what it gets (some servers then ask hundreds of times a second), and
// limits how long a replica may take for one.
//
// It knows nothing of what is sent. The node is its only user.
package governor
