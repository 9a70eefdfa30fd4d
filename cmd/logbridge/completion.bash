# Completion of logbridge for bash. In ~/.bashrc: eval "$(logbridge completion bash)"
_logbridge() {
  local value about
  COMPREPLY=()
  while IFS=$'\t' read -r value about; do
    if [[ $value == :files ]]; then
      compopt -o default 2>/dev/null
      return
    fi
    [[ $value == */ ]] && compopt -o nospace 2>/dev/null
    COMPREPLY+=("$value")
  done < <("${COMP_WORDS[0]}" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _logbridge logbridge
