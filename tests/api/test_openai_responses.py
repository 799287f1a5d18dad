"""/v1/responses with the image_generation tool."""
import base64

import pytest
from openai_client import OpenAI, decode, events, gradient, hole, png, wait_for

PATH = "/v1/responses"
OPTIONS = {"size": "64x64"}
OWN = {"steps": 2, "seed": 7}
IMAGE = "data:image/png;base64," + base64.b64encode(png(gradient())).decode()


def tool(**options):
    return {"model": "gpt-5", "tools": [{"type": "image_generation", **OPTIONS, **options}], **OWN}


@pytest.fixture(scope="module")
def ai(server):
    return OpenAI(server.url)


def ask(ai, body):
    answer = ai.request("POST", PATH, json=body)
    assert answer.status_code == 200, answer.text[:500]
    return check(answer.json())


def check(response, status="completed"):
    assert response["object"] == "response" and response["id"].startswith("resp_")
    assert response["status"] == status and isinstance(response["created_at"], int)
    for name in ("model", "tools", "tool_choice", "parallel_tool_calls", "metadata", "error",
                 "incomplete_details", "instructions", "temperature", "top_p", "usage"):
        assert name in response
    for item in response["output"]:
        assert item["type"] == "image_generation_call" and item["status"] == "completed"
        assert item["id"].startswith("ig_")
    return response


def pictures(response):
    return [decode(item["result"])[0] for item in response["output"]]


def edit(ai, *images, prompt="p", **fields):
    body = {"prompt": prompt, "images": list(images), **OPTIONS, **OWN, **fields}
    return [decode(i["b64_json"])[0] for i in ai.answer(body, path="/v1/images/edits")["data"]]


@pytest.mark.parametrize("input", [
    "a red cube", [{"role": "user", "content": "a red cube"}],
    [{"role": "developer", "content": "Paint."}, {"role": "user", "content": "no"},
     {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a red cube"}]}]])
@pytest.mark.parametrize("choice", [None, "auto", "required", {"type": "image_generation"},
                                    {"type": "allowed_tools", "mode": "required",
                                     "tools": [{"type": "image_generation"}]}])
def test_input_and_choice(ai, input, choice):
    response = ask(ai, {**tool(), "input": input, "tool_choice": choice})
    assert pictures(response) == ai.images({"prompt": "a red cube", **OPTIONS, **OWN})
    assert response["model"] == "gpt-5"
    assert response["usage"]["output_tokens"] == 16


def test_without_the_tool(ai):
    """What speaks of one of our models means it."""
    response = ask(ai, {"model": "pictor-mini", "input": "a red cube", **OWN})
    assert pictures(response) == ai.images({"prompt": "a red cube", **OWN})
    ai.error(404, "model_not_found", "model", {"model": "gpt-5", "input": "x"}, path=PATH)
    ai.error(404, "model_not_found", "tools[0].model", {**tool(model="nope"), "input": "x"}, path=PATH)


def test_pictures_are_edited(ai):
    message = {"role": "user", "content": [{"type": "input_text", "text": "p"},
                                           {"type": "input_image", "image_url": IMAGE}]}
    plain = pictures(ask(ai, {**tool(), "input": [message]}))
    assert plain == edit(ai, IMAGE)
    mask = "data:image/png;base64," + base64.b64encode(png(hole())).decode()
    response = ask(ai, {**tool(input_image_mask={"image_url": mask}), "input": [message]})
    assert pictures(response) == edit(ai, IMAGE, mask=mask) != plain
    assert response["output"][0]["action"] == "edit"
    assert "input_image_mask" not in response["tools"][0]


def test_going_on(ai):
    """By the response before, by its call's id, or by its call with the picture."""
    first = ask(ai, {**tool(), "input": "a red cube"})
    call = first["output"][0]
    want = edit(ai, call["result"])
    ask_more = {"role": "user", "content": "p"}
    for more in ({"input": "p", "previous_response_id": first["id"]},
                 {"input": [call, ask_more]},
                 {"input": [{"type": "image_generation_call", "id": call["id"]}, ask_more]}):
        assert pictures(ask(ai, {**tool(action="edit"), **more})) == want
    fresh = ask(ai, {**tool(action="generate"), "input": "p", "previous_response_id": first["id"]})
    assert pictures(fresh) == ai.images({"prompt": "p", **OPTIONS, **OWN})


def test_several(ai):
    response = ask(ai, {**tool(), "input": "x", "n": 2})
    assert pictures(response) == ai.images({"prompt": "x", "n": 2, **OPTIONS, **OWN})


def test_it_is_kept(ai):
    response = ask(ai, {**tool(), "input": "x"})
    path = f"{PATH}/{response['id']}"
    kept = check(ai.request("GET", path).json())
    assert kept["id"] == response["id"] and pictures(kept) == pictures(response)
    assert ai.request("DELETE", path).json() == {"id": response["id"], "object": "response",
                                                 "deleted": True}
    ai.error(404, None, None, method="GET", path=path)
    ai.error(404, None, None, method="GET", path=PATH + "/resp_nope")
    ai.error(400, "previous_response_not_found", "previous_response_id",
             {**tool(), "input": "x", "previous_response_id": response["id"]}, path=PATH)


def test_background(ai):
    body = {**tool(size="512x512"), "steps": 150, "n": 8, "input": "later", "background": True}
    response = ai.request("POST", PATH, json=body).json()
    assert response["status"] in ("queued", "in_progress") and response["background"] is True
    path = f"{PATH}/{response['id']}"
    ai.error(400, "invalid_value", None, method="DELETE", path=path)
    assert ai.request("POST", path + "/cancel").json()["status"] == "cancelled"
    assert ai.request("GET", path).json()["status"] == "cancelled"
    answer = ai.request("POST", PATH, json={**tool(), "input": "x", "background": True, "top_k": 5})
    assert answer.headers["x-ignored-parameters"] == "top_k"
    quick = answer.json()
    wait_for(lambda: ai.request("GET", f"{PATH}/{quick['id']}").json()["status"] == "completed")
    ai.error(400, "invalid_value", "stream", {**body, "stream": True}, path=PATH)


def test_of_other_keys(serve):
    server = serve()
    mine, other = (OpenAI(server.url, server.add_key(name)) for name in ("me", "you"))
    response = ask(mine, {**tool(), "input": "x"})
    other.error(404, None, None, method="GET", path=f"{PATH}/{response['id']}")
    other.error(400, "previous_response_not_found", "previous_response_id",
                {**tool(), "input": "x", "previous_response_id": response["id"]}, path=PATH)


def test_stream(ai):
    body = {**tool(size="256x256", partial_images=2), "steps": 30, "input": "x", "stream": True}
    answer = ai.request("POST", PATH, json=body)
    assert answer.headers["Content-Type"] == "text/event-stream"
    found = events(answer.content.decode())
    for number, (name, data) in enumerate(found):
        assert data["type"] == name and data["sequence_number"] == number
    call = "response.image_generation_call."
    names = [name for name, _ in found if name != call + "partial_image"]
    assert names == ["response.created", "response.in_progress", "response.output_item.added",
                     call + "in_progress", call + "generating", call + "completed",
                     "response.output_item.done", "response.completed"]
    by = dict(found)
    added, done = by["response.output_item.added"]["item"], by["response.output_item.done"]["item"]
    assert added["id"] == done["id"] and added["result"] is None
    assert added["status"] == "in_progress" and done["status"] == "completed"
    partials = [data for name, data in found if name == call + "partial_image"]
    assert [p["partial_image_index"] for p in partials] == list(range(len(partials)))
    for p in partials:
        assert p["item_id"] == added["id"] and decode(p["partial_image_b64"])[1].size == (256, 256)
    last = check(by["response.completed"]["response"])
    assert last["output"] == [done]
    assert pictures(last) == pictures(ask(ai, {**body, "stream": False}))


@pytest.mark.parametrize("body, code, param", [
    ({}, "missing_required_parameter", "input"),
    ({"input": 5}, "invalid_type", "input"),
    ({"input": []}, "invalid_value", "input"),
    ({"input": ""}, "missing_required_parameter", "input"),
    ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "x"}]}]},
     "invalid_value", "input"),
    ({"input": "x", "tools": {}}, "invalid_type", "tools"),
    ({"input": "x", "tool_choice": "none"}, "invalid_value", "tool_choice"),
    ({"input": "x", "tool_choice": {"type": "function", "name": "f"}}, "invalid_value", "tool_choice"),
    ({"input": "x", "background": "yes"}, "invalid_type", "background"),
    ({"input": "x", **tool(size="7x7")}, "invalid_value", "tools[0].size"),
    ({"input": "x", **tool(quality="ultra")}, "invalid_value", "tools[0].quality"),
    ({"input": "x", **tool(partial_images=4)}, "integer_above_max_value", "tools[0].partial_images"),
    ({"input": "x", **tool(prompt="y")}, "unknown_parameter", "tools"),
    ({"input": "x", **tool(images="y")}, "unknown_parameter", "tools"),
    ({"input": "x", **tool(action="draw")}, "invalid_value", "tools[0].action"),
    ({"input": "x", **tool(action="edit")}, "invalid_value", "tools[0].action"),
    ({"input": "x", **tool(), "steps": 0}, "invalid_value", "steps"),
    ([], None, None),
])
def test_wrong(ai, body, code, param):
    ai.error(400, code, param, body, path=PATH)
