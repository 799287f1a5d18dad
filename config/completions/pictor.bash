# Completion for bash: the program is asked what it takes, so that this never falls behind.
_pictor()
{
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command=serve flags words
    [[ ${COMP_WORDS[1]-} == [a-z]* && COMP_CWORD -gt 1 ]] && command=${COMP_WORDS[1]}
    if [[ $word == -* ]]; then
        flags=$("${COMP_WORDS[0]}" "$command" --help 2>/dev/null | grep -oE '^ +(-[a-z], )?--[a-z0-9-]+' | grep -oE -- '--[a-z0-9-]+')
        mapfile -t COMPREPLY < <(compgen -W "$flags --help" -- "$word")
    elif [[ $COMP_CWORD == 1 ]]; then
        words=$("${COMP_WORDS[0]}" --help 2>/dev/null | sed -nE 's/^  ([a-z-]+) .*/\1/p')
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
    elif [[ $command == keys && $COMP_CWORD == 2 ]]; then
        mapfile -t COMPREPLY < <(compgen -W "add list revoke" -- "$word")
    elif [[ $before == --* ]]; then # one of a setting's words, if it has a list of them
        words=$("${COMP_WORDS[0]}" "$command" --help 2>/dev/null | sed -nE "s/^ +(-[a-z], )?$before ([a-z0-9]+(\|[a-z0-9]+)+) .*/\2/p" | tr '|' ' ')
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
    fi
}
complete -o default -F _pictor pictor
