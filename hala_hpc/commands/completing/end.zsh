# The functions above split words as other shells do; those of zsh's own must not.
_hala_split() {
    setopt local_options sh_word_split
    _hala_candidates "$@"
}

_hala() {
    local word=${words[CURRENT]} command='' one
    local -a open closed
    if ((CURRENT > 2)); then command=${words[2]}; fi
    _hala_split "${(Q)words[1]}" "$command" "$word" "${(@)words[3,CURRENT-1]}"
    for one in ${=_hala_found}; do
        case $one in *[=.]) open+=("$one") ;; *) closed+=("$one") ;; esac
    done
    compadd -S '' -a open
    compadd -a closed
    case $_hala_files in
        folders) compset -P '*=' && _files -/ ;;
        toml) compset -P '*=' && _files -g '*.toml' ;;
    esac
}
if [ "$funcstack[1]" = _hala ]; then _hala "$@"; else compdef _hala hala; fi
