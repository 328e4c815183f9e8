# Sets _hala_found to words that may stand in the place of WORD, and _hala_files to the kind of files
# that may stand behind its "=": folders, toml, or nothing.
_hala_candidates() { # PROGRAM COMMAND WORD [OTHER_WORD ...]
    local program=$1 command=$2 word=$3 key one found
    shift 3
    _hala_found='' _hala_files='' _hala_nodes='' _hala_node='' _hala_stage=''
    case $word in
        *=*)
            key=${word%%=*}
            _hala_values "$command" "$key" "${word#*=}" "$@"
            ;;
        *)
            _hala_arguments "$command"
            found=$_hala_found _hala_found=''
            for one in $found; do
                case " $* " in *" $one"*) continue ;; esac
                case $one in "$word"*) _hala_found="$_hala_found $one" ;; esac
            done
            # Only where nothing else is meant: it takes longer.
            if [ "$command" = launch ] && [ -z "$_hala_found" ]; then
                _hala_settings_of "$word" "$@"
            fi
            ;;
    esac
}

# Words that set one setting of a node or of the nodes of a stage.
_hala_settings_of() { # WORD [OTHER_WORD ...]
    local word=$1 one settings
    shift
    _hala_read_nodes launch "$@"
    _hala_find_node "$word"
    if [ -n "$_hala_node" ]; then
        _hala_settings "$_hala_stage"
        settings=$_hala_found _hala_found=''
        for one in $settings; do _hala_found="$_hala_found $_hala_node.$one"; done
    else
        for one in $_hala_names; do _hala_found="$_hala_found $one."; done
    fi
}

# Words KEY=... with what may stand behind it.
_hala_values() { # COMMAND KEY VALUE [OTHER_WORD ...]
    local command=$1 key=$2 value=$3 before='' one found
    shift 3
    case $key in
        *.*)
            [ "$command" = launch ] || return 0
            _hala_read_nodes launch "$@"
            _hala_find_node "$key"
            _hala_setting_values "$_hala_stage.${key#"$_hala_node".}"
            ;;
        *) _hala_argument_values "$command.$key" ;;
    esac
    case $_hala_found in
        nodes | node)
            # Of several the last one is being typed.
            case $_hala_found$value in nodes*,*) before=${value%,*}, ;; esac
            _hala_read_nodes "$command" "$@"
            case $_hala_found$before in nodes) found=all ;; *) found= ;; esac
            _hala_found="$found $_hala_names"
            ;;
        folder) _hala_files=folders _hala_found='' ;;
        recipe) _hala_files=toml _hala_found=$_hala_recipes ;;
        launcher) _hala_files=toml _hala_found=$_hala_launchers ;;
    esac
    found=$_hala_found _hala_found=''
    for one in $found; do _hala_found="$_hala_found $key=$before$one"; done
}

# Sets _hala_nodes to a line for each node that the line may name, "name stage", and _hala_names to
# their names and those of their stages.
_hala_read_nodes() { # COMMAND [WORD ...]
    local name stage stages=''
    _hala_nodes=$("$program" completion nodes "$@" 2>/dev/null) _hala_names=''
    while read -r name stage; do
        _hala_names="$_hala_names $name"
        case " $stages " in *" $stage "*) ;; *) stages="$stages $stage" ;; esac
    done <<END
$_hala_nodes
END
    if [ "$1" = launch ] || [ "$1" = fetch ] || [ "$1" = doctor ]; then
        for name in $stages; do
            case " $_hala_names " in *" $name "*) ;; *) _hala_names="$_hala_names $name" ;; esac
        done
    fi
}

# Sets _hala_node and _hala_stage to the node, or stage, that a dotted key begins with.
_hala_find_node() { # KEY
    local name stage
    _hala_node='' _hala_stage=''
    while read -r name stage; do
        case $1 in
            "$stage".*) [ -n "$_hala_node" ] || _hala_node=$stage _hala_stage=$stage ;;
        esac
        case $1 in
            "$name".*) [ ${#name} -lt ${#_hala_node} ] || _hala_node=$name _hala_stage=$stage ;;
        esac
    done <<END
$_hala_nodes
END
}
