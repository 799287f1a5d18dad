#!/bin/sh
# man.sh: the manual page out of what the program says of itself: `config/man.sh PROGRAM DATE`.
# A flag of two blanks before it begins a paragraph; what is indented deeper goes on with it.
set -eu
program=$1
date=$2
version=$("$program" --version | cut -d' ' -f2)
# Text of roff: backslashes, hyphens, and lines that would be commands.
roff='{ gsub(/\\/, "\\e"); gsub(/-/, "\\-"); if ($0 ~ /^[.'"'"']/) $0 = "\\\&" $0; print }'

cat <<END
.TH PICTOR 1 "$date" "pictor $version" "User Commands"
.SH NAME
pictor \- self\-hosted image generation server
.SH SYNOPSIS
.B pictor
.RI [ command ]
.RI [ options ]
.SH DESCRIPTION
Paints pictures from words on this machine's CPU or by upstreams, and serves them over the OpenAI API,
the SD WebUI API, an API of its own and a page.
.SH COMMANDS
END
commands=$("$program" --help | sed -nE 's/^  ([a-z-]+) .*/\1/p')
"$program" --help | sed -nE 's/^  ([a-z-]+) +(.*)/\1\t\2/p' | while IFS="$(printf '\t')" read -r name text; do
    printf '.TP\n.B %s\n' "$name"
    printf '%s\n' "$text" | awk "$roff"
done
for command in $commands; do
    printf '.SH "PICTOR %s"\n' "$(printf %s "$command" | tr '[:lower:]' '[:upper:]')"
    "$program" "$command" --help | expand | awk '
        function esc(s) { gsub(/\\/, "\\e", s); gsub(/-/, "\\-", s); if (s ~ /^[.'"'"']/) s = "\\&" s; return s }
        /^usage: / || (usage && /^ +pictor /) {
            if (!usage) print ".nf"
            usage = 1; sub(/^usage: +/, ""); sub(/^ +/, ""); print esc($0); next
        }
        usage { print ".fi"; usage = 0 }
        /^ *$/ { print ".PP"; next }
        /^  +-/ && match($0, /^  +-[^ ]*([ ,] ?[^ ]+)*/) {
            flag = $0; sub(/^ +/, "", flag); text = ""
            if (match(flag, /   */)) { text = substr(flag, RSTART + RLENGTH); flag = substr(flag, 1, RSTART - 1) }
            print ".TP"; print ".B " esc(flag); if (text != "") print esc(text); next
        }
        { sub(/^ +/, ""); print esc($0) }
        END { if (usage) print ".fi" }'
done
cat <<'END'
.SH FILES
.TP
.I /etc/pictor/pictor.ini
Settings, each with the reason for its default.
.TP
.I DATA/pictor.db
Jobs, the rows of pictures, keys, options. The pictures lie beside it.
.SH ENVIRONMENT
Every setting is also an environment variable: \-\-max\-steps is PICTOR_MAX_STEPS.
.SH "EXIT STATUS"
0: done; 1: failed, and said why; 2: used wrongly.
END
