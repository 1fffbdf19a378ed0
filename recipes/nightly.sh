#!/usr/bin/env bash
# nightly.sh FIRST_DAY [LAST_DAY]: brings the dataset in this script's folder up to LAST_DAY, which is yesterday (UTC) unless given.
# One universe a day, one database, one export folder. Run it as often as you like: days that are done cost nothing. After 09:00 UTC
# the archive has published yesterday; with --download-market-metrics an earlier hour costs five requests a symbol, which take long.
# It prints nothing when all is well, else one line for each command that did not end well; it ends with that command's exit code.
# A day on which no symbol of the list was active is not done either: it gets a line and exit code 3, and the next night asks again.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1

# The first form of `date` is that of macOS and BSD, the second that of GNU.
last=${2:-$(date -u -v-1d +%F 2>/dev/null || date -u -d yesterday +%F)}
day=${1-}
ended=0
if [[ ! "$day $last" =~ ^20..-..-..\ 20..-..-..$ ]]; then
    echo "usage: nightly.sh FIRST_DAY [LAST_DAY], both as YYYY-MM-DD"
    exit 2
fi

if ! command -v cryptoservice >/dev/null; then
    echo "cryptoservice is not on the PATH: set PATH in the crontab, or write where it is into $0"
    exit 127
fi

run() {
    local said
    said=$(cryptoservice universe "$@" --quiet 2>&1 >>reports.jsonl)
    code=$?
    ((code == 0)) && return
    # Two runs that started together define the same day: one wins, and both go on to where one of them is sent away.
    [[ $1 == define && -e $universe && ! $force ]] && return
    echo "$day: $1: ${said//$'\n'/; } (exit code $code)"
    # What is missing today holds nothing up; everything else would go wrong with the next command, too.
    ((code == 3)) && ended=3 || exit "$code"
}

# The file of a day on which no symbol was active has this line. Such a day is defined anew each night: it holds nothing to lose.
nothing_active() { grep -qs '"active_symbols": \[\]' "$universe"; }

while [[ ! $day > $last ]]; do
    universe=universes/$day.json
    force=
    if [[ ! -e universes/$day.done ]]; then
        nothing_active && force=--force
        [[ -e $universe && ! $force ]] || run define --symbols-file symbols.txt --start-date "$day" --end-date "$day" --output "$universe" $force
        if nothing_active; then
            echo "$day: define: no symbol of symbols.txt was active: $universe says why, and the next night asks again (exit code 3)"
            ended=3
        else
            run download --universe-file "$universe" --db-path market.db --interval 5m
            settled=$code
            run export --universe-file "$universe" --db-path market.db --export-base-path exports --source-freq 5m --export-freq 5m
            ((settled == 0)) && touch "universes/$day.done"
        fi
    fi
    day=$(date -u -j -v+1d -f %F "$day" +%F 2>/dev/null || date -u -d "$day + 1 day" +%F) || exit 2
done
exit "$ended"
