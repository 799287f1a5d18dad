// The Model Context Protocol's SDK for JavaScript, unmodified, at the address in the arguments.
import assert from "node:assert/strict";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const tiny = { prompt: "a red cube", width: 64, height: 64, steps: 4, seed: 7 };
const transport = new StreamableHTTPClientTransport(new URL(process.argv[2]));
const client = new Client({ name: "test", version: "1" });
await client.connect(transport);
assert.equal(client.getServerVersion().name, "pictor");
assert.ok(transport.sessionId);
await client.ping();

const { tools } = await client.listTools();
assert.deepEqual(tools.map((tool) => tool.name),
  ["generate_image", "edit_image", "list_models", "job_status", "cancel"]);

const told = [];
const painted = await client.callTool({ name: "generate_image", arguments: tiny }, undefined,
  { onprogress: ({ progress }) => told.push(progress) });
assert.deepEqual(painted.content.map((block) => block.type), ["text", "resource_link", "image"]);
assert.ok(told.length > 0 && told.every((n, i) => i === 0 || n > told[i - 1]));

const wrong = await client.callTool({ name: "generate_image", arguments: { colour: "red" } });
assert.ok(wrong.isError && wrong.content[0].text.includes("colour"));
await assert.rejects(client.callTool({ name: "paint", arguments: {} }), { code: -32602 });

// A call that its client gives up is cancelled.
const long = { ...tiny, width: 256, height: 256, steps: 150, count: 10 };
const stop = new AbortController();
let job;
await assert.rejects(client.callTool({ name: "generate_image", arguments: long }, undefined, {
  signal: stop.signal,
  onprogress: ({ message }) => { job = message.split(/[ :]/)[1]; stop.abort(); },
}));
for (let i = 0; ; i++) {
  const { structuredContent } = await client.callTool({ name: "job_status", arguments: { job } });
  if (structuredContent.state === "cancelled") break;
  assert.ok(i < 100);
  await new Promise((done) => setTimeout(done, 100));
}
await transport.terminateSession();
await client.close();
