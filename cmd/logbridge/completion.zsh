#compdef logbridge
# Completion of logbridge for zsh. In ~/.zshrc, behind compinit: eval "$(logbridge completion zsh)"
_logbridge() {
  local -a found open
  local line value about
  while IFS= read -r line; do
    if [[ $line == :files ]]; then
      _files
      return
    fi
    value=${line%%$'\t'*}
    about=${line#*$'\t'}
    if [[ $value == */ ]]; then
      open+=("${value//:/\\:}:$about")
    else
      found+=("${value//:/\\:}:$about")
    fi
  done < <("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)
  (( $#open )) && _describe -t values logbridge open -S ''
  (( $#found )) && _describe -t values logbridge found
}
(( $+functions[compdef] )) && compdef _logbridge logbridge
