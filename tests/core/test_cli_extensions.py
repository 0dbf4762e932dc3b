"""Commands that other distributions add, by the entry-point group ``omniagents.commands``: good, bad, two of a name."""

from __future__ import annotations

import sys

import pytest
from tests.core.cli_support import Program
from tests.core.site_packages import SitePackages

from omniagents.plugins.manager import DISABLE_VARIABLE

pytestmark = pytest.mark.extra

GREET = """
    import click

    @click.group()
    def greet():
        "Greetings."

    @greet.command()
    @click.argument("name")
    @click.option("--loud", is_flag=True)
    def hello(name, loud):
        "Say hello."
        click.echo(f"hello {name}" + "!" * loud)
"""


def install(site: SitePackages, distribution: str, source: str, command: str = "greet") -> None:
    module = distribution.replace("-", "_")
    site.install(
        distribution, entry_points={}, modules={module: source}, commands={command: f"{module}:greet"}, version="1.2"
    )


def listed(program: Program) -> dict[str, str]:
    """The commands in ``--help``, each with what is said of it."""
    answer = program("--help")
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.partition("Commands:\n")[2].splitlines()
    return {name: said.strip() for name, _, said in (line.strip().partition(" ") for line in lines)}


def test_a_command_of_a_plugin_is_listed_and_runs_with_its_arguments(
    program: Program, site_packages: SitePackages
) -> None:
    install(site_packages, "acme-greetings", GREET)
    assert listed(program)["greet"] == "Greetings."
    assert program("greet", "hello", "bob", "--loud") == (0, "hello bob!\n", "")
    assert program("greet", "hello", "--help").out.startswith("Usage: omniagents greet hello [OPTIONS] NAME\n")


def test_its_errors_are_one_line_like_those_of_our_own(program: Program, site_packages: SitePackages) -> None:
    source = """
        import click
        from omniagents.errors import StateError

        @click.command()
        def greet():
            raise StateError("nobody is at home")
    """
    install(site_packages, "acme-greetings", source)
    assert program("greet") == (1, "", "omniagents: nobody is at home\n")


def test_it_is_not_imported_to_run_another_command(program: Program, site_packages: SitePackages) -> None:
    install(site_packages, "acme-greetings", GREET)
    assert program("plugins").code == 0
    assert "acme_greetings" not in sys.modules


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import acme_missing", "ModuleNotFoundError: No module named 'acme_missing'"),
        ("raise SystemExit('usage: greet')", "SystemExit: usage: greet"),
        ("", "AttributeError: module 'acme_greetings' has no attribute 'greet'"),
        ("greet = 3", "TypeError: 3 is not a click.Command"),
    ],
    ids=["import", "exit", "name", "type"],
)
@pytest.mark.parametrize("arguments", [(), ("hello", "bob", "--loud"), ("--help",)], ids=str)
def test_a_broken_one_says_why_and_whose_it_is_whatever_it_is_given(
    program: Program, site_packages: SitePackages, source: str, why: str, arguments: tuple[str, ...]
) -> None:
    install(site_packages, "acme-greetings", source)
    assert program("greet", *arguments) == (
        1,
        "",
        "omniagents: the command 'greet' of acme-greetings 1.2 cannot be loaded: importing acme_greetings:greet: "
        f"{why}; upgrade or uninstall acme-greetings\n",
    )


def test_beside_a_broken_one_all_others_work(program: Program, site_packages: SitePackages) -> None:
    install(site_packages, "acme-broken", "import acme_missing", command="broken")
    install(site_packages, "acme-greetings", GREET)
    (site_packages.path / "stranger-1.0.dist-info").mkdir()
    (site_packages.path / "stranger-1.0.dist-info" / "entry_points.txt").write_text("no section\n")
    assert listed(program)["broken"] == "Cannot be used; run it to see why."
    assert program("greet", "hello", "bob").out == "hello bob\n"
    assert program("plugins").code == 0
    assert program("nonsense").err.splitlines()[-1].startswith("Error: No such command 'nonsense'.")


def test_two_distributions_with_one_command_are_both_named(program: Program, site_packages: SitePackages) -> None:
    install(site_packages, "acme-greetings", GREET)
    install(site_packages, "rival-greetings", GREET)
    code, _, error = program("greet", "hello", "bob")
    assert code == 1
    owners = ["acme-greetings 1.2", "rival-greetings 1.2"]
    # Which comes first is the file system's order.
    assert error in [
        f"omniagents: the command 'greet' is declared by {first} and by {second}; uninstall one\n"
        for first, second in (owners, reversed(owners))
    ]


def test_none_takes_the_place_of_one_of_ours(program: Program, site_packages: SitePackages) -> None:
    install(site_packages, "acme-greetings", GREET, command="plugins")
    assert listed(program)["plugins"].startswith("List every backend")
    assert program("plugins").out.startswith("kind ")


def test_a_disabled_one_is_not_there_at_all(
    program: Program, site_packages: SitePackages, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(site_packages, "acme-greetings", "raise SystemExit('imported')")
    monkeypatch.setenv(DISABLE_VARIABLE, "greet")
    assert "greet" not in listed(program)
    assert program("greet").code == 2
    assert program("plugins").code == 0
    assert caplog.text == ""
