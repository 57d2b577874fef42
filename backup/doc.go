// Package backup is the format of a backup: what stood below the prefix in etcd, at
// one revision, as lines of JSON, encrypted to age recipients.
//
//	{"format":"keyorch-backup","version":1,"revision":1234,"at":"2026-11-28T19:00:00Z"}
//	{"key":"links/dc1-dc2","value":"<base64>"}
//	…
//	{"entries":2,"sha256":"<of all lines before this one>"}
//
// age authenticates what it encrypts, in pieces, and the end of it. The last line
// makes sure of the rest: a file that is cut, at whichever layer, is named as cut.
package backup
