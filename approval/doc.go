// Package approval is the consent of other people as pure code: which requests need
// it, what exactly is signed, whether a signature counts, and who is to be asked next.
//
// An approval is a signature, in the format of ssh-keygen -Y sign, over a Statement:
// some lines that a person can read, with the digest of the plan in them. Nothing here
// has a clock or does I/O, so that a worker, a verb and a check years later come to
// the same Decision from the same words.
package approval
