"""Handlers with spans of their own, sent to the file that ``TRACED_FILE`` names; in batches, as in earnest."""

import os
from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

from fairlane import Context, Fail, Fairlane

app = Fairlane()
tracer = trace.get_tracer("application")

provider = TracerProvider()
provider.add_span_processor(
    BatchSpanProcessor(
        ConsoleSpanExporter(
            out=Path(os.environ["TRACED_FILE"]).open("a"),  # noqa: SIM115 - it is open for as long as the process lives
            formatter=lambda span: span.to_json(indent=None) + "\n",
        ),
        schedule_delay_millis=60_000,
    )
)
trace.set_tracer_provider(provider)


@app.task("LOOP")
async def on_loop(payload: dict, context: Context) -> dict:
    with tracer.start_as_current_span("own on loop"):
        return {"traceparent": context.traceparent}


@app.task("THREAD")
def on_thread(payload: dict, context: Context) -> dict:
    with tracer.start_as_current_span("own on thread"):
        return {"traceparent": context.traceparent}


@app.task("ISOLATED", isolation="process")
def isolated(payload: dict, context: Context) -> dict:
    with tracer.start_as_current_span("own isolated"):
        return {"traceparent": context.traceparent}


@app.task("RAISES")
def raises(payload: dict) -> None:
    raise ValueError(f"cannot use {payload['secret']}")


@app.task("FAILS")
async def fails(payload: dict) -> None:
    raise Fail("NO_SUCH_PAGE", f"there is no {payload['secret']}", details=payload)
