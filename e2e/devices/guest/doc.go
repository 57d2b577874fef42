// Package guest gives a test a Linux kernel of its own: a small QEMU machine with
// Debian's cloud kernel, for the devices that live in a kernel (MACsec, XFRM,
// WireGuard) and that the kernel of the test host may not have. It needs no KVM,
// installs nothing on the host and reaches nothing but the host's loopback.
//
//	g := guest.Start(t, guest.Options{
//		Programs: map[string]string{"keyorch": binary},  // static, in /disk/bin and in $PATH
//		Modules:  []string{"xfrm_user", "esp4"},         // loaded at every boot
//	})
//	a, b := g.Pair(t)                                    // two namespaces joined by a cable
//	g.Run(t, "ip", "-n", a.Name, "link")                 // wants success, gives the output
//	agent := g.Spawn(t, "agent-a", g.HostEnv(t, env), a.Args("keyorch", "agent")...)
//	flow := g.StartFlow(t, testbed.FlowSpec{From: a, To: b})
//	g.Restart(t)                                         // off and on again: only /disk is kept
//
// A Meter counts over several boots, as proof.Device wants it.
//
// Inside, 10.0.2.2 is the host's loopback: HostEnv rewrites an environment for that,
// and brings the files that it names, such as certificates. /disk is a file system that survives Restart as a disk survives a power
// cut, /disk/keep a directory on it for journals.
//
// A conformance test runs in the guest as a whole, with the test binary of its own
// file:
//
//	func TestThingConformance(t *testing.T) {
//		if !guest.Inside() {
//			guest.RunTest(t, guest.Test{Files: []string{"thing_test.go"}, Modules: …})
//			return
//		}
//		// here the kernel is the guest's, and package testbed works as on the host
//	}
package guest
