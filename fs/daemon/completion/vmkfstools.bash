# Bash completion of `vmkfstools`. Installed as share/bash-completion/completions/vmkfstools.

_vmkfstools() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} words=
  case $previous in
    -d | --diskformat)
      words='thin zeroedthick thick eagerzeroedthick 2gbsparse 2gbflat sesparse vmfssparse monosparse monoflat streamoptimized'
      ;;
    -a | --adaptertype) words='ide buslogic lsilogic legacyESX lsisas pvscsi' ;;
    -x | --fix) words='check repair' ;;
    -C | --createfs) words=vmfs6 ;;
    -W) words=file ;;
    -b | --blocksize) words=1m ;;
    -t | --mapdisk) words=0 ;;
    -v | --verbose) words=10 ;;
    -c | --createvirtualdisk | -X | --extendvirtualdisk | -S | --setfsname) return ;;
    *)
      if [[ $current == -* ]]; then
        words='--createvirtualdisk --clonevirtualdisk --writezeros --inflatedisk --eagerzero --punchzero
          --renamevirtualdisk --deletevirtualdisk --extendvirtualdisk --chainConsistent --fix --geometry --mapdisk
          --uniqueblocks --objecttype --createfs --queryfs --dumpmetadata --activehosts --createrdm --createrdmpassthru --queryrdm --diskformat --adaptertype
          --avoidnativeclone --blocksize --setfsname --verbose --humanreadable --help --version
          -c -i -r -z -q -w -j -k -K -E -U -X -e -x -g -t -Q -C -P -D -d -a -W -N -b -S -v -h'
      fi
      ;;
  esac
  if [[ -n $words ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
  else
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
    compopt -o filenames 2>/dev/null
  fi
}

complete -F _vmkfstools vmkfstools
