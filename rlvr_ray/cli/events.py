"""``rlvr events``: shows events as they come, and publishes them again."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import typer

from rlvr_ray.cli.commands import App, app
from rlvr_ray.cli.terminal import err, out, print_json, settings_of_folder
from rlvr_ray.core.errors import ConfigError
from rlvr_ray.settings.options import DataDir, Set, settings_of

events = App(help="The events on the broker.", no_args_is_help=True)
app.add_typer(events, name="events")


@events.command()
def replay(
    since: Annotated[
        datetime,
        typer.Option(
            help="UTC, such as 2026-11-23 or 2026-11-23T08:00:00.",
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"],
        ),
    ],
    data_dir: DataDir = None,
    set_: Set = None,
) -> None:
    """Publish the events committed since then again, under the same ids."""
    from rlvr_ray.pipeline import maintenance

    settings = settings_of_folder(data_dir, set_)
    when = since if since.tzinfo else since.replace(tzinfo=UTC)
    with err.status("Publishing …") as status:
        count = asyncio.run(
            maintenance.replay(settings, when, lambda n: status.update(f"{n:,} events …"))
        )
    out.print(f"{count:,} events published again")


@events.command()
def tail(
    key: Annotated[
        list[str] | None, typer.Option(help="A topic pattern such as pair.*; may be repeated.")
    ] = None,
    set_: Set = None,
) -> None:
    """Print events as they are published, one JSON object a line, until Ctrl-C."""
    from rlvr_ray import events

    mirror = settings_of(pairs=set_).mirror
    if mirror.url is None:
        raise ConfigError("the mirror is off; set mirror.url, for example amqp://localhost/")

    async def follow(url: str) -> None:
        async for _, body in events.tail(
            url, mirror.exchange, key or ["#"], listening=lambda: err.print("Ctrl-C ends it.")
        ):
            print_json(body, ascii=False)

    asyncio.run(follow(mirror.url.get_secret_value()))
