"""`cai check`: is a judge, is a critic worth its answers?"""

from __future__ import annotations

import typer

from cai.cli import check_critic, check_judge
from cai.cli.help import Verb, Verbs

app = typer.Typer(cls=Verbs, no_args_is_help=True, add_completion=False, rich_markup_mode=None)
app.command("judge", cls=Verb)(check_judge.judge_check)
app.command("critic", cls=Verb)(check_critic.critic_check)
