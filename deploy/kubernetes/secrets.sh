#!/bin/sh
# Makes the tokens of the Secret weir in deploy/kubernetes/secrets, those that are not
# there yet, and says which of the others are missing: secrets.sh one|cluster. A
# secret is a file of its name; the folder is for its owner alone, and is not
# committed. docs/kubernetes.md.
set -eu
case "${1-}" in
one) given="oration_api_key oration_workspace_id anyreach_token" ;;
cluster) given="broker_password nats_ca.pem oration_api_key oration_workspace_id anyreach_token" ;;
*)
	echo "usage: secrets.sh one|cluster" >&2
	exit 2
	;;
esac
umask 077
dir=$(dirname "$0")/secrets
mkdir -p "$dir"
chmod 700 "$dir"

for name in gateway_token console_token; do
	[ -s "$dir/$name" ] && continue
	(
		LC_ALL=C tr -dc 'a-zA-Z0-9' </dev/urandom | head -c 40
		echo
	) >"$dir/$name.new"
	mv "$dir/$name.new" "$dir/$name"
	echo "made $dir/$name"
done

missing=0
for name in $given; do
	[ -s "$dir/$name" ] && continue
	echo "missing: put it into $dir/$name" >&2
	missing=1
done
exit $missing
