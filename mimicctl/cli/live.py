"""A session in which somebody drives, or watches a policy drive, as commands run it: device, env and displays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from mimicctl.cli.common import note

if TYPE_CHECKING:
    from mimicctl.config import RunConfig
    from mimicctl.recording.session import Autopilot, Progress
    from mimicctl.tasks import TaskSpec


def web_of(web: bool, lan: bool, port: int) -> Optional[dict[str, Any]]:
    """Where the web app is to be served; None if it is not asked for."""
    return {"lan": lan, "port": port} if web or lan else None


class LiveSession:
    """Device, env and displays of one command.

    Args:
        wanted: demonstrations, or rollouts; 0 is without end.
        recording: whether what is saved is kept.
        generating: something generates meanwhile.
        quiet: nothing that happens is said aloud, not even by a browser.
        web: how to serve the web app; None not to.

    Attributes:
        shared: the envs of a simulation of which there can be one only, if something generates meanwhile; else None.
        make_env: makes envs for this process, before and after the session.
    """

    def __init__(
        self,
        run_config: RunConfig,
        task: TaskSpec,
        wanted: int,
        *,
        recording: bool,
        generating: bool = False,
        quiet: bool = False,
        web: Optional[dict[str, Any]],
    ) -> None:
        from mimicctl.devices import make_device
        from mimicctl.envs import make_env
        from mimicctl.errors import UserError
        from mimicctl.recording.rules import for_device, rules_of
        from mimicctl.recording.session import Progress

        self._config, self._web, self._speaks = run_config, web, run_config.record.speaks and not quiet
        settings = for_device(run_config.record)
        self._page = None
        if web is None:
            self.device = make_device(task, settings, run_config.seed)
        else:
            from mimicctl.web import require_packages

            require_packages()
            from mimicctl.web.teleop import open_teleop

            self.device, self._page = open_teleop(run_config.model_copy(update={"record": settings}), task, recording=recording, quiet=quiet)
        if settings.session and web is None and not self.device.human:
            do = "choose a device of a person, or add --web, whose buttons do it"
            raise UserError(f"A session is begun and ended by a person, and {settings.device} has no button for that.", where="--session", do=do)
        self.shared, self.make_env = None, make_env
        if generating and task.isaaclab is not None:
            from mimicctl.envs.shared import SharedEnv

            # One for the operator, one in which demonstrations are replayed.
            self.shared = SharedEnv(make_env(task, 2 + run_config.generate.num_envs))
            self.make_env = self.shared.whole
        self.env = self.shared.leader if self.shared else make_env(task)
        self.progress = Progress(rules_of(settings, task, wanted, human=self.device.human))

    def run(
        self,
        writer: Any,
        *,
        failed: Any = None,
        first_attempt: int = 0,
        beside: Any = None,
        autopilot: Autopilot | None = None,
        start_states: Optional[dict[str, int]] = None,
    ) -> None:
        """See `run_session`.

        Args:
            beside: what goes on beside the recording.
            start_states: `seed` and `seed_space`; None: those of a recording.
        """
        from mimicctl.recording.session import run_session
        from mimicctl.recording.status import StatusDisplay

        if writer is not None and self._config.record.operator and not self.device.human:
            note(f"No person drives, so the demonstrations are put down to {self.device.name}, not to {self._config.record.operator}.")
        self.device.start()
        try:
            with StatusDisplay(self.env.task, self.device.help()) as display, self._served(display.say) as show_page, self._spoken(display.say) as speak:
                usual = self.env.task.swing_cancellation

                def show(progress: Progress) -> None:
                    nonlocal usual
                    if progress.swing_cancellation != usual and progress.swing_cancellation is not None:
                        before, usual = usual, progress.swing_cancellation
                        display.say(f"Swing cancellation was {'on' if before else 'off'} and is {'on' if usual else 'off'} from here on.")
                    if beside is not None:
                        progress.beside = beside.follow(progress.saved, display.say)
                    display.update(progress)
                    show_page(progress)
                    speak(progress)

                run_session(
                    self.env,
                    self.device,
                    writer,
                    self.progress,
                    **(start_states or {"seed": self._config.seed}),
                    operator=self._config.record.operator,
                    consent_id=self._config.record.consent_id,
                    first_attempt=first_attempt,
                    failed=failed,
                    autopilot=autopilot,
                    on_step=show,
                )
        finally:
            self.device.close()

    @contextmanager
    def _spoken(self, say: Callable[[str], None]) -> Iterator[Callable[[Progress], None]]:
        """Gives what says aloud how the session goes, if that is wanted. A browser speaks for itself."""
        if not self._speaks or self._page is not None:
            yield lambda progress: None
            return
        from mimicctl.recording.cues import Cues, Voice

        with Voice() as voice:
            if not voice.name:
                say("Nothing on this machine speaks (espeak-ng would), so cues are the terminal's bell. --web speaks in the browser.")
            cues = Cues(voice.say)

            def speak(progress: Progress) -> None:
                cues.follow(progress)
                voice.go_on()

            yield speak

    @contextmanager
    def _served(self, say: Callable[[str], None]) -> Iterator[Callable[[Progress], None]]:
        """The web app, if it is wanted. Gives what shows the session's progress there."""
        if self._page is None:
            yield lambda progress: None
            return
        from mimicctl.cli.web import DATASET_PAGES
        from mimicctl.web import datasets
        from mimicctl.web.serving import serving
        from mimicctl.web.stage import Stages
        from mimicctl.web.workspace import Workspace

        recordings = Workspace.of_folder(Path(self._config.record.output_file).parent)
        routes, pages = (
            [*self._page.routes(), *datasets.routes(recordings, Stages())],
            {"teleop.html": "Drive", "datasets.html": DATASET_PAGES["datasets.html"]},
        )
        with serving(routes, pages, **self._web, say=say):
            try:
                yield self._page.show
            finally:
                self._page.finish(self.progress)
