#!/bin/sh
# gear.sh: a gear program for keyorch, contract 1.
set -eu
umask 077

read -r request # one line of JSON

# field NAME prints one field of the request. printf is part of the shell, so
# that the key shows in no list of processes.
field() {
	printf '%s\n' "$request" | sed -n 's/^{[^{]*"'"$1"'":"\{0,1\}\([^",{}]*\).*/\1/p'
}
# refuse MESSAGE says no for good.
refuse() {
	echo "$1" >&2
	exit 10
}

op=$(field op) role=$(field role) epoch=$(field epoch) kcv=$(field kcv)
dir=$GEAR_STATE/$(field link)/$role
mkdir -p "$dir"

case $op in
observe) ;;
install)
	if [ -e "$dir/$epoch" ]; then
		read -r have rest <"$dir/$epoch"
		[ "$have" = "$kcv" ] || refuse "epoch $epoch is another key already"
	else
		# GEAR: accept this key as well.
		printf '%s %s\n' "$kcv" "$(field key)" >"$dir/new"
		mv "$dir/new" "$dir/$epoch"
	fi
	;;
remove)
	if [ -e "$dir/$epoch" ]; then
		set -- "$dir"/[0-9]*
		[ $# -gt 1 ] || refuse "epoch $epoch is the last key"
		# GEAR: stop accepting this key.
		rm "$dir/$epoch"
	fi
	;;
switch)
	in_use=0 have=
	[ ! -e "$dir/sends" ] || read -r in_use have rest <"$dir/sends"
	if [ "$in_use" = "$epoch" ]; then
		[ "$have" = "$kcv" ] || refuse "epoch $epoch is another key already"
	else
		# GEAR: send with this key.
		printf '%s %s %s\n' "$epoch" "$kcv" "$(field key)" >"$dir/new"
		mv "$dir/new" "$dir/sends"
	fi
	;;
*) refuse "there is no operation $op" ;;
esac

# The gear as it is now.
if [ "$role" = upstream ]; then
	in_use=0 have=
	[ ! -e "$dir/sends" ] || read -r in_use have rest <"$dir/sends"
	printf '{"sends":{"epoch":%s,"kcv":"%s"}}\n' "$in_use" "$have"
else
	list=
	for file in "$dir"/[0-9]*; do
		[ -e "$file" ] || continue
		read -r have rest <"$file"
		list=$list${list:+,}'{"epoch":'${file##*/}',"kcv":"'$have'"}'
	done
	printf '{"accepts":[%s]}\n' "$list"
fi
