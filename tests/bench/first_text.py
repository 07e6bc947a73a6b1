"""How long it takes from the click to the first text of an answer on the page.

    python -m tests.bench.first_text --asks 10

Starts `rlvr serve` with the embedded engine and the demo's documents, asks once to warm it, then
asks the demo's questions with the form's defaults, each after the one before was decided. The time
is the page's own: from the click until a frame with text in any answer.
"""

import argparse
import json
import statistics

from rlvr_ray.cli import demo
from tests.browser import real

#: Counts in the page; ``seen`` says when, in milliseconds after the click.
WATCH = """() => {
  window.seen = new Promise((resolve) => {
    document.addEventListener('click', (event) => {
      if (!event.target.closest('[data-testid=ask]')) return;
      const clicked = performance.now();
      const found = () => [...document.querySelectorAll('[data-testid^=answer-]')]
        .some((answer) => answer.textContent.trim());
      new MutationObserver((_, watching) => {
        if (!found()) return;
        watching.disconnect();
        requestAnimationFrame(() => resolve(performance.now() - clicked));
      }).observe(document.body, {childList: true, subtree: true, characterData: true});
    }, {capture: true, once: true});
  });
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--asks", type=int, default=10)
    asks = parser.parse_args().asks
    with real.system() as system, real.page() as page:
        times = []
        for number in range(asks + 1):
            page.goto("about:blank")
            page.goto(f"{system.url}/#/ask")
            question = demo.QUESTIONS[number % len(demo.QUESTIONS)]
            page.get_by_test_id("question").fill(question)
            page.evaluate(WATCH)
            page.get_by_test_id("ask").click()
            seconds = page.evaluate("window.seen") / 1000
            page.get_by_test_id("outcome").wait_for()
            if number:
                times.append(seconds)
            print(f"{seconds:.2f} s  {'' if number else 'cold: '}{question}", flush=True)
    print(
        json.dumps(
            {
                "asks": asks,
                "p50": round(statistics.median(times), 2),
                "least": round(min(times), 2),
                "most": round(max(times), 2),
            }
        )
    )


if __name__ == "__main__":
    main()
