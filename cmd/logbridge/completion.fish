# Completion of logbridge for fish: logbridge completion fish > ~/.config/fish/completions/logbridge.fish
function __logbridge_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in ($words[1] __complete $words[2..-1] "$current" 2>/dev/null)
        if test "$line" = :files
            __fish_complete_path "$current"
            return
        end
        echo $line
    end
end
complete -c logbridge -f -a '(__logbridge_complete)'
