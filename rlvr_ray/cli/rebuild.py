"""``rlvr rebuild``: the dataset files, written again from the ledger."""

from rich.text import Text

from rlvr_ray.cli.commands import app
from rlvr_ray.cli.terminal import err, out, print_json, settings_of_folder
from rlvr_ray.settings.options import DataDir, Json, Set


@app.command()
def rebuild(data_dir: DataDir = None, set_: Set = None, as_json: Json = False) -> None:
    """Write every dataset file again from the ledger, byte for byte."""
    from rlvr_ray.pipeline import maintenance

    settings = settings_of_folder(data_dir, set_)
    with err.status("Writing …"):
        files = maintenance.rebuild(settings)
    if as_json:
        print_json(files)
        return
    for path, same in files.items():
        text = f"{path}  {'as before' if same else 'differs from before'}"
        out.print(Text(text, "" if same else "yellow"), soft_wrap=True)
    if not files:
        out.print("no batch is decided yet: there are no files")
