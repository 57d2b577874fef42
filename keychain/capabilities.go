package keychain

// Capabilities is what a kind of device, as configured for one node, can do.
// Topology validation refuses a link whose devices cannot stage; the agent
// follows CounterBound when it decides whether a sending key may be put back.
type Capabilities struct {
	// AcceptMany is how many keys of one link the device accepts at once. Staging
	// needs two.
	AcceptMany int `json:"acceptMany"`
	// SwitchSeparate says that installing a key changes nothing that is sent.
	SwitchSeparate bool `json:"switchSeparate"`
	// Survives says that keys are still there after the device restarted.
	Survives bool `json:"survives"`
	// CounterBound says that a sending key is used with a counter (a MACsec
	// packet number, an ESP sequence number). Such a key is never put back for
	// sending once its counter is lost.
	CounterBound bool `json:"counterBound"`
}

// CannotStage says why a device with these capabilities cannot take part in a
// staged rotation, or is empty.
func (c Capabilities) CannotStage() string {
	switch {
	case c.AcceptMany < 2:
		return "it accepts one key at a time, so old and new cannot overlap"
	case !c.SwitchSeparate:
		return "installing a key on it also switches to that key"
	}
	return ""
}
