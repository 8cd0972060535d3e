"""Long results and full contexts: what an agent's model is shown, and how it reads the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from executor_worker.errors import ContextExceeded, ModelRejected
from executor_worker.nodes.agent.conversation import KEPT_TURNS
from executor_worker.nodes.agent.shown_results import LONGEST_IMAGE_CHARS, MOST_IMAGES
from executor_worker.nodes.context_budget import ContextBudget
from executor_worker.outcome import Completed, Failed
from executor_worker.providers.base import ModelReply, ModelRequest, ToolResult, ToolTurn
from executor_worker.providers.prices import Price, Prices
from executor_worker.tools.base import Answer
from tests.unit.executor_worker.nodes.conftest import execute
from tests.unit.executor_worker.nodes.doubles import FunctionTool, ScriptedModel, SeenRunContext, call, reply
from tests.unit.executor_worker.nodes.test_journal import Kept

Done = Callable[..., Completed]
Bad = Callable[..., Failed]

LONG = "".join(f"line {n:06}\n" for n in range(10_000))
SMALL = ContextBudget(result_chars=1000, context_tokens=1000)
TOO_LONG = ContextExceeded("model-1: HTTP 400: prompt is too long")


def agent(**more: Any) -> dict[str, Any]:
    return {"llm_config": {}, "task": "Do it", "tools": ["fetch"], **more}


def fetch(body: Callable[..., Any] = lambda **_: LONG) -> FunctionTool:
    return FunctionTool("fetch", body)


def fetching(n: int = 0, tokens: tuple[int, int] = (10, 5)) -> ModelReply:
    return reply("", call("fetch", {"n": n}, f"f{n}"), tokens=tokens)


def reading(tokens: tuple[int, int] = (10, 5), **arguments: Any) -> ModelReply:
    return reply("", call("read_result", arguments, "r"), tokens=tokens)


def results(request: ModelRequest) -> list[ToolResult]:
    """All results that a request shows."""
    return [result for turn in request.turns if isinstance(turn, ToolTurn) for result in turn.results]


def shown(request: ModelRequest) -> list[str]:
    return [result.text for result in results(request)]


def names(request: ModelRequest) -> list[str]:
    return [spec.name for spec in request.tools]


# -- long results -------------------------------------------------------------------------------------


def test_a_long_result_is_cut_and_the_model_reads_on(completed: Done) -> None:
    """Page by page, to its end; the tool for it is offered only then, calls nothing and is told as done."""
    model = ScriptedModel(
        fetching(), reading(id="1", offset=792), reading(id="1", offset=119_900, limit=5000), reply("Read.")
    )
    tool, run_context = fetch(), SeenRunContext()
    output = completed(agent(), model=model, tools=(tool,), room=SMALL, run_context=run_context).output
    cut, page, end = shown(model.requests[3])
    assert [names(request) for request in model.requests] == [["fetch"], *[["fetch", "read_result"]] * 3]
    assert cut.startswith(LONG[:792]) and len(cut) <= 1000
    assert 'first 792 of 120,000 characters. read_result(id="1", offset=792) reads on' in cut
    assert page == f"{LONG[792:1584]}\n[Characters 792 to 1,584 of 120,000; offset=1584 reads on.]"
    assert end == f"{LONG[119_900:]}\n[Characters 119,900 to 120,000 of 120,000, its end.]"
    assert [(made["name"], made["ok"]) for made in output["tool_calls"]] == [
        ("fetch", True), ("read_result", True), ("read_result", True)
    ]  # fmt: skip
    assert (len(tool.calls), run_context.tools) == (1, [("fetch", True)])


def test_the_model_looks_for_a_text(completed: Done) -> None:
    """The places are shown with what is around them."""
    model = ScriptedModel(
        fetching(), reading(id="1", search="LINE 004321"), reading(id="1", search="?"), reply("Read.")
    )
    completed(agent(), model=model, tools=(fetch(),), room=SMALL)
    _, found, nothing = shown(model.requests[3])
    assert found.startswith(f"at {4321 * 12}: …") and "line 004320\nline 004321\nline 004322" in found
    assert nothing == "'?' is not found in it from 0 on."


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"id": "2"}, "There is no result '2'; there are 1 to 1."),
        ({"id": "one"}, "There is no result 'one'; there are 1 to 1."),
        ({"id": "1", "offset": 120_001}, "Result 1 has 120,000 characters only."),
        ({"offset": 1}, "The arguments do not fit the tool's schema: 'id' is a required property."),
    ],
)
def test_what_can_not_be_read_is_told(completed: Done, arguments: dict[str, Any], said: str) -> None:
    """The model may ask again."""
    model = ScriptedModel(fetching(), reading(**arguments), reply("Oh."))
    output = completed(agent(), model=model, tools=(fetch(),), room=SMALL).output
    assert results(model.requests[2])[1] == ToolResult("r", said, is_error=True)
    assert output["tool_calls"][1] == {"name": "read_result", "ok": False, "duration_ms": 0}


def test_reading_needs_nothing_to_be_cut(completed: Done) -> None:
    """It may have been in an earlier run, whose answers this one is led along; then it is not offered."""
    model = ScriptedModel(reading(id="1"), reading(id="1"), reply("Oh."))
    completed(agent(), model=model, tools=(fetch(),))
    first, second = shown(model.requests[2])
    assert first == "There is no result '1'; there are none yet."
    assert second.startswith(first)
    assert [names(request) for request in model.requests] == [["fetch"]] * 3


def test_a_tool_of_the_same_name_stays_what_it_is(completed: Done) -> None:
    """Ours gives way."""
    theirs = FunctionTool("read_result", lambda **_: LONG)
    model = ScriptedModel(reading(id="x"), reply("", call("read_result_", {"id": "1", "limit": 12})), reply("Read."))
    completed({**agent(), "tools": ["read_result"]}, model=model, tools=(theirs,), room=SMALL)
    assert names(model.requests[1]) == ["read_result", "read_result_"]
    assert shown(model.requests[2])[1].startswith("line 000000\n\n[Characters 0 to 12 of")
    assert theirs.calls == [{"id": "x"}]


def test_errors_are_cut_as_well(completed: Done) -> None:
    """A stack of a thousand frames is one."""
    model = ScriptedModel(fetching(), reply("Oh."))
    completed(agent(), model=model, tools=(fetch(lambda **_: Answer(None, LONG, is_error=True)),), room=SMALL)
    (result,) = results(model.requests[1])
    assert result.is_error and len(result.text) <= 1000


def test_what_is_not_too_long_is_shown_as_it_came(completed: Done) -> None:
    """Links and images beside it too."""
    blocks = ({"type": "image", "data": "AAAA", "mimeType": "image/png"}, {"type": "resource_link", "uri": "u"})
    model = ScriptedModel(fetching(), reply("Seen."))
    completed(agent(), model=model, tools=(fetch(lambda **_: Answer(None, "x" * 990, blocks)),), room=SMALL)
    assert results(model.requests[1]) == [ToolResult("f0", "x" * 990, blocks=blocks)]


def test_images_too_large_or_too_many_are_told_in_words(completed: Done) -> None:
    """The API would refuse the whole request for one of them."""
    image: dict[str, Any] = {"type": "image", "data": "AAAA", "mimeType": "image/png"}
    large = {**image, "data": "A" * (LONGEST_IMAGE_CHARS + 4)}
    blocks = (large, *({**image, "n": n} for n in range(MOST_IMAGES + 2)))
    model = ScriptedModel(fetching(), reply("Seen."))
    completed(agent(), model=model, tools=(fetch(lambda **_: Answer(None, "text", blocks)),))
    (result,) = results(model.requests[1])
    assert result.blocks == blocks[1 : MOST_IMAGES + 1]
    assert result.text.split("\n") == [
        "text",
        "[image/png of 3750003 bytes, not shown]",
        *["[image/png of 3 bytes, not shown]"] * 2,
    ]


def test_text_in_blocks_counts_as_text(completed: Done) -> None:
    """An embedded document is cut and read on like any other text."""
    block = {"type": "resource", "resource": {"uri": "file:///log", "text": LONG}}
    model = ScriptedModel(fetching(), reading(id="1", offset=LONG.index("line 009999") + 3), reply("Read."))
    completed(agent(), model=model, tools=(fetch(lambda **_: Answer(None, "The log:", (block,))),), room=SMALL)
    cut, end = results(model.requests[2])
    assert cut.text.startswith("The log:\nline 000000") and len(cut.text) <= 1000 and cut.blocks == ()
    assert "009999" in end.text


# -- full contexts ------------------------------------------------------------------------------------


def test_old_results_are_cleared_when_the_context_fills(completed: Done) -> None:
    """All but the newest at once, once the prompt is larger than it should be; they can be read again."""
    text = "x" * 900
    sizes = [100, 200, 300, 400, 500, 990, 600, 600]
    model = ScriptedModel(
        *(fetching(n, (size, 0)) for n, size in enumerate(sizes[:7])), reading((600, 0), id="2", limit=5), reply("End.")
    )
    completed(agent(), model=model, tools=(fetch(lambda **_: text),), room=SMALL)
    # 990 tokens and the new result of 900 characters are more than 1000; 500 and such a one were not.
    full, room_made, after, last = model.requests[5:]
    assert shown(full) == [text] * 5 and names(full) == ["fetch"]
    note = '[Cleared to save room: 900 characters. read_result(id="{}") shows the text again.]'
    assert shown(room_made) == [note.format(n) for n in (1, 2, 3)] + [text] * KEPT_TURNS
    assert shown(after) == [*shown(room_made), text]
    assert [request.turns[1] for request in model.requests[1:]] == [fetching(0).turn] * 8
    assert shown(last)[-1] == "xxxxx\n[Characters 0 to 5 of 900; offset=5 reads on.]"
    assert names(last) == ["fetch", "read_result"]


def test_short_results_are_not_worth_clearing(completed: Done) -> None:
    """A note would be as long."""
    model = ScriptedModel(*(fetching(n, (5000, 0)) for n in range(6)), reply("End."))
    completed(agent(), model=model, tools=(fetch(lambda **_: "short"),), room=SMALL)
    assert shown(model.requests[6]) == ["short"] * 6


def test_images_are_cleared_too(completed: Done) -> None:
    """However short the text beside them."""
    image = {"type": "image", "data": "AAAA", "mimeType": "image/png"}
    model = ScriptedModel(*(fetching(n, (5000, 0)) for n in range(4)), reply("End."))
    completed(agent(), model=model, tools=(fetch(lambda **_: Answer(None, "a map", (image,))),), room=SMALL)
    first = results(model.requests[4])[0]
    assert first.blocks == () and "5 characters and its images" in first.text


def test_a_known_window_comes_before_the_setting(completed: Done) -> None:
    """Three quarters of it may be used."""
    prices = Prices({"model-1": Price(0, 0, 0, 0, context_window=4000)})
    for size, cleared in ((2700, False), (3000, True)):
        model = ScriptedModel(*(fetching(n, (size, 0)) for n in range(4)), reply("End."))
        completed(
            agent(),
            model=model,
            tools=(fetch(lambda **_: "x" * 600),),
            prices=prices,
            room=ContextBudget(1000, 150_000),
        )
        assert shown(model.requests[4])[0].startswith("[Cleared") is cleared


def test_a_prompt_that_was_too_long_is_shortened_and_sent_once_more(completed: Done) -> None:
    """All but the newest results are cleared; it costs no iteration."""
    model = ScriptedModel(fetching(1), fetching(2), TOO_LONG, fetching(3), reply("End."))
    output = completed(agent(), model=model, tools=(fetch(lambda **_: "x" * 600),)).output
    assert (output["result"], output["iterations"]) == ("End.", 4)
    assert [text.startswith("[Cleared") for text in shown(model.requests[2])] == [False, False]
    assert [text.startswith("[Cleared") for text in shown(model.requests[3])] == [True, False]
    assert [text.startswith("[Cleared") for text in shown(model.requests[4])] == [True, False, False]


def test_the_newest_results_are_cleared_where_nothing_else_is_left(completed: Done) -> None:
    """The model may read them page by page."""
    model = ScriptedModel(fetching(), TOO_LONG, reading(id="1", limit=5), reply("End."))
    completed(agent(), model=model, tools=(fetch(lambda **_: "x" * 600),))
    assert shown(model.requests[3])[0].startswith("[Cleared") and shown(model.requests[3])[1].startswith("xxxxx\n[")


def test_an_answer_that_filled_the_window_is_asked_for_again(completed: Done) -> None:
    """What was cut off is not kept; the call counts, and is paid."""
    full = reply("Half of an ans", stop="context_window_exceeded")
    model = ScriptedModel(fetching(), full, reply("Whole."))
    output = completed(agent(), model=model, tools=(fetch(lambda **_: "x" * 600),)).output
    assert (output["result"], output["iterations"], "stop_reason" in output) == ("Whole.", 3, False)
    assert len(model.requests[2].turns) == len(model.requests[1].turns)


@pytest.mark.parametrize("on_limit", ["fail", "finalize", "partial"])
def test_a_prompt_that_stays_too_long_ends_as_the_node_asks(on_limit: str) -> None:
    """With usage and what was done; nothing goes round for ever."""
    looked = reply("I looked.", call("fetch", {}))
    model = ScriptedModel(looked, TOO_LONG, TOO_LONG, reply("In short."))
    outcome = execute(agent(on_limit=on_limit), model=model, tools=(fetch(lambda **_: "x" * 600),))
    if isinstance(outcome, Failed):
        assert (on_limit, outcome.code, outcome.detail["iterations"]) == ("fail", "llm_rejected", 1)
        assert "too long" in outcome.error and outcome.usage is not None
    else:
        said = {"finalize": ("In short.", 4), "partial": ("I looked.", 3)}[on_limit]
        assert (outcome.output["result"], len(model.requests)) == said
        assert outcome.output["stop_reason"] == "context_window_exceeded"


def test_a_window_filled_for_good_is_answered_as_the_node_asks(completed: Done) -> None:
    """Cut answers say so, unless a last one was asked for."""
    full = reply("Half", stop="context_window_exceeded")
    for on_limit in ("fail", "partial"):
        output = completed(agent(on_limit=on_limit), model=ScriptedModel(full), tools=(fetch(),)).output
        assert (output["result"], output["stop_reason"]) == ("Half", "context_window_exceeded")
    half = reply("Half", call("fetch", {}), stop="context_window_exceeded")
    model = ScriptedModel(half, reply("In short."))
    output = completed(agent(on_limit="finalize"), model=model, tools=(fetch(),)).output
    assert (output["result"], output["stop_reason"]) == ("In short.", "context_window_exceeded")
    # A call that nobody has answered may not stand in the conversation.
    assert half.turn not in model.requests[1].turns


def test_a_task_that_is_too_long_by_itself_is_rejected(failed: Bad) -> None:
    """There is nothing to clear, so nothing is sent again; in an llm node neither."""
    model = ScriptedModel(TOO_LONG)
    assert failed(agent(), model=model, tools=(fetch(),)).code == "llm_rejected"
    assert failed({"prompt": "p"}, model=ScriptedModel(TOO_LONG)).code == "llm_rejected"
    other = ScriptedModel(fetching(), ModelRejected("HTTP 400: no such thing"))
    assert failed(agent(), model=other, tools=(fetch(),)).code == "llm_rejected"
    assert (len(model.requests), len(other.requests)) == (1, 2)


def test_an_interrupted_run_comes_to_the_same_conversation(completed: Done) -> None:
    """From its answers alone, at whichever of them it was interrupted."""
    kept = Kept()
    answers = [*(fetching(n, (900, 10)) for n in range(5)), reading(id="3", search="line 000009"), reply("End.")]
    whole = ScriptedModel(*answers)
    output = completed(agent(), model=whole, tools=(fetch(),), room=SMALL, journal=kept).output
    steps = [index for index, record in enumerate(kept.read()) if record["step"] == "replied"]
    for number, index in enumerate(steps):
        model = ScriptedModel(*answers[number:])
        earlier = Kept(stored=kept.stored[:index])
        assert completed(agent(), model=model, tools=(fetch(),), room=SMALL, journal=earlier).output == output
        assert model.requests == whole.requests[number:]


def test_the_same_answers_lead_to_the_same_requests() -> None:
    """Nothing depends on a clock or on chance: a run can be led along its own answers."""

    def requests() -> list[ModelRequest]:
        answers = [fetching(n, (900, 10)) for n in range(5)]
        model = ScriptedModel(*answers, reading(id="3", search="9"), TOO_LONG, reply("End."))
        execute(agent(), model=model, tools=(fetch(),), room=SMALL)
        return model.requests

    assert requests() == requests()
