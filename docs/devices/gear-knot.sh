#!/bin/sh
# gear-knot.sh: rotates the TSIG key (RFC 8945) between two Knot DNS servers, as a
# gear program of keyorch, contract 1.
#
#   command: [/usr/local/lib/keyorch/gear-knot.sh]
#   env: {KNOT_SOCKET: /run/knot/knot.sock}
#
# The downstream server verifies: the keys of its rule acl[LINK] are what it accepts.
# The upstream server signs: it sends with remote[LINK].key. Both are there before,
# called as the link is. Keys are called kEPOCH-KCV-LINK, so that the server itself
# says which key is which. It needs openssl, and flock of util-linux.
set -eu
export HOME=/nonexistent # knotc keeps what it reads in a history, secrets too

read -r request # one line of JSON
# field NAME prints one field of the request, without a process that shows it.
field() { printf '%s\n' "$request" | sed -n 's/^{[^{]*"'"$1"'":"\{0,1\}\([^",{}]*\).*/\1/p'; }
fail() { echo "$1" >&2; exit "${2:-1}"; }

op=$(field op) role=$(field role) epoch=$(field epoch) kcv=$(field kcv) link=$(field link)
name=k$epoch-$kcv-$link
knot() { knotc -s "$KNOT_SOCKET" "$@"; }

# accepted and sent print the names of keys as the running server has them.
accepted() { knot conf-read "acl[$link].key" | tr ' ' '\n' | sed -n "s/^\(k[0-9]*-[0-9a-f]*-$link\)\.*\$/\1/p"; }
sent() { knot conf-read "remote[$link].key" | sed -n "s/.* \(k[0-9]*-[0-9a-f]*-$link\)\.*\$/\1/p"; }
known() { knot conf-read "key[$name].algorithm" >/dev/null 2>&1; }

# change makes one transaction of the commands on standard input. They go in on
# standard input too: arguments show in the list of processes. The file "open" tells
# a transaction that a killed run left behind from one of somebody else's.
change() {
	open=$KNOT_SOCKET.keyorch
	exec 9>>"$open.lock"
	flock 9
	[ ! -e "$open" ] || knot conf-abort >/dev/null 2>&1 || :
	: >"$open"
	knot conf-begin >/dev/null 2>&1 || { rm "$open"; fail "somebody else is changing the configuration of Knot"; }
	problem=$(knot 2>&1 | sed -n 's/^error: (\([^)]*\)).*/\1/p' | head -n 1) # the rest of the line may be a secret
	if [ -z "$problem" ] && knot conf-commit >/dev/null 2>&1; then
		rm "$open"
		return
	fi
	knot conf-abort >/dev/null 2>&1 || :
	rm "$open"
	fail "Knot refused: ${problem:-the transaction}"
}
# add prints the commands that make the key known. The link key is not used as it is:
# both servers derive the secret in the same way.
add() {
	known && return
	secret=$(printf 'keyorch tsig %s' "$(field key)" | openssl dgst -sha256 -binary | base64)
	printf 'conf-set key[%s]\nconf-set key[%s].algorithm hmac-sha256\nconf-set key[%s].secret %s\n' "$name" "$name" "$name" "$secret"
}
# same refuses another key under an epoch that the names on standard input have.
same() {
	while read -r have; do
		[ "${have%%-*}" != "k$epoch" ] || [ "$have" = "$name" ] || fail "epoch $epoch is another key already" 10
	done
}

knot status >/dev/null 2>&1 || fail "cannot reach Knot at $KNOT_SOCKET"
case $op in
observe) ;;
install)
	accepted | same
	accepted | grep -qx "$name" || { add; echo "conf-set acl[$link].key $name"; } | change
	;;
remove)
	old=$(accepted | grep "^k$epoch-" || :)
	if [ -n "$old" ]; then
		[ "$(accepted | wc -l)" -gt 1 ] || fail "epoch $epoch is the last key" 10
		{
			echo "conf-unset acl[$link].key $old"
			[ "$(sent)" = "$old" ] || echo "conf-unset key[$old]"
		} | change
	fi
	;;
switch)
	sent | same
	old=$(sent)
	[ "$old" = "$name" ] || {
		add
		echo "conf-set remote[$link].key $name"
		[ -z "$old" ] || accepted | grep -qx "$old" || echo "conf-unset key[$old]"
	} | change
	;;
*) fail "there is no operation $op" 10 ;;
esac

# The server as it is now.
ref() { rest=${1#k}; kcv=${rest#*-}; printf '{"epoch":%s,"kcv":"%s"}' "${rest%%-*}" "${kcv%%-*}"; }
if [ "$role" = upstream ]; then
	now=$(sent)
	printf '{"sends":%s}\n' "$([ -z "$now" ] && echo null || ref "$now")"
else
	list=
	for one in $(accepted); do list=$list${list:+,}$(ref "$one"); done
	printf '{"accepts":[%s]}\n' "$list"
fi
