package client

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Datastore is a configuration of the device, by its element name.
type Datastore string

// The configurations that a device may have.
const (
	Running         Datastore = "running"
	CandidateConfig Datastore = "candidate"
	StartupConfig   Datastore = "startup"
)

// Lock takes the lock of a configuration for this session.
func (s *Session) Lock(ctx context.Context, d Datastore) error {
	return s.call(ctx, fmt.Appendf(nil, "<lock><target><%s/></target></lock>", d), nil)
}

// Unlock gives the lock back.
func (s *Session) Unlock(ctx context.Context, d Datastore) error {
	return s.call(ctx, fmt.Appendf(nil, "<unlock><target><%s/></target></unlock>", d), nil)
}

// Get reads from a configuration what the subtree filter selects into a pointer
// to a struct of package encoding/xml, which stands for the data element.
func (s *Session) Get(ctx context.Context, d Datastore, filter string, into any) error {
	return s.call(ctx, fmt.Appendf(nil, `<get-config><source><%s/></source><filter type="subtree">%s</filter></get-config>`, d, filter), into)
}

// Edit merges config, the content of a config element, into the candidate: all of
// it or, where the device can tell, nothing. A device that can validate does so
// with every edit unless told otherwise (RFC 6241, section 7.2), and a commit
// checks again, so that there is no separate validate: Debian's netconfd 2.13 takes
// the candidate for unchanged after one, and commits nothing.
func (s *Session) Edit(ctx context.Context, config []byte) error {
	request := make([]byte, 0, len(config)+256)
	request = append(request, "<edit-config><target><candidate/></target>"...)
	if s.Can("urn:ietf:params:netconf:capability:rollback-on-error:1.0") {
		request = append(request, "<error-option>rollback-on-error</error-option>"...)
	}
	request = append(request, "<config>"...)
	request = append(request, config...)
	request = append(request, "</config></edit-config>"...)
	defer clear(request)
	return s.call(ctx, request, nil)
}

// CommitFor makes the candidate the running configuration until it is confirmed,
// at most for limit. The device takes it back then, and when this session ends
// before (RFC 6241, section 8.4).
func (s *Session) CommitFor(ctx context.Context, limit time.Duration) error {
	seconds := max(1, int64((limit+time.Second-1)/time.Second))
	return s.call(ctx, fmt.Appendf(nil, "<commit><confirmed/><confirm-timeout>%d</confirm-timeout></commit>", seconds), nil)
}

// Commit makes the candidate the running configuration for good, together with
// what was committed before and waits to be confirmed.
func (s *Session) Commit(ctx context.Context) error { return s.call(ctx, []byte("<commit/>"), nil) }

// Discard makes the candidate what is running.
func (s *Session) Discard(ctx context.Context) error {
	return s.call(ctx, []byte("<discard-changes/>"), nil)
}

// Store makes the running configuration the one that the device starts with.
func (s *Session) Store(ctx context.Context) error {
	return s.call(ctx, []byte("<copy-config><target><startup/></target><source><running/></source></copy-config>"), nil)
}

const libraryNamespace = "urn:ietf:params:xml:ns:yang:ietf-yang-library"

// library is the YANG library, in the form of RFC 7895 and in that of RFC 8525.
type library struct {
	Old []libraryModule `xml:"modules-state>module"`
	New []libraryModule `xml:"yang-library>module-set>module"`
}

type libraryModule struct {
	Name        string   `xml:"name"`
	Namespace   string   `xml:"namespace"`
	Features    []string `xml:"feature"`
	Conformance string   `xml:"conformance-type"`
}

// Module says how the device advertises a YANG module; false: it does not. The
// YANG library is asked where there is one, since a module of YANG 1.1 need not
// stand in the hello (RFC 7950, section 5.6.4).
func (s *Session) Module(ctx context.Context, name string) (Module, bool, error) {
	if !s.Can(yangLibrary) {
		m, ok := s.hello.module(name)
		return m, ok, nil
	}
	select1 := fmt.Sprintf("<module><name>%s</name></module>", Text(name))
	filter := fmt.Sprintf(`<get><filter type="subtree"><modules-state xmlns="%s">%s</modules-state>`+
		`<yang-library xmlns="%s"><module-set>%s</module-set></yang-library></filter></get>`,
		libraryNamespace, select1, libraryNamespace, select1)
	var l library
	err := s.call(ctx, []byte(filter), &l)
	if err != nil && s.Dead() {
		return Module{}, false, err
	}
	for _, m := range slices.Concat(l.Old, l.New) {
		if m.Name == name && (m.Conformance == "" || m.Conformance == "implement") {
			for i, f := range m.Features {
				m.Features[i] = strings.TrimSpace(f)
			}
			return Module{Namespace: strings.TrimSpace(m.Namespace), Features: m.Features}, true, nil
		}
	}
	m, ok := s.hello.module(name) // the library may not be shown to this user
	return m, ok, nil
}
