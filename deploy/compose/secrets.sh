#!/bin/sh
# Makes the secrets of docker-compose.yml in deploy/compose/secrets, those that are
# not there yet. The folder is for its owner alone; the files in it can be read by
# every user, because the containers' user is another one than yours.
set -eu
dir=$(dirname "$0")/secrets
mkdir -p "$dir"
chmod 700 "$dir"

# keep NAME VALUE writes a secret unless it is there.
keep() {
	[ -s "$dir/$1" ] && return
	(umask 077 && printf '%s\n' "$2" >"$dir/$1.new")
	chmod 444 "$dir/$1.new"
	mv "$dir/$1.new" "$dir/$1"
	echo "made $dir/$1"
}

# random prints 40 letters and digits.
random() { LC_ALL=C tr -dc 'a-zA-Z0-9' </dev/urandom | head -c 40; }

keep broker_password "$(random)"
keep system_password "$(random)"
keep gateway_token "$(random)"
keep console_token "$(random)"
# The simulator takes any; for the real providers put your own in these files.
keep oration_api_key "$(random)"
keep oration_workspace_id "$(random)"
keep anyreach_token "ak_$(random).$(random)"

# What the broker's configuration includes. It follows the two passwords.
rm -f "$dir/nats"
keep nats "weir_password: \"$(cat "$dir/broker_password")\"
system_password: \"$(cat "$dir/system_password")\""
