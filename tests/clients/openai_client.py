"""An unmodified OpenAI client against a running gateway. Only `base_url` and `api_key` are its own.

Run by tests/it/gateway/openai.rs with the address, the key and the figures to expect in the environment. Prints what
it did, one name a line; the first thing that is not as OpenAI's own service would do it ends it with a traceback.
"""

import os
import uuid

import openai

URL = os.environ["COUNTERFOIL_TEST_URL"] + "/v1"
KEY = os.environ["COUNTERFOIL_TEST_KEY"]
LIMITED_KEY = os.environ["COUNTERFOIL_TEST_LIMITED_KEY"]
BURST = int(os.environ["COUNTERFOIL_TEST_BURST"])

client = openai.OpenAI(base_url=URL, api_key=KEY, max_retries=0)


def ask(text, using=client, **more):
    return using.chat.completions.create(
        model="demo-small", messages=[{"role": "user", "content": text}], **more
    )


def refused(error, call):
    try:
        call()
    except error as found:
        assert type(found) is error, type(found)
        return found
    raise AssertionError(f"{error.__name__} was expected")


def plain():
    answer = ask("Hello")
    assert answer.object == "chat.completion" and answer.model == "demo-small"
    (choice,) = answer.choices
    assert choice.message.role == "assistant" and choice.message.content
    assert choice.finish_reason == "stop"
    usage = answer.usage
    assert usage.prompt_tokens > 0 and usage.completion_tokens > 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def headers():
    raw = client.chat.completions.with_raw_response.create(
        model="demo-small",
        messages=[{"role": "user", "content": "Hello"}],
        extra_headers={"X-Request-ID": "my-own-name"},
    )
    assert raw.headers["x-request-id"] == "my-own-name"
    assert raw.parse()._request_id == "my-own-name"
    tenant, position = raw.headers["counterfoil-position"].split(":")
    assert uuid.UUID(tenant) and int(position) > 0
    assert int(raw.headers["x-ratelimit-limit-requests"]) > 0


def streamed():
    text, finish, ids = "", [], set()
    for chunk in ask("Hello", stream=True):
        ids.add(chunk.id)
        assert chunk.object == "chat.completion.chunk" and chunk.usage is None
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish += [choice.finish_reason] if choice.finish_reason else []
    assert len(ids) == 1 and finish == ["stop"]
    assert text == ask("Hello").choices[0].message.content


def streamed_usage():
    chunks = list(ask("Hello", stream=True, stream_options={"include_usage": True}))
    *others, last = chunks
    assert last.choices == [] and last.usage.total_tokens > 0
    assert all(chunk.usage is None for chunk in others)


def stream_helper():
    with client.chat.completions.stream(
        model="demo-small", messages=[{"role": "user", "content": "Hello"}]
    ) as stream:
        for _ in stream:
            pass
        assert stream.get_final_completion().choices[0].message.content


WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather at a place",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    },
}


def tools():
    messages = [{"role": "user", "content": "What is the weather in Delft?"}]
    answer = client.chat.completions.create(model="demo-small", messages=messages, tools=[WEATHER])
    message = answer.choices[0].message
    (call,) = message.tool_calls
    assert answer.choices[0].finish_reason == "tool_calls" and call.function.name == "weather"
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
    answer = client.chat.completions.create(model="demo-small", messages=messages, tools=[WEATHER])
    assert answer.choices[0].finish_reason == "stop" and answer.choices[0].message.content


def streamed_tools():
    name, arguments, finish = "", "", None
    for chunk in ask("What is the weather in Delft?", tools=[WEATHER], stream=True):
        for choice in chunk.choices:
            finish = choice.finish_reason or finish
            for call in choice.delta.tool_calls or []:
                name += call.function.name or ""
                arguments += call.function.arguments or ""
    assert name == "weather" and finish == "tool_calls" and arguments.startswith("{")


def models():
    assert [model.id for model in client.models.list()] == ["demo-small"]
    assert client.models.retrieve("demo-small").id == "demo-small"
    refused(openai.NotFoundError, lambda: client.models.retrieve("gpt-unknown"))


def denied():
    for stream in (False, True):
        error = refused(openai.PermissionDeniedError, lambda: ask("Send me the payroll", stream=stream))
        assert error.status_code == 403 and error.type == "policy_violation", error.body
        assert error.code == "policy.authz" and error.param is None
        assert set(error.body) == {"message", "type", "param", "code"}
        assert "topic.payroll" in error.message and "Send me" not in error.message


def wrong_key():
    for key in ("cfk_wrong", "sk-proj-of-another-service", KEY[:-1] + ("0" if KEY[-1] != "0" else "1")):
        other = openai.OpenAI(base_url=URL, api_key=key, max_retries=0)
        error = refused(openai.AuthenticationError, lambda: ask("Hello", other))
        assert error.status_code == 401 and error.code == "invalid_api_key"
        refused(openai.AuthenticationError, other.models.list)


def unknown_model():
    def call():
        client.chat.completions.create(model="gpt-unknown", messages=[{"role": "user", "content": "Hello"}])

    error = refused(openai.NotFoundError, call)
    assert error.code == "model_not_found"


def bad_request():
    def call(**body):
        return lambda: client.chat.completions.create(**{"model": "demo-small", "messages": [], **body})

    error = refused(openai.BadRequestError, call())
    assert error.param == "messages" and error.type == "invalid_request_error"
    messages = [{"role": "user", "content": "Hello"}]
    error = refused(openai.BadRequestError, call(messages=messages, temperature=9))
    assert error.param == "temperature"


def idempotency():
    key = str(uuid.uuid4())

    def call(text):
        return client.chat.completions.with_raw_response.create(
            model="demo-small",
            messages=[{"role": "user", "content": text}],
            extra_headers={"Idempotency-Key": key},
        )

    first, again = call("Once"), call("Once")
    assert again.headers["idempotent-replayed"] == "true" and "idempotent-replayed" not in first.headers
    assert first.text == again.text
    error = refused(openai.UnprocessableEntityError, lambda: call("Twice"))
    assert error.code == "idempotency_key_mismatch"


def rate_limit():
    limited = openai.OpenAI(base_url=URL, api_key=LIMITED_KEY, max_retries=0)

    def all_at_once():
        for _ in range(4 * BURST):
            ask("Hello", limited)

    error = refused(openai.RateLimitError, all_at_once)
    assert error.code == "rate_limit_exceeded" and error.type == "rate_limit_error"
    assert int(error.response.headers["retry-after-ms"]) > 0
    # The client obeys the wait that it was told by itself, and gets its answer.
    patient = openai.OpenAI(base_url=URL, api_key=LIMITED_KEY, max_retries=5)
    assert ask("Hello", patient).choices


def gone():
    refused(openai.NotFoundError, lambda: client.embeddings.create(model="demo-small", input="x"))


for step in (
    plain, headers, streamed, streamed_usage, stream_helper, tools, streamed_tools, models, denied, wrong_key,
    unknown_model, bad_request, idempotency, rate_limit, gone,
):
    step()
    print(step.__name__, flush=True)
