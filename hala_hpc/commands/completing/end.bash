_hala() {
    local program=$1 word='' glued='' command one i words=() found=()
    # Bash cuts words at "=" too, where COMP_WORDBREAKS has it: put them together again.
    for ((i = 1; i <= COMP_CWORD; i++)); do
        one=${COMP_WORDS[i]}
        if [[ -n $glued || ($one == "="* && ${#words[@]} -gt 0) ]]; then
            words[${#words[@]} - 1]+=$one
        else
            words+=("$one")
        fi
        glued=
        if [[ $one == "=" && $COMP_WORDBREAKS == *"="* ]]; then glued=yes; fi
    done
    word=${words[${#words[@]} - 1]}
    unset "words[${#words[@]}-1]"
    command=${words[0]-}
    _hala_candidates "$program" "$command" "$word" "${words[@]:1}"
    # Not by `compgen -W`, which would run what somebody has typed between `$(` and `)`.
    read -ra found <<<"$_hala_found"
    COMPREPLY=()
    for one in "${found[@]}"; do
        if [[ $one == "$word"* ]]; then COMPREPLY+=("$one"); fi
    done
    case $_hala_files in
        folders) mapfile -t words < <(compgen -d -- "${word#*=}") ;;
        toml)
            mapfile -t words < <(
                compgen -f -X '!*.toml' -- "${word#*=}"
                compgen -d -- "${word#*=}"
            )
            ;;
        *) words=() ;;
    esac
    if [[ -n $_hala_files ]]; then compopt -o filenames; fi
    COMPREPLY+=("${words[@]/#/${word%%=*}=}")
    # What stands before "=" is no part of the word that bash replaces.
    if [[ $word == *=* && $COMP_WORDBREAKS == *"="* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${word%%=*}="}")
    fi
    if [[ ${COMPREPLY[0]-} == *[=.] ]]; then compopt -o nospace; fi
}
complete -F _hala hala
