#!/bin/sh
# gear.sh DIR: a device as a script, on both sides of any link. DIR holds what it
# accepts and sends, what it was given (so that a test knows the key), and, in the
# file "trouble", how it is to misbehave.
set -eu
dir=$1
read -r in
field() { printf '%s' "$in" | sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p"; }
op=$(field op) link=$(field link) role=$(field role) epoch=$(field epoch) kcv=$(field kcv)
at=$dir/$link/$role
mkdir -p "$at/accepts"
printf '%s\n' "$in" >> "$dir/given"

trouble=
if [ -f "$dir/trouble" ]; then trouble=$(cat "$dir/trouble"); fi
case $trouble in
	hang) sleep 60 ;;
	garbage) echo 'this is not JSON'; exit 0 ;;
	megabyte) head -c 1048576 /dev/zero | tr '\0' 'x'; exit 0 ;;
	exit1) echo 'the gear is busy' >&2; exit 1 ;;
	exit10) echo 'the gear does not know this link' >&2; exit 10 ;;
esac

case $op in
	install) printf '%s' "$kcv" > "$at/accepts/$epoch" ;;
	remove) rm -f "$at/accepts/$epoch" ;;
	switch) printf '{"epoch":%s,"kcv":"%s"}' "$epoch" "$kcv" > "$at/sends" ;;
esac

if [ "$role" = upstream ]; then
	sends=null
	if [ -f "$at/sends" ]; then sends=$(cat "$at/sends"); fi
	printf '{"sends":%s}\n' "$sends"
	exit 0
fi
list=
for f in "$at/accepts"/*; do
	[ -f "$f" ] || continue
	k=$(cat "$f")
	if [ "$trouble" = kcv ]; then k=0000000000; fi
	list="$list${list:+,}{\"epoch\":${f##*/},\"kcv\":\"$k\"}"
done
printf '{"accepts":[%s]}\n' "$list"
