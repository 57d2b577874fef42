// Package testbed gives the tests of real devices a network of their own: network
// namespaces, daemons in them, and traffic between them that is counted packet by
// packet. All of it goes when the test ends, also when it fails, and what a killed
// test left behind goes when the next one begins.
//
// It knows nothing of keyorch. Its Flow also runs inside of the guest (package
// guest), where there is no test around it.
package testbed
