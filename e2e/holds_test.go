package e2e_test

// holds is docs/holds.md, without what the commands print.
const holds = "# Held links, and what to do\n" + `
A link whose nodes do not all confirm keeps its old key, and is held for as long as that lasts. Nothing is lost by
it, and most go on by themselves when what holds them is gone. ` + "`keyorch why LINK`" + ` says what that is. These outputs are
printed by TestReadThreeHolds in e2e (` + "`go test -run Read -update .`" + ` writes this page anew), on real servers with simulated
devices; moments, ages, names of campaigns and check values are made the same for every run.

## No agent serves the node

` + "```\n$ keyorch why oslo-paris\n%s```" + `

The process that drives the device is gone, or cannot reach etcd. Start the agent of the site, or see in its log why it
does not answer; the link goes on as soon as it does. If the node stays away for long, go back with ` + "`keyorch abort`" + `, or
say so with ` + "`keyorch maintenance set`" + `: campaigns then skip the links of the site, and catch them up afterwards.

## The device refuses

` + "```\n$ keyorch why oslo-rome\n%s```" + `

The agent is there, and the device says no: the text in brackets is its own. What a device refuses for good is not tried
again with the same order. Put right what it complains of and restart the agent of the site: it tries once more, and the
link goes on. Or give the link another key: ` + "`keyorch abort`" + ` takes it back to Steady on its old key, and ` + "`keyorch rotate`" + ` begins
anew. ` + "`keyorch retry CAMPAIGN`" + ` does both for all links that a campaign left like this.

## The window is closed

` + "```\n$ keyorch why oslo-wien\n%s```" + `

Every node has confirmed, and nobody is in trouble: the policy of the link lets upstream switch at certain times only,
and the link goes on when the next one comes. There is nothing to do. If it must be now, change the windows of the policy
with ` + "`keyorch apply`" + `; for rotations that have not begun there is ` + "`keyorch rotate --ignore-windows`" + `.

## All of them at a glance

` + "```\n$ keyorch status\n%s```" + `

The campaign stays with what it has begun. Links that are Steady without a reason need nobody; of the others the last
column says why they stand where they stand. Of more than 50 links the same command prints a summary, and only the links
that somebody should know of.
`
