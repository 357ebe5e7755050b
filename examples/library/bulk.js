// @ts-check
/**
 * What `hawser s3`, `hawser checkpoint` and `hawser run` do, as functions, with progress and a way to end them.
 *
 *   node bulk.js BUCKET FOLDER
 *
 * The store is found as by every program: AWS_REGION, AWS_ENDPOINT_URL, the AWS chain of credentials.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Checkpoints, S3, runTask } from "hawser";

const [bucket = "my-data", folder = "./work"] = process.argv.slice(2);
const prefix = `s3://${bucket}/example`;

// Ctrl-C ends what is under way cleanly; the same call again goes on where it stopped.
const ending = new AbortController();
process.once("SIGINT", () => ending.abort());
const { signal } = ending;

/** @param {import("hawser").TransferEvent} event */
function onEvent(event) {
  if (event.type === "progress") process.stderr.write(`\r${event.files} files, ${event.bytes} bytes`);
  if (event.type === "failed") process.stderr.write(`\n${event.source}: ${event.error.code}\n`);
}

const s3 = new S3();
const checkpoints = new Checkpoints();

// Files up, and down again.
await mkdir(join(folder, "data"), { recursive: true });
for (const name of ["a.txt", "b.txt"]) await writeFile(join(folder, "data", name), `content of ${name}\n`);
const up = await s3.copy(join(folder, "data"), `${prefix}/data`, { recursive: true, signal, onEvent });
const same = await s3.sync(join(folder, "data"), `${prefix}/data`, { signal, onEvent });
const down = await s3.copy(`${prefix}/data`, join(folder, "copy"), { recursive: true, signal, onEvent });
console.log(`uploaded ${up.uploaded}, sent again ${same.uploaded}, downloaded ${down.downloaded}`);

// Looking.
for await (const { objects } of s3.list(`${prefix}/data/`))
  console.log(objects.map(({ key }) => key).join(" "));
const { sizeBytes } = await s3.stat(`${prefix}/data/a.txt`);
let head = "";
for await (const bytes of s3.read(`${prefix}/data/a.txt`, { length: 7, signal }))
  head += Buffer.from(bytes).toString();
console.log(`a.txt has ${sizeBytes} bytes and begins with '${head}'`);
const { tally, monthlyCost } = await s3.review(prefix, { signal });
console.log(`${tally.objects} objects, ${monthlyCost < 0.01 ? "less than a cent" : monthlyCost} a month`);

// A program between its inputs and its outputs.
const task = await runTask(
  [
    process.execPath,
    "-e",
    `require("fs").mkdirSync("${join(folder, "out")}", { recursive: true });
    for (const step of [100, 200, 300]) require("fs").writeFileSync("${join(folder, "out")}/step_" + step + ".bin", "weights " + step)`,
  ],
  {},
  {
    inputs: [{ from: `${prefix}/data/`, to: join(folder, "in") }],
    outputs: [{ from: join(folder, "out"), to: `${prefix}/out` }],
    signal,
  },
);
console.log(`the program ended with ${task.code}; ${task.outputs[0]?.files} files were pushed`);

// Checkpoints as wholes.
const pushed = await checkpoints.push(join(folder, "out"), `${prefix}/run`, {
  settleMs: 0,
  thenPrune: { keepLast: 2 },
  signal,
  onEvent,
});
console.log(`pushed ${pushed.pushed.length} checkpoints`);
console.log(`go on from ${await checkpoints.latest(`${prefix}/run`, { signal })}`);
const { plan } = await checkpoints.cleanup(`${prefix}/run`, { keepLast: 1, signal });
console.log(
  `removed ${plan
    .filter(({ goes }) => goes)
    .map(({ step }) => step.name)
    .join(" ")}`,
);
const { path } = await checkpoints.pull(`${prefix}/run`, join(folder, "resume"), { signal });
console.log(`it is at ${path}`);

const removed = await s3.remove(prefix, { recursive: true, signal, onEvent });
console.log(`removed ${removed.deleted} objects`);

await checkpoints.close();
await s3.close();
