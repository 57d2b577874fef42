// Package exec connects any gear by the operator's own program, which is run
// once for each operation: one JSON object on its standard input, one on its
// standard output. docs/exec-contract.md is the contract for those who write
// such programs; this package keeps the other side of it.
//
// The program gets a key on its standard input and nowhere else, and a minimal
// environment. It runs in a process group of its own, which is killed as a whole
// when time is up. What it prints is not trusted: it is limited in size, checked
// in form, and never quoted in an error, except for the first line of standard
// error, from which key material is taken out first.
package exec
