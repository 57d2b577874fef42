// Package campaign is the rotation of many links as pure code: which links a
// campaign takes up in which wave, when too much has gone wrong, what would hold
// a link, and what an operator is told. It looks at facts that others gathered,
// and has no clock, I/O or logger. The workflow, `keyorch plan` and the tests all
// ask the same functions.
//
// Nothing here decides about keys: that is package link's, link by link.
package campaign
