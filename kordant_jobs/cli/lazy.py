"""Commands whose module is imported only when they are called, which keeps other commands fast."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True, kw_only=True)
class Lazy:
    """A command, or a group of commands: its place (`module:name`, a Typer or a function) and its line in the help."""

    where: str
    help: str

    def load(self, name: str) -> Any:
        """Import the command, as Typer's own type (Typer includes Click, without a public name for its types)."""
        module, _, attribute = self.where.partition(":")
        target: Any = getattr(import_module(module), attribute)
        parent = typer.Typer(add_completion=False)
        if isinstance(target, typer.Typer):
            parent.add_typer(target, name=name)
        else:
            parent.command(name)(target)
        return typer.main.get_group(parent).commands[name]


class LazyGroup(TyperGroup):
    """A group with lazy commands beside its own; listing them imports none."""

    lazy: dict[str, Lazy]
    _listing = False

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands.update({name: TyperCommand(name, help=one.help) for name, one in self.lazy.items()})

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command; while the help is written, only its line."""
        lazy = None if self._listing else self.lazy.get(cmd_name)
        return lazy.load(cmd_name) if lazy else super().get_command(ctx, cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The help of the group."""
        self._listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._listing = False


def lazy_group(commands: dict[str, Lazy]) -> type[LazyGroup]:
    """A class for `typer.Typer(cls=…)` with these commands."""
    return type("LazyGroup", (LazyGroup,), {"lazy": commands})
