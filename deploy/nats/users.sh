#!/bin/sh
# Makes a password for each user of accounts.conf in deploy/nats/secrets, those that
# are not there yet, and users.conf, which has their hashes for the servers. Publishers
# of your own are named as arguments: sh users.sh acme_crm globex_crm
set -eu
dir=$(dirname "$0")/secrets
mkdir -p "$dir"
chmod 700 "$dir"
umask 077
if ! command -v htpasswd >/dev/null; then
	echo "users.sh: htpasswd is missing: install Debian's package apache2-utils" >&2
	exit 1
fi
[ $# -gt 0 ] || set -- acme_crm globex_crm
: >"$dir/users.conf.new"
for user in weir operator backup monitor "$@"; do
	case $user in
	*[!a-z0-9_]* | '')
		echo "users.sh: a user's name must be of a-z, 0-9 and _, and \"$user\" is not" >&2
		exit 1
		;;
	esac
	if [ ! -s "$dir/$user.password" ]; then
		LC_ALL=C tr -dc 'a-zA-Z0-9' </dev/urandom | head -c 40 >"$dir/$user.password.new"
		mv "$dir/$user.password.new" "$dir/$user.password"
		echo "made $dir/$user.password"
	fi
	hash=$(htpasswd -niBC 11 "$user" <"$dir/$user.password" | head -n 1)
	printf '%s_password: "%s"\n' "$user" "${hash#*:}" >>"$dir/users.conf.new"
done
mv "$dir/users.conf.new" "$dir/users.conf"
echo "made $dir/users.conf: copy it to each server, beside accounts.conf in secrets/"
