// Package protocol is what a test on the host and guestd in the guest say to each
// other: a POST of JSON to one path for each call, answered with JSON, or with a
// status other than 200 and a message in plain text.
package protocol

import "time"

// Port is where guestd listens in the guest.
const Port = 9000

// The paths.
const (
	Ping    = "/ping"    // Empty → Empty
	Exec    = "/exec"    // Command → Result: runs it to its end
	Spawn   = "/spawn"   // Command → ID: starts it in the background
	Look    = "/look"    // ID → Process
	Signal  = "/signal"  // Signalled → Process: also waits for its end
	Read    = "/read"    // File, without Data → File
	Write   = "/write"   // File → Empty
	Clock   = "/clock"   // Time → Empty: sets the clock
	Flow    = "/flow"    // testbed.FlowSpec → ID
	Mark    = "/mark"    // ID → Number
	Arrived = "/arrived" // ID → Number
	Since   = "/since"   // Window → testbed.Count
	Stop    = "/stop"    // ID → testbed.Count: ends a flow
)

// Empty is nothing to say.
type Empty struct{}

// Command is a program to run. Env comes on top of guestd's own environment.
type Command struct {
	Args  []string `json:"args"`
	Stdin []byte   `json:"stdin,omitempty"`
	Env   []string `json:"env,omitempty"`
	Log   string   `json:"log,omitempty"` // the file that Spawn appends the output to
}

// Result is how a program ended.
type Result struct {
	Stdout []byte `json:"stdout"`
	Stderr []byte `json:"stderr"`
	Code   int    `json:"code"` // -1: killed by a signal
}

// ID names a process or a flow.
type ID struct {
	ID int `json:"id"`
}

// Process is a program in the background.
type Process struct {
	PID     int  `json:"pid"`
	Running bool `json:"running"`
	Code    int  `json:"code"` // once it has ended
}

// Signalled is a signal for a process and its group, and how long to wait for its
// end.
type Signalled struct {
	ID     int           `json:"id"`
	Signal int           `json:"signal"`
	Wait   time.Duration `json:"wait"`
}

// File is a file of the guest.
type File struct {
	Path string `json:"path"`
	Mode uint32 `json:"mode,omitempty"`
	Data []byte `json:"data,omitempty"`
}

// Time is the time of the host.
type Time struct {
	Now time.Time `json:"now"`
}

// Number is a count of packets.
type Number struct {
	N uint64 `json:"n"`
}

// Window is the packets of a flow from one number on.
type Window struct {
	ID   int    `json:"id"`
	From uint64 `json:"from"`
}
