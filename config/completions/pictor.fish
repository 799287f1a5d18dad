# Completion for fish: the program is asked what it takes, so that this never falls behind.
function __pictor_commands
    pictor --help 2>/dev/null | string replace -rf '^  ([a-z-]+) +(.*)' '$1\t$2'
end
function __pictor_flags
    set -l words (commandline -opc)
    set -l command serve
    if set -q words[2]; and string match -qr '^[a-z]' -- $words[2]
        set command $words[2]
    end
    pictor $command --help 2>/dev/null | string replace -rf '^ +(?:-[a-z], )?(--[a-z0-9-]+)\S* *\S* *(.*)' '$1\t$2'
end
complete -c pictor -n 'test (count (commandline -opc)) -eq 1' -a '(__pictor_commands)'
complete -c pictor -n '__fish_seen_subcommand_from keys' -f -a 'add list revoke'
complete -c pictor -n 'string match -q -- "-*" (commandline -ct)' -a '(__pictor_flags)'
