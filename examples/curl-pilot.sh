#!/bin/sh
# A pilot made of curl: takes blocks of an event service, runs a command for each range, hands in what it wrote.
#
#     EVENTMILL_TOKEN=evm_... examples/curl-pilot.sh https://mill.example.org COMMAND [ARGUMENT...]
#
# The command is called as   COMMAND [ARGUMENT...] INPUT START STOP OUTPUT   for the events [START, STOP) of an
# input, counted from 0. INPUT is a file if the service serves or signs it, else the input's own address, such as
# generated:0-1000 or root://... It writes the file OUTPUT, in the format of range outputs of the campaign: any bytes
# for 'format: bytes', else Parquet with the campaign's columns (which 'output.columns' then must declare). If a file
# has other than one row for each event, it writes their number into OUTPUT.rows. It finds in its environment:
#
#     EVENTMILL_INPUT   the input's name in the campaign    EVENTMILL_CAMPAIGN   the campaign
#     EVENTMILL_FIRST   the campaign-wide number of the input's first event
#
# If it fails, what it printed on standard error is reported, and the range is tried elsewhere, as after an exception
# of a payload. It works on one block at a time, until there is no work for $EVENTMILL_IDLE seconds (60), or SIGTERM
# or Ctrl-C: then what is not handed in goes to others at once. Inputs that the service serves or signs are copied
# whole into a folder of its own in $TMPDIR: a simple pilot for small files; eventmill-pilot reads byte ranges.
#
# Needs: a POSIX shell with the usual tools, curl 7.71 or newer, sha256sum, md5sum, and python3 for JSON alone.
# docs/messages.md says what each message means. Every call may be repeated, so curl simply does so (--retry).
set -eu

usage() {
    sed -n '2,/^set -eu/ s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

[ $# -ge 2 ] || usage
: "${EVENTMILL_TOKEN:?is not set: \`eventmill token create --role pilot\` prints a token on the host of the service}"
server=${1%/}
shift
idle=${EVENTMILL_IDLE:-60}
umask 077
work=$(mktemp -d "${TMPDIR:-/tmp}/curl-pilot.XXXXXX")
session='' command=''

say() { printf 'curl-pilot: %s\n' "$*" >&2; }

# Never on a command line, where every user of the machine could read it.
printf 'Authorization: Bearer %s\n' "$EVENTMILL_TOKEN" > "$work/token"
unset EVENTMILL_TOKEN # the command needs none

leave() {
    status=$?
    trap - EXIT INT TERM
    if [ -n "$command" ]; then kill "$command" 2> "$work/ignored" || :; fi
    if [ -n "$session" ]; then
        curl -sS -m 10 -o "$work/ended" -H @"$work/token" -X DELETE "$server/v1/sessions/$session" || :
    fi
    rm -rf "$work"
    exit "$status"
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

nonce() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }

# values FILE a.0.b c ...: these values of a JSON file, a line each; an empty one for null, and for what is not there.
# Of an object come lines 'name: value', of ranges lines 'start stop', so these stand last.
values() {
    python3 -c '
import json, sys
whole = json.load(open(sys.argv[1]))
for path in sys.argv[2:]:
    value = whole
    for part in path.split("."):
        if isinstance(value, list):
            value = value[int(part)] if int(part) < len(value) else None
        elif value is not None:
            value = value.get(part)
    if isinstance(value, dict):
        lines = [f"{name}: {each}" for name, each in value.items()]
    elif isinstance(value, list):
        lines = [str(each["start"]) + " " + str(each["stop"]) for each in value]
    else:
        lines = ["" if value is None else str(value).replace("\n", " ")]
    for line in lines:
        print(line)' "$@"
}

# quoted FILE: its last 10,000 characters as a JSON text.
quoted() { python3 -c 'import json, sys; print(json.dumps(open(sys.argv[1], errors="replace").read()[-10000:]))' "$1"; }

# call ANSWER curl-options... ADDRESS: again and again while nobody answers, for half an hour; fails with the reason
# if it is refused.
call() {
    answer=$1
    shift
    status=$(curl -g -sS -o "$answer" -w '%{http_code}' --connect-timeout 10 --speed-limit 1 --speed-time 60 \
        --retry 1000 --retry-delay 2 --retry-max-time 1800 --retry-all-errors "$@") || {
        say "no answer: $*"
        return 1
    }
    case $status in
    2??) ;;
    *)
        say "refused ($status): $(values "$answer" detail 2> "$work/ignored" || :)"
        return 1
        ;;
    esac
}

# tell ANSWER PATH MESSAGE: POST a message in JSON.
tell() {
    printf '%s' "$3" > "$1.sent"
    call "$1" -H @"$work/token" -H 'Content-Type: application/json' --data-binary @"$1.sent" "$server$2"
}

# report ANSWER ITEM: one item of a report.
report() { tell "$1" "/v1/sessions/$session/report" "{\"items\": [$2]}"; }

# keep_renewing FILE PROCESS: renews the lease until the file is gone, or this pilot ($$) was killed. Ends the process
# if the block is not ours any more; the last answer is in FILE.renewed. (It is not killed itself: dash loses a signal
# that comes right after a fork.)
keep_renewing() {
    left=$renew
    while sleep 1 && [ -f "$1" ] && kill -0 $$ 2> "$1.ignored"; do
        left=$((left - 1))
        [ "$left" -le 0 ] || continue
        left=$renew
        report "$1.renewed" "{\"type\": \"renew\", \"lease\": \"$lease\", \"begun\": $begun}" || continue
        if [ "$(values "$1.renewed" replies.0.directive)" = stop ]; then
            kill "$2"
            return 0
        fi
    done
}

# fetch URL: prints where the input is for the command: a file for what the service serves or signs.
fetch() {
    case $1 in
    /*)
        copy=$work/input-$(printf '%s' "$1 $identity" | sha256sum | cut -c 1-16)
        [ -f "$copy" ] || call "$copy.part" -H @"$work/token" "$server$1" || return 1
        ;;
    http://* | https://*)
        copy=$work/input-$(printf '%s' "${1%%\?*} $identity" | sha256sum | cut -c 1-16)
        [ -f "$copy" ] || call "$copy.part" "$1" || return 1
        ;;
    *)
        printf '%s\n' "$1"
        return 0
        ;;
    esac
    [ ! -f "$copy.part" ] || mv "$copy.part" "$copy"
    printf '%s\n' "$copy"
}

# learn ANSWER: what a report is answered.
learn() {
    values "$1" replies.0.directive replies.0.stop replies.0.outcomes.0 replies.0.reason > "$work/values"
    {
        read -r directive
        read -r stop_at
        read -r outcome
        read -r reason
    } < "$work/values"
}

# hand_in START STOP: store the output of a range, then commit it. Sets $directive.
hand_in() {
    bytes=$(wc -c < "$output" | tr -d ' ')
    sha256=$(sha256sum < "$output" | cut -d ' ' -f 1)
    md5=$(md5sum < "$output" | cut -d ' ' -f 1)
    rows=$(($2 - $1))
    [ ! -f "$output.rows" ] || rows=$(tr -dc 0-9 < "$output.rows")
    range="{\"start\": $1, \"stop\": $2}"
    tell "$work/where" "/v1/sessions/$session/uploads" \
        "{\"lease\": \"$lease\", \"range\": $range, \"bytes\": $bytes, \"sha256\": \"$sha256\", \"md5\": \"$md5\"}" ||
        return 1
    values "$work/where" url key headers > "$work/values"
    {
        read -r url
        read -r key
        cat > "$work/headers"
    } < "$work/values"
    case $url in
    /*)
        cat "$work/token" >> "$work/headers"
        url=$server$url
        ;;
    esac
    call "$work/stored" -H @"$work/headers" -T "$output" "$url" || return 1
    report "$work/committed" "{\"type\": \"commit\", \"lease\": \"$lease\", \"begun\": $2,
        \"payload\": \"$payload\",
        \"outputs\": [{\"range\": $range, \"key\": \"$key\", \"bytes\": $bytes,
            \"sha256\": \"$sha256\", \"rows\": $rows, \"wall_seconds\": $wall_seconds}]}" || return 1
    learn "$work/committed"
    say "$EVENTMILL_CAMPAIGN [$1, $2) of $EVENTMILL_INPUT: $outcome $reason"
}

# fail START STOP KIND SUMMARY: report that a range failed. Sets $directive.
fail() {
    printf '%s' "$4" > "$work/summary"
    report "$work/failed" "{\"type\": \"fail\", \"lease\": \"$lease\", \"range\": {\"start\": $1, \"stop\": $2},
        \"report_id\": \"$(nonce)\", \"failure\": {\"kind\": \"$3\",
            \"summary\": $(quoted "$work/summary"), \"printed\": $(quoted "$work/printed")}}" || return 1
    learn "$work/failed"
    say "$EVENTMILL_CAMPAIGN [$1, $2) of $EVENTMILL_INPUT: $4"
}

# work_on COMMAND...: the block that was acquired, range after range.
work_on() {
    directive='continue' stop_at=''
    if [ "$suffix" = bin ] && [ -z "$schema" ]; then
        # 'format: bytes' has the same schema always, the word 'bytes': told, merging need not wait for another pilot.
        report "$work/schema" "{\"type\": \"schema\", \"lease\": \"$lease\", \"schema\": \"Ynl0ZXM=\"}"
    fi
    : > "$work/printed"
    if ! input=$(fetch "$address"); then
        read -r start stop < "$work/ranges"
        fail "$start" "$stop" input 'the input cannot be fetched by a curl pilot; its own messages say why'
        return 1
    fi
    while read -r start stop <&3; do
        if [ "$directive" != 'continue' ] || { [ -n "$stop_at" ] && [ "$start" -ge "$stop_at" ]; }; then break; fi
        begun=$stop output=$work/output
        rm -f "$output" "$output.rows"
        began=$(date +%s)
        "$@" "$input" "$start" "$stop" "$output" 2> "$work/printed" 3<&- &
        command=$!
        busy=$work/busy-$(nonce)
        : > "$busy"
        keep_renewing "$busy" "$command" 3<&- &
        status=0
        wait "$command" || status=$?
        command=''
        rm -f "$busy"
        wall_seconds=$(($(date +%s) - began))
        if [ -f "$busy.renewed" ] && [ "$(values "$busy.renewed" replies.0.directive)" = stop ]; then
            directive='stop'
        elif [ "$status" -ne 0 ]; then
            fail "$start" "$stop" payload "the command of a curl pilot ended with status $status" || return 1
        elif [ ! -f "$output" ]; then
            fail "$start" "$stop" result "the command of a curl pilot wrote no output" || return 1
        else
            hand_in "$start" "$stop" || return 1
        fi
        rm -f "$busy.renewed" "$busy.renewed.sent" "$busy.ignored"
    done 3< "$work/ranges"
}

# give_back: what is left of the block goes to others, and nothing is charged. If nothing is, nothing happens.
give_back() { report "$work/released" "{\"type\": \"release\", \"lease\": \"$lease\"}"; }

name=$(uname -n | tr -c 'A-Za-z0-9._\n-' '-' | cut -c 1-64)
tell "$work/session" /v1/sessions "{\"name\": \"$name\", \"slots\": 1, \"nonce\": \"$(nonce)\"}"
session=$(values "$work/session" session)
say "session $session at $server"
idle_since=$(date +%s)
while :; do
    tell "$work/acquired" "/v1/sessions/$session/acquire" \
        "{\"blocks\": 1, \"wait_seconds\": 10, \"nonce\": \"$(nonce)\"}"
    values "$work/acquired" leave retry_in_seconds claims.0.lease claims.0.renew_in_seconds claims.0.campaign \
        claims.0.payload claims.0.suffix claims.0.schema claims.0.input.name claims.0.input.first \
        claims.0.input.url claims.0.input.identity claims.0.ranges > "$work/values"
    {
        read -r reason
        read -r pause
        read -r lease
        read -r renew
        read -r EVENTMILL_CAMPAIGN
        read -r payload
        read -r suffix
        read -r schema
        read -r EVENTMILL_INPUT
        read -r EVENTMILL_FIRST
        read -r address
        read -r identity
        cat > "$work/ranges"
    } < "$work/values"
    if [ -z "$lease" ]; then
        if [ -n "$reason" ] || [ $(($(date +%s) - idle_since)) -ge "$idle" ]; then
            say "ends: ${reason:-no work for $idle s}"
            exit 0
        fi
        sleep "$pause" &
        wait $!
        continue
    fi
    renew=${renew%%.*}
    export EVENTMILL_CAMPAIGN EVENTMILL_INPUT EVENTMILL_FIRST
    work_on "$@" || say 'the rest of the block goes to others'
    give_back
    idle_since=$(date +%s)
done
