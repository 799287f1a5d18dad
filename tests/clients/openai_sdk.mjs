// One check of the real OpenAI SDK against a server:
//     node openai_sdk.mjs CHECK BASE_URL FOLDER   (FOLDER has node_modules, image.png, mask.png)
// A failed check ends with an exception.
import assert from "node:assert/strict";
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [check, baseURL, folder] = process.argv.slice(2);
const require = createRequire(path.join(folder, "x.js"));
const sdk = await import(pathToFileURL(require.resolve("openai")).href);
const OpenAI = sdk.OpenAI ?? sdk.default;
const { toFile } = sdk;

const ai = new OpenAI({ apiKey: "sk-test", baseURL, maxRetries: 0 });
const file = (name) => path.join(folder, name);
const tiny = { prompt: "a red cube", size: "64x64", steps: 2, seed: 7 };

function isPng(b64) {
  const data = Buffer.from(b64, "base64");
  assert.equal(data.subarray(1, 4).toString(), "PNG");
  return data;
}

async function all(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

async function refused(promise, kind, status, code, param) {
  const error = await promise.then(() => assert.fail("not refused"), (e) => e);
  assert.ok(error instanceof sdk.default[kind] || error instanceof sdk[kind], String(error));
  assert.equal(error.status, status);
  assert.equal(error.code, code);
  assert.equal(error.param, param);
  assert.match(error.requestID, /^req_[0-9a-f]{32}$/);
  return error;
}

const checks = {
  async generate() {
    const answer = await ai.images.generate({ ...tiny, n: 2 });
    assert.equal(answer.data.length, 2);
    assert.equal(answer.size, "64x64");
    assert.match(answer._request_id, /^req_/);
    const [first, second] = answer.data.map((item) => isPng(item.b64_json));
    assert.notDeepEqual(first, second);
    const again = await ai.images.generate({ ...tiny, n: 2 });
    assert.deepEqual(isPng(again.data[0].b64_json), first);
  },

  async generate_by_url() {
    const answer = await ai.images.generate({ ...tiny, response_format: "url" });
    const picture = await fetch(answer.data[0].url);
    assert.equal(picture.headers.get("content-type"), "image/png");
  },

  async generate_stream() {
    const stream = await ai.images.generate({
      ...tiny, size: "256x256", steps: 30, stream: true, partial_images: 2 });
    const events = await all(stream);
    const last = events.pop();
    assert.equal(last.type, "image_generation.completed");
    isPng(last.b64_json);
    assert.ok(events.length <= 2);
    events.forEach((event, i) => {
      assert.equal(event.type, "image_generation.partial_image");
      assert.equal(event.partial_image_index, i);
      isPng(event.b64_json);
    });
  },

  // A failure in the middle of a stream must reach the caller as an exception.
  async stream_that_fails() {
    const stream = await ai.images.generate({
      prompt: "cancelled by the test", size: "512x512", steps: 150, n: 10, stream: true });
    const root = baseURL.replace(/\/v1$/, "");
    const { jobs } = await (await fetch(`${root}/api/jobs?q=cancelled+by+the+test`)).json();
    await fetch(`${root}/api/jobs/${jobs[0].id}/cancel`, { method: "POST" });
    await assert.rejects(all(stream), (error) => {
      assert.ok(error instanceof OpenAI.APIError, String(error));
      assert.match(error.message, /cancelled/);
      return true;
    });
  },

  async edit_read_stream() {
    const answer = await ai.images.edit({ ...tiny, image: fs.createReadStream(file("image.png")) });
    isPng(answer.data[0].b64_json);
  },

  async edit_files() {
    const data = fs.readFileSync(file("image.png"));
    const answer = await ai.images.edit({
      ...tiny,
      image: [await toFile(data, "a.png", { type: "image/png" }), await toFile(data)],
      mask: fs.createReadStream(file("mask.png")),
      n: 2, quality: "low", background: "auto", output_format: "jpeg" });
    assert.equal(answer.data.length, 2);
    assert.equal(answer.output_format, "jpeg");
  },

  async edit_stream() {
    const stream = await ai.images.edit({
      ...tiny, image: await toFile(fs.readFileSync(file("image.png")), "a.png"), stream: true });
    assert.deepEqual((await all(stream)).map((event) => event.type), ["image_edit.completed"]);
  },

  async variation() {
    const answer = await ai.images.createVariation({
      image: fs.createReadStream(file("image.png")), size: "256x256" });
    const link = await fetch(answer.data[0].url);
    isPng(Buffer.from(await link.arrayBuffer()).toString("base64"));
  },

  async models() {
    const names = [];
    for await (const model of ai.models.list()) names.push(model.id);
    assert.ok(names.includes("pictor-mini") && names.includes("org/name"));
    assert.equal((await ai.models.retrieve("org/name")).id, "org/name");
    await refused(ai.models.retrieve("nope"), "NotFoundError", 404, "model_not_found", "model");
    const del = (ai.models.delete ?? ai.models.del).bind(ai.models);
    await refused(del("pictor-mini"), "PermissionDeniedError", 403, null, "model");
  },

  async chat() {
    const messages = [{ role: "user", content: "a red cube" }];
    const own = { size: "64x64", steps: 2, seed: 7 };
    const answer = await ai.chat.completions.create({ model: "pictor-mini", messages, ...own });
    assert.match(answer.choices[0].message.content, /^!\[a red cube\]\(data:image\/png;base64,/);
    isPng(answer.choices[0].message.images[0].image_url.url.split(",")[1]);
    const stream = await ai.chat.completions.create({
      model: "pictor-mini", messages, ...own, stream: true });
    const text = (await all(stream)).map((part) => part.choices[0].delta.content ?? "").join("");
    assert.equal(text, answer.choices[0].message.content);
  },

  async responses() {
    const body = { model: "gpt-5", input: "a red cube", steps: 2, seed: 7,
      tools: [{ type: "image_generation", size: "64x64" }] };
    const answer = await ai.responses.create(body);
    const calls = answer.output.filter((item) => item.type === "image_generation_call");
    isPng(calls[0].result);
    assert.equal(answer.output_text, "");
    const events = await all(await ai.responses.create({ ...body, stream: true }));
    assert.deepEqual(events.map((event) => event.type.replace("response.", "")), [
      "created", "in_progress", "output_item.added", "image_generation_call.in_progress",
      "image_generation_call.generating", "image_generation_call.completed", "output_item.done",
      "completed"]);
    assert.equal(events.at(-1).response.output[0].result, calls[0].result);
    const stream = ai.responses.stream({ ...body, previous_response_id: answer.id });
    const last = await stream.finalResponse();
    assert.notEqual(last.output[0].result, calls[0].result);
    assert.equal((await ai.responses.retrieve(answer.id)).output[0].result, calls[0].result);
    await refused(ai.responses.create({ ...body, tool_choice: "none" }), "BadRequestError", 400,
      "invalid_value", "tool_choice");
  },

  async files_and_batches() {
    const image = await ai.files.create({
      file: fs.createReadStream(file("image.png")), purpose: "vision" });
    const line = { custom_id: "a", method: "POST", url: "/v1/images/edits",
      body: { ...tiny, images: [{ file_id: image.id }] } };
    const input = await ai.files.create({
      file: await toFile(Buffer.from(JSON.stringify(line)), "in.jsonl"), purpose: "batch" });
    let batch = await ai.batches.create({
      input_file_id: input.id, endpoint: "/v1/images/edits", completion_window: "24h" });
    while (batch.status !== "completed") {
      assert.notEqual(batch.status, "failed");
      await new Promise((resolve) => setTimeout(resolve, 100));
      batch = await ai.batches.retrieve(batch.id);
    }
    const answer = JSON.parse(await (await ai.files.content(batch.output_file_id)).text());
    isPng(answer.response.body.data[0].b64_json);
    const files = [];
    for await (const item of ai.files.list()) files.push(item.id);
    assert.ok(files.includes(image.id) && files.includes(batch.output_file_id));
  },

  async errors() {
    const generate = (fields) => ai.images.generate({ ...tiny, ...fields });
    const error = await refused(generate({ size: "1000x1000" }), "BadRequestError", 400,
      "invalid_value", "size");
    assert.equal(error.type, "invalid_request_error");
    await refused(generate({ n: 11 }), "BadRequestError", 400, "integer_above_max_value", "n");
    await refused(generate({ model: "nope" }), "NotFoundError", 404, "model_not_found", "model");
    await refused(generate({ stream: true, quality: "x" }), "BadRequestError", 400,
      "invalid_value", "quality");
    await refused(ai.images.edit({ ...tiny, image: await toFile(Buffer.from("x"), "a.png") }),
      "BadRequestError", 400, "unsupported_file_mimetype", "image");
  },

  // The caller's AbortController stops the job.
  async abort() {
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 700);
    await assert.rejects(ai.images.generate(
      { prompt: "aborted by the test", size: "512x512", steps: 150, n: 10 },
      { signal: stop.signal }));
    const root = baseURL.replace(/\/v1$/, "");
    for (let i = 0; i < 100; i++) {
      const { jobs } = await (await fetch(`${root}/api/jobs?q=aborted+by+the+test`)).json();
      if (jobs[0].state === "cancelled") return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.fail("the job was not cancelled");
  },
};

await checks[check]();
