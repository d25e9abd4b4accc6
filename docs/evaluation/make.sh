#!/bin/sh
# Makes the table of docs/evaluation/README.md: drawn scenes, measured with the checkpoint that ships.
#
#     docs/evaluation/make.sh [PICTURES] [FOLDER]
#
# FIELDMARK and MINIATURE name the programs, where they are not to be built; METRICS asks for less.
set -eu
pictures=${1:-500}
folder=${2:-$(mktemp -d)}
page=$(dirname "$0")/README.md
fieldmark=${FIELDMARK:-cargo run --release --quiet --}
miniature=${MINIATURE:-cargo run --release --quiet -p miniature --}

test -e "$folder/scenes" || $miniature render --seed 9202 --count "$pictures" --out "$folder/scenes"
# A run that was interrupted goes on.
$fieldmark evaluate "$folder/scenes" --model miniature --method hires-cam,grad-cam --strength 0.3,0.6,1 \
    --metrics "${METRICS:-localisation,faithfulness,sanity}" --output "$folder/result" --resume --quiet

# The page up to the table's heading stays, and the summary follows it, a level lower.
kept=$(sed '/^## The miniature.s table$/q' "$page")
{
    printf '%s\n\n' "$kept"
    printf '%s drawn scenes that had no part in training or choosing the miniature; `docs/evaluation/make.sh %s`\n' \
        "$pictures" "$pictures"
    printf 'makes this table.\n'
    printf 'The miniature was trained to point, with the masks of parts, by HiResCAM: its figures say that the program shows\n'
    printf 'what the model has learnt, not that contrast helps other models.\n'
    sed -e '1d' -e 's/^## /### /' "$folder/result/summary.md"
} > "$page.new"
mv "$page.new" "$page"
