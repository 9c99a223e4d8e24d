"""Chat completions from any OpenAI-compatible API. Serve it with ``fairlane serve examples/chat.py:app``.

OPENAI_API_KEY is the provider's key, OPENAI_BASE_URL its address, CHAT_MODEL the default model.
"""

import json
import os
from typing import Annotated, Any, Literal

import httpx2
import msgspec

from fairlane import Context, Fail, Fairlane, Retry

app = Fairlane()
http: httpx2.AsyncClient


class Message(msgspec.Struct, forbid_unknown_fields=True):
    """One turn of the conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class Conversation(msgspec.Struct, forbid_unknown_fields=True):
    """What a caller sends as ``payload``."""

    messages: Annotated[list[Message], msgspec.Meta(min_length=1, max_length=200)]
    model: str | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=8192)] = 1024


@app.on_start
async def connect() -> None:
    """Open the connection, in workers only: the server needs neither it nor the key."""
    global http  # noqa: PLW0603 - one for each worker process
    http = httpx2.AsyncClient(
        base_url=os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1"),
        headers={"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"},
        timeout=httpx2.Timeout(60, connect=5),
    )


@app.on_stop
async def disconnect() -> None:
    """Close the connection."""
    await http.aclose()


@app.task("CHAT", timeout=180, attempts=5, cost=2)
async def chat(conversation: Conversation, context: Context) -> dict[str, Any]:
    """Stream the answer, so that the caller sees its progress; return the whole text."""
    body = {
        "model": conversation.model or os.environ.get("CHAT_MODEL", "gpt-4o-mini"),
        "messages": msgspec.to_builtins(conversation.messages),
        "max_tokens": conversation.max_tokens,
        "stream": True,
    }
    try:
        async with http.stream("POST", "/chat/completions", json=body) as answer:
            if answer.status_code != 200:
                await answer.aread()
                raise refusal(answer)
            return await read(answer, conversation.max_tokens, context)
    except httpx2.TransportError as error:
        raise Retry(f"the provider did not answer: {error!r}", after=5) from error


async def read(answer: httpx2.Response, most: int, context: Context) -> dict[str, Any]:
    """Join the pieces. A stream that ends without ``[DONE]`` is incomplete, and the task is tried again."""
    pieces: list[str] = []
    finish_reason = None
    async for line in answer.aiter_lines():
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            return {"content": "".join(pieces), "finish_reason": finish_reason}
        for choice in json.loads(data)["choices"][:1]:
            finish_reason = choice.get("finish_reason") or finish_reason
            if text := choice["delta"].get("content"):
                pieces.append(text)
                context.progress(min(len(pieces), most), most, "pieces written")
    raise Retry("the provider's stream broke off")


def refusal(answer: httpx2.Response) -> Exception:
    """Return the exception for an error answer: only 429 and 5xx are worth another attempt."""
    if answer.status_code == 429 or answer.status_code >= 500:
        pause = answer.headers.get("retry-after", "")
        return Retry(
            f"the provider answered {answer.status_code}", after=min(int(pause), 3600) if pause.isdigit() else 10
        )
    return Fail("PROVIDER_REFUSED", f"the provider answered {answer.status_code}", details=answer.text[:1000])
