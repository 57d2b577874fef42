package keyorch_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// outside is each package that reads what comes from outside of the process, and
// what that is. Each has a native fuzz target, which make fuzz runs.
var outside = map[string]string{
	"approval":               "signatures of ssh-keygen, statements, rules and votes",
	"agents":                 "the journal on the agent's disk",
	"audit":                  "inboxes, blocks, exports and public keys",
	"backup":                 "backups, as files",
	"devices/bird":           "BIRD's answers, and the journal of a link's keys",
	"devices/exec":           "what programs print",
	"devices/frr":            "vtysh's answers, and FRR's configuration",
	"devices/haproxy":        "HAProxy's answers, and its key file",
	"devices/keying":         "the names of keys on devices",
	"devices/macsec/secy":    "netlink messages of the kernel",
	"devices/netconf":        "key chains of a device",
	"devices/netconf/client": "messages of a NETCONF server, and host keys",
	"devices/params":         "the fields of devices in the topology",
	"devices/strongswan":     "charon's answers",
	"devices/wireguard":      "the aliases of interfaces",
	"devices/xfrm":           "the SAs of the kernel",
	"evidence":               "evidence files of rotations",
	"identity":               "common names, join tokens, files of certificates and connections",
	"keychain":               "KCVs and names",
	"link":                   "reports of nodes, in any order",
	"notify":                 "the outbox in etcd, and files with secrets of webhooks",
	"sealing":                "files of codec keys, and payloads of Temporal",
	"store":                  "every document and key in etcd",
	"topology":               "documents of operators, selectors and amounts",
}

// inside is each package that decodes something that does not come from outside,
// and why it needs no target.
var inside = map[string]string{
	"approval/approvaltest":             "signatures for tests",
	"campaign":                          "KCVs, by keychain, which has one",
	"cmd/keyorch/cli":                   "it reads back what it wrote itself, and one flag of its user's",
	"cmd/keyorch/doctor":                "one field of etcd's version, bounded; and the name in a certificate, by identity, which has one",
	"cmd/keyorch/wiring":                "whether a file of authorities is PEM at all; crypto/x509 reads it",
	"custody":                           "Vault's answers: one call of encoding/json into a struct; the trouble tests send what is no answer of Vault's",
	"devices/macsec":                    "names of keys, by devices/keying, which has one",
	"devices/netconf/client/clienttest": "a server for tests",
	"devices/sim":                       "simulated devices, for tests: its socket is in a directory of the tester's",
	"identity/identitytest":             "an authority for tests",
	"secret/secrettest":                 "it looks for keys in tests",
	"store/storetest":                   "a suite of tests",
}

// decoders are calls that read bytes of somebody else's.
var decoders = []string{
	"json.Unmarshal", "json.NewDecoder", "xml.Unmarshal", "xml.NewDecoder", "yaml.Unmarshal", "yaml.NewDecoder", "gob.NewDecoder", "binary.Read",
	"pem.Decode", "x509.ParseCertificate", "x509.ParseCertificates", "tls.X509KeyPair", "netlink.NewAttributeDecoder", "ssh.ParseAuthorizedKey", "proto.Unmarshal",
	"keying.ParseLabel", "keying.ParseName", "keychain.ParseKCV",
}

// decoding gives the packages with calls that decode, by their folders.
func decoding(t *testing.T) map[string]string {
	t.Helper()
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]string)
	for _, p := range packages(t) {
		dir, err := filepath.Rel(root, p.Dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			if call := decodes(f); call != "" {
				found[filepath.ToSlash(dir)] = call
			}
		}
	}
	return found
}

// decodes is the first call of f that decodes, or "".
func decodes(f *ast.File) (found string) {
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && found == "" {
			if x, ok := s.X.(*ast.Ident); ok && slices.Contains(decoders, x.Name+"."+s.Sel.Name) {
				found = x.Name + "." + s.Sel.Name
			}
		}
		return found == ""
	})
	return found
}

var fuzzTarget = regexp.MustCompile(`(?m)^func Fuzz\w+\(\w+ \*testing\.F\)`)

// targets counts the fuzz targets in a folder.
func targets(t *testing.T, dir string) (n int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		n += len(fuzzTarget.FindAll(text, -1))
	}
	return n
}

func TestWhatComesFromOutsideIsFuzzed(t *testing.T) {
	for dir, what := range outside {
		if targets(t, dir) == 0 {
			t.Errorf("%s reads %s and has no fuzz target", dir, what)
		}
	}
	for dir, call := range decoding(t) {
		if outside[dir] == "" && inside[dir] == "" {
			t.Errorf("%s calls %s: write a fuzz target and put it into the list outside, or say in inside why it needs none", dir, call)
		}
	}
}

// TestTheSearchForDecodersCanFail looks for decoders where there are some for sure.
func TestTheSearchForDecodersCanFail(t *testing.T) {
	for i, call := range decoders {
		f, err := parser.ParseFile(token.NewFileSet(), "planted"+strconv.Itoa(i)+".go", "package p; func f() { _ = "+call+"(nil) }", 0)
		if err != nil || decodes(f) != call {
			t.Errorf("%s was not found (%v)", call, err)
		}
	}
	found := decoding(t)
	for _, dir := range []string{"store", "devices/exec", "devices/netconf/client"} {
		if found[dir] == "" {
			t.Errorf("nothing was found in %s", dir)
		}
	}
	if targets(t, "fault") != 0 || strings.Count(string(fuzzTarget.Find([]byte("\nfunc FuzzA(f *testing.F) {"))), "FuzzA") != 1 {
		t.Error("targets are counted wrongly")
	}
}
