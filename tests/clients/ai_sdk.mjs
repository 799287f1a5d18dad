// One check of Vercel's AI SDK against a server:
//     node ai_sdk.mjs CHECK BASE_URL FOLDER       (FOLDER has node_modules)
// A failed check ends with an exception.
import assert from "node:assert/strict";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { createRequire } from "node:module";

const [check, baseURL, folder] = process.argv.slice(2);
const require = createRequire(path.join(folder, "x.js"));
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const { createOpenAI } = await load("@ai-sdk/openai");
const { createOpenAICompatible } = await load("@ai-sdk/openai-compatible");
const { generateImage, generateText, streamText } = await load("ai");

const openai = createOpenAI({ baseURL, apiKey: "x" });
const compatible = createOpenAICompatible({ name: "pictor", baseURL, apiKey: "x" });
const prompt = "a red cube";
const tools = { image_generation: openai.tools.imageGeneration({ size: "1024x1024" }) };
const SHOWN = /^!\[a red cube\]\(data:image\/png;base64,[A-Za-z0-9+/=]+\)$/;

async function image(model) {
  const answer = await generateImage({ model, prompt, size: "256x256" });
  assert.equal(answer.image.mediaType, "image/png");
  assert.equal(Buffer.from(answer.image.uint8Array.slice(1, 4)).toString(), "PNG");
}

const checks = {
  async gpt_image() {
    await image(openai.image("gpt-image-1"));
  },

  async dall_e() {
    await image(openai.image("dall-e-3"));
  },

  async any_compatible_server() {
    await image(compatible.imageModel("pictor-mini"));
  },

  async responses() {
    const answer = await generateText({ model: openai("gpt-5"), prompt, tools });
    const [result] = answer.content.filter((part) => part.type === "tool-result");
    assert.equal(result.toolName, "image_generation");
    assert.equal(Buffer.from(result.output.result, "base64").subarray(1, 4).toString(), "PNG");
  },

  async responses_stream() {
    const kinds = [];
    for await (const part of streamText({ model: openai("gpt-5"), prompt, tools }).fullStream)
      kinds.push(part.type);
    assert.ok(kinds.includes("tool-call") && kinds.includes("tool-result"), kinds.join());
    assert.ok(!kinds.includes("error") && kinds.at(-1) === "finish", kinds.join());
  },

  async chat() {
    const answer = await generateText({ model: openai.chat("pictor-mini"), prompt });
    assert.match(answer.text, SHOWN);
  },

  async chat_stream() {
    let text = "";
    for await (const part of streamText({ model: openai.chat("pictor-mini"), prompt }).textStream)
      text += part;
    assert.match(text, SHOWN);
  },
};

await checks[check]();
