/**
 * Keeps compiled code beside the bundled program: see bin/program.js. Run by build/program.js, in a process of its own.
 *
 * V8 keeps the functions that have run. So the commands whose start is felt run here once, against a server in memory.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { DEFAULT_CREDENTIALS, startDevS3 } from "../dist/devs3/index.js";

const { Program } = createRequire(import.meta.url)("../bin/program.js");

const folder = mkdtempSync(path.join(tmpdir(), "hawser-code-"));
const server = await startDevS3({ buckets: ["code"] });
process.env["AWS_ACCESS_KEY_ID"] = DEFAULT_CREDENTIALS.accessKeyId;
process.env["AWS_SECRET_ACCESS_KEY"] = DEFAULT_CREDENTIALS.secretAccessKey;
process.env["AWS_REGION"] = "us-east-1";
process.env["AWS_ENDPOINT_URL"] = server.url;
process.env["HAWSER_STATE_DIR"] = path.join(folder, "state");
for (const name of ["AWS_PROFILE", "AWS_SESSION_TOKEN"]) delete process.env[name];

const files = path.join(folder, "files");
mkdirSync(files);
for (const [name, bytes] of [
  ["empty", 0],
  ["small", 1024],
  ["large", 3 * 1024 * 1024],
]) {
  writeFileSync(path.join(files, name), Buffer.alloc(bytes));
}

const program = new Program(fileURLToPath(new URL("../dist/program", import.meta.url)));
const { run } = program.load("main.js");
const said = [];
const terminal = {
  out: (line) => said.push(line),
  err: (line) => said.push(line),
  paint: (_style, text) => text,
  paintErr: (_style, text) => text,
  interactive: false,
  columns: 80,
  verbose: false,
  environment: process.env,
};
try {
  for (const command of [
    `s3 cp -q -r ${files} s3://code/files/`,
    `s3 ls s3://code/`,
    `s3 cp -q -r s3://code/files/ ${path.join(folder, "copy")}`,
    `s3 sync -q ${files} s3://code/files/`,
    `s3 rm -q s3://code/files/small`,
  ]) {
    const code = await run(command.split(" "), terminal);
    if (code !== 0) throw new Error(`hawser ${command}: ${said.join("\n")}`);
  }
  program.keepCode();
} finally {
  await server.close();
  rmSync(folder, { recursive: true, force: true });
}
