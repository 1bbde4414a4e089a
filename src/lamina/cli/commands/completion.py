"""`lamina completion`."""

from __future__ import annotations

import click

from lamina.cli.table import SHELLS

_BASH = r"""_lamina_completion() {
    local kind value help
    COMPREPLY=()
    while IFS=$'\t' read -r kind value help; do
        if [[ $kind == file ]]; then
            compopt -o default
        else
            COMPREPLY+=("$value")
        fi
    done < <(_LAMINA_COMPLETE=bash _LAMINA_BREAKS="$COMP_WORDBREAKS" COMP_LINE="$COMP_LINE" COMP_POINT="$COMP_POINT" \
             "$1" 2>/dev/null)
}
complete -F _lamina_completion lamina
"""
_ZSH = r"""#compdef lamina
_lamina() {
    local kind value help
    local -a found
    while IFS=$'\t' read -r kind value help; do
        if [[ $kind == file ]]; then
            _files
        else
            found+=("${value//:/\\:}${help:+:$help}")
        fi
    done < <(_LAMINA_COMPLETE=zsh "${words[1]}" "${(@)words[2,CURRENT]}" 2>/dev/null)
    (( $#found )) && _describe -V lamina found
}
if [[ ${funcstack[1]} == _lamina ]]; then _lamina "$@"; else compdef _lamina lamina; fi
"""
_FISH = r"""function __lamina_complete
    set -l words (commandline -opc)
    for line in (_LAMINA_COMPLETE=fish $words[1] $words[2..] (commandline -ct) 2>/dev/null)
        set -l part (string split \t -- $line)
        if test $part[1] = file
            __fish_complete_path (commandline -ct)
        else
            printf '%s\t%s\n' $part[2] $part[3]
        end
    end
end
complete --no-files --command lamina --arguments '(__lamina_complete)'
"""
SCRIPTS = dict(zip(SHELLS, (_BASH, _ZSH, _FISH), strict=True))


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash:  source <(lamina completion bash)
    zsh:   source <(lamina completion zsh)
    fish:  lamina completion fish | source
    """
    click.echo(SCRIPTS[shell], nl=False)
