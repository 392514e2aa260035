# Bash completion of `strata`. Installed as share/bash-completion/completions/strata.

# The options and commands behind the command words "$*" (empty: `strata` itself).
_strata_words() {
  case "$*" in
    '') echo --help --version mkfs mount umount status ls cat get put rm mkdir disk import export fsck volume dump ;;
    mkfs) echo --help --label --size --force --no-discard --json ;;
    mount) echo --help --read-only --adopt --allow-outside --foreground --cache --transport ;;
    umount) echo --help --lazy ;;
    import) echo --help --format --source-format --no-verify --in-place --json ;;
    export) echo --help --format --no-verify --json ;;
    fsck) echo --help --repair --yes --json ;;
    status | ls | 'volume info') echo --help --json ;;
    cat | get | put | rm | mkdir) echo --help ;;
    disk)
      echo --help create create-rdm info rename delete extend clone compare hash map defragment inflate eager-zero punch zero
      echo attach detach rebase snapshot consolidate check
      ;;
    'disk snapshot') echo --help create list revert delete delete-all measure ;;
    'disk create') echo --help --datastore --allow-outside --size --format --layout --adapter --grain --all-tables ;;
    'disk create-rdm') echo --help --datastore --allow-outside --physical ;;
    'disk rename' | 'disk detach') echo --help --datastore --allow-outside ;;
    'disk delete') echo --help --datastore --allow-outside --all-snapshots --json ;;
    'disk extend') echo --help --datastore --allow-outside --format ;;
    'disk clone') echo --help --datastore --allow-outside --format --grain --all-tables --linked --device --physical --json ;;
    'disk attach') echo --help --datastore --allow-outside --force ;;
    'disk rebase') echo --help --datastore --allow-outside --copy --force --json ;;
    'disk check') echo --help --datastore --allow-outside --repair --explain --fix --folder --json ;;
    'disk consolidate' | 'disk snapshot delete' | 'disk snapshot delete-all') echo --help --datastore --allow-outside --reclaim --json ;;
    'disk snapshot create') echo --help --datastore --allow-outside --format --description --json ;;
    'disk snapshot revert') echo --help --datastore --allow-outside --format --json ;;
    'disk '*) echo --help --datastore --allow-outside --json ;;
    volume) echo --help info ;;
    dump) echo --help --lvm --superblock --heartbeats --inode --directory --cluster --lock --journal ;;
  esac
}

# The words an option takes behind the command words "$2"; nothing for free text.
_strata_values() {
  case "$2 $1" in
    'disk extend --format') echo thin zeroedthick eagerzeroedthick && return ;;
    'disk snapshot '*' --format') echo seSparse vmfsSparse && return ;;
    'import --format' | 'disk create --format' | 'disk clone --format')
      echo thin zeroedthick eagerzeroedthick monolithicFlat twoGbMaxExtentFlat monolithicSparse
      echo twoGbMaxExtentSparse vmfsSparse seSparse
      return
      ;;
    'import --source-format') echo auto raw && return ;;
    'export --format') echo ova streamOptimized flat raw qcow2 && return ;;
  esac
  case $1 in
    --cache) echo writeback writethrough ;;
    --transport) echo auto device ;;
    --layout) echo vmfs monolithicFlat twoGbMaxExtentFlat ;;
    --adapter) echo ide buslogic lsilogic legacyESX lsisas pvscsi ;;
    --cluster) echo fd: sub-block: pb2: journal: large-block: small-block: pointer-block: ;;
  esac
}

# Mount points of Strata, without their inner `devices`; octal escapes are those of proc(5).
_strata_mount_points() {
  local mount_point type
  while read -r _ mount_point type _; do
    [[ $type == fuse.strata && $mount_point != */devices ]] && printf '%b\n' "${mount_point//\\/\\0}"
  done </proc/self/mounts
}

_strata() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
  local -a command=()
  local word
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "${command[*]}" in
      '' | disk | 'disk snapshot' | volume) [[ $word == -* ]] || command+=("$word") ;;
    esac
  done

  local values
  values=$(_strata_values "$previous" "${command[*]}")
  COMPREPLY=()
  if [[ -n $values ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$values" -- "$current")
    if [[ $previous == --cluster ]]; then compopt -o nospace 2>/dev/null; fi
    return
  fi
  case $previous in
    --label | --size | --lock | --journal | --inode | --directory) return ;;
  esac
  case "${command[*]}" in
    '' | disk | 'disk snapshot' | volume) ;;
    umount | status)
      if [[ $current != -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_strata_mount_points)" -- "$current")
        return
      fi
      ;;
    *)
      if [[ $current != -* ]]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        compopt -o filenames 2>/dev/null
        return
      fi
      ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$(_strata_words "${command[@]}")" -- "$current")
}

complete -F _strata strata
