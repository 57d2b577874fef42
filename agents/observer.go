package agents

import "time"

// The roles of a device, as an Observer is told of them.
const (
	RoleSends   = "upstream"
	RoleAccepts = "downstream"
	RoleBoth    = "both"
)

// Observer is told what the agent does, for metrics. Its functions are called
// from many goroutines and must not wait; one that is nil is not called.
type Observer struct {
	// Confirmed is told of an order that its device shows to be obeyed: the kind of
	// the device, the role in which the order is about it, and the time from when
	// the order was seen to when the report of it stood in the store.
	Confirmed func(kind, role string, took time.Duration)
	// DeviceFault is told of every attempt at an order that failed: the kind of the
	// device and that of the fault (package fault), as it is reported.
	DeviceFault func(kind, faultKind string)
	// Repaired is told of a device that was found other than ordered and was put
	// right.
	Repaired func(kind string)
}

func (o Observer) confirmed(kind, role string, took time.Duration) {
	if o.Confirmed != nil {
		o.Confirmed(kind, role, took)
	}
}

func (o Observer) deviceFault(kind, faultKind string) {
	if o.DeviceFault != nil {
		o.DeviceFault(kind, faultKind)
	}
}

func (o Observer) repaired(kind string) {
	if o.Repaired != nil {
		o.Repaired(kind)
	}
}
