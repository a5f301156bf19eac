#!/bin/sh
# Trains again, and makes the new model live only if it is better than the champion. Made for cron.
#
#     examples/retrain.sh [options of train_model.py]
#
# Every night at 3:00, from `crontab -e`:
#
#     0 3 * * *  /srv/tabserve/examples/retrain.sh --data /srv/data/penguins.csv --target species
#
# Output    appended to artifacts/retrain.log, or to the file that RETRAIN_LOG names. If the training fails, the last
#           lines also go to stderr, and cron mails them; otherwise nothing is printed.
# Status    that of train_model.py. 0: trained, and live or a candidate; the log says which, and why.
# Paths     absolute ones: the script works in the project's folder.
# Python    .venv/bin/python of the project if there is one, else python; PYTHON names another one.
#
# A running server follows a new champion within seconds. Two trainings at once take turns.
#
# `--promote better` compares on the same held-out rows. If the table has changed since the champion was trained, the two
# models can't be compared, and the new one stays a candidate. Then promote by hand, or add `--promote always` to the
# options: the last `--promote` counts. `--metric log_loss` compares by another metric than f1_macro.
set -u
cd "$(dirname "$0")/.." || exit 1

if [ -z "${PYTHON:-}" ]; then
    if [ -x .venv/bin/python ]; then PYTHON=.venv/bin/python; else PYTHON=python; fi
fi
log=${RETRAIN_LOG:-artifacts/retrain.log}
mkdir -p "$(dirname "$log")" || exit 1
output=$(mktemp) || exit 1
trap 'rm -f "$output"' EXIT

"$PYTHON" train_model.py --promote better "$@" >"$output" 2>&1
status=$?

{
    echo "== $(date -u +%Y-%m-%dT%H:%M:%SZ) train_model.py --promote better $*"
    cat "$output"
    echo "== status $status"
} >>"$log"

if [ "$status" -ne 0 ]; then
    echo "retrain.sh: the training ended with status $status. All output: $log" >&2
    tail -n 20 "$output" >&2
fi
exit "$status"
